"""The few pure functions that extractors, scorers and pipelines share. They compute in at least float32."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vlmad_core.contracts.data import LEAST
from vlmad_core.contracts.kernels import linear

__all__ = [
    "Combine",
    "combine",
    "gaussian_blur",
    "l2_normalize",
    "nearest_distance",
    "nearest_index",
    "resize",
    "similarity_logits",
    "softmax_shares",
    "softmax_similarity",
    "topk_mean",
]

Combine = Literal["mean", "sum", "harmonic", "geometric", "max"]


def l2_normalize(x: Tensor) -> Tensor:
    """Unit length along the last axis, in float32 (float64 stays); zero stays zero."""
    x = x if x.dtype in (torch.float32, torch.float64) else x.float()
    return F.normalize(x, dim=-1)


def topk_mean(maps: Tensor, share: float = 0.0) -> Tensor:
    """Mean of the highest ``share`` of the cells of each map, ``[B, h, w]`` to ``[B]``; 0: the single highest.

    >>> topk_mean(torch.tensor([[[1.0, 2], [3, 4]]]), 0.5)
    tensor([3.5000])
    """
    cells = maps.flatten(1)
    return cells.topk(max(1, round(share * cells.shape[1])), dim=1).values.mean(1)


def similarity_logits(vectors: Tensor, text_embeddings: Tensor, temperature: float) -> Tensor:
    """Cosine to each text embedding over the temperature: what :func:`softmax_similarity` takes the softmax of.

    Args:
        vectors: ``[B, ..., D]``, any length.
        text_embeddings: ``[B, S, D]``, unit length.
        temperature: Divides the cosine; small is sharp.

    Returns:
        ``[B, ..., S]``, in [-1, 1] over the temperature.
    """
    queries = l2_normalize(vectors)
    return torch.einsum("b...d,bsd->b...s", queries, text_embeddings.to(queries.dtype)) / temperature


def softmax_similarity(vectors: Tensor, text_embeddings: Tensor, temperature: float) -> Tensor:
    """Softmax over states of the cosine to each text embedding (CLIP, 2021).

    Args:
        vectors: ``[B, ..., D]``, any length.
        text_embeddings: ``[B, S, D]``, unit length.
        temperature: Divides the cosine; small is sharp.

    Returns:
        ``[B, ..., S]``, summing to 1.

    >>> text_embeddings = l2_normalize(torch.tensor([[[0.0, 1, 0], [1, 1, 0]]]))
    >>> softmax_similarity(torch.tensor([[1.0, 0, 0]]), text_embeddings, 1.0)
    tensor([[0.3302, 0.6698]])
    """
    return similarity_logits(vectors, text_embeddings, temperature).softmax(-1)


def softmax_shares(logits: Tensor, abnormal: Tensor, *, nodes: int = 64) -> tuple[Tensor, float]:
    """Divide a probability over the logits that it is made of, exactly.

    Integrated gradients (Sundararajan et al., ICML 2017) along the straight line from equal logits, where the
    probability of the abnormal states is their number over that of all, to the logits. For two states the integral is
    known; for more it is Gauss-Legendre quadrature, and what that leaves over is divided like the logits about their
    mean, so that the sum is exact.

    Args:
        logits: ``[..., S]``.
        abnormal: ``[S]`` bool.
        nodes: Of the quadrature.

    Returns:
        Factors ``[..., S]`` that add up to 0, and the probability at equal logits ``even``:
        ``(factors * logits).sum(-1)`` is the probability of the abnormal states minus ``even``.

    >>> shares, even = softmax_shares(torch.tensor([1.0, 3.0]), torch.tensor([False, True]))
    >>> even + (shares * torch.tensor([1.0, 3.0])).sum()
    tensor(0.8808)
    """
    is_abnormal = abnormal.to(logits.device, logits.dtype)
    even = float(is_abnormal.mean())
    states = logits.shape[-1]
    probability = (logits.softmax(-1) * is_abnormal).sum(-1, keepdim=True)
    centred = logits - logits.mean(-1, keepdim=True)
    if states == 2:
        margin = (centred * (2 * is_abnormal - 1)).sum(-1, keepdim=True)
        small = margin.abs() < 1e-4
        slope = torch.where(small, 0.25, (probability - even) / torch.where(small, 1.0, margin))
        found = slope * (2 * is_abnormal - 1)
        return found if even == 0.5 else torch.zeros_like(found), even
    places, weights = np.polynomial.legendre.leggauss(nodes)
    found = torch.zeros_like(logits)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        part = (centred * float(place)).softmax(-1)
        found += float(weight) * part * (is_abnormal - (part * is_abnormal).sum(-1, keepdim=True))
    rest = probability - even - (found * centred).sum(-1, keepdim=True)
    length = centred.square().sum(-1, keepdim=True)
    return found + rest * centred / torch.where(length > 0, length, 1.0), even


def nearest_distance(vectors: Tensor, bank: Tensor, *, chunk: int = 16384) -> Tensor:
    """Half of one minus the cosine to the nearest vector of a memory bank (WinCLIP+, CVPR 2023), in [0, 1].

    Rounding below zero is clamped: it carries no information, and a harmonic mean over mixed signs has no bound.

    Args:
        vectors: ``[..., dim]``, any length.
        bank: ``[N, dim]``, unit length, N of at least 1.
        chunk: Bank rows at a time, so that memory use does not grow with the bank.

    Returns:
        ``[...]``.

    >>> bank = l2_normalize(torch.tensor([[0.0, 1, 0], [1, 1, 0]]))
    >>> nearest_distance(torch.tensor([[1.0, 0, 0], [0, 1, 0]]), bank)
    tensor([0.1464, 0.0000])
    """
    queries = l2_normalize(vectors)
    best: Tensor | None = None
    for rows in bank.split(chunk):
        cosine = linear(queries, rows.to(queries.dtype)).amax(-1)  # queries @ rows.T
        best = cosine if best is None else torch.maximum(best, cosine)
    assert best is not None  # bank is never empty: a scorer refuses before it is fitted
    return ((1 - best) / 2).clamp_min(0)


def nearest_index(vectors: Tensor, bank: Tensor, *, chunk: int = 16384) -> Tensor:
    """Row of a memory bank that is nearest by cosine: that of :func:`nearest_distance`, the first one of a tie.

    Args:
        vectors: ``[..., dim]``, any length.
        bank: ``[N, dim]``, unit length, N of at least 1.
        chunk: Bank rows at a time.

    Returns:
        ``[...]`` int64.

    >>> bank = l2_normalize(torch.tensor([[0.0, 1, 0], [1, 1, 0]]))
    >>> nearest_index(torch.tensor([[1.0, 0, 0], [0, 1, 0]]), bank)
    tensor([1, 0])
    """
    queries = l2_normalize(vectors)
    values, rows = [], []
    for i, part in enumerate(bank.split(chunk)):
        cosine, row = linear(queries, part.to(queries.dtype)).max(-1)
        values.append(cosine)
        rows.append(row + i * chunk)
    best = torch.stack(values).argmax(0, keepdim=True)
    return torch.stack(rows).gather(0, best)[0]


def resize(maps: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor:
    """Bilinear, ``[..., h, w]`` to ``[..., H, W]``; ``align_corners``: corner cells lie on corner pixels."""
    lead = maps.shape[:-2]
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    return F.interpolate(flat, size=size, mode="bilinear", align_corners=align_corners).reshape(*lead, *size)


def gaussian_blur(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian filter, border mirrored (scipy's ``reflect``), cut at four sigma, ``[..., H, W]`` to the same.

    Differentiable; equals ``scipy.ndimage.gaussian_filter``. Sigma 0 changes nothing.
    """
    if sigma == 0:
        return maps
    radius = int(4 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, device=maps.device, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(maps.dtype)
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    flat = F.conv2d(_mirror(flat, radius, -2), kernel.view(1, 1, -1, 1))
    flat = F.conv2d(_mirror(flat, radius, -1), kernel.view(1, 1, 1, -1))
    return flat.reshape(maps.shape)


def _mirror(x: Tensor, radius: int, axis: int) -> Tensor:
    """Pad by reflection about the border between pixels, as often as a small map needs it."""
    length = x.shape[axis]
    index = torch.arange(-radius, length + radius, device=x.device) % (2 * length)
    return x.index_select(axis, torch.where(index < length, index, 2 * length - 1 - index))


def combine(items: Sequence[Tensor], how: Combine) -> Tensor:
    """Elementwise over tensors that broadcast against each other.

    ``harmonic`` and ``geometric`` are for values of at least 0; of the latter a constant factor changes no order, so
    values of different scales count alike.

    >>> combine([torch.tensor(0.6), torch.tensor(0.5), torch.tensor(0.4)], "harmonic")
    tensor(0.4865)
    """
    stack = torch.stack(torch.broadcast_tensors(*items))
    if how == "harmonic":
        return len(items) / (1 / stack.clamp_min(LEAST)).sum(0)
    if how == "geometric":
        return stack.clamp_min(LEAST).log().mean(0).exp()
    if how == "max":
        return stack.amax(0)
    return stack.sum(0) if how == "sum" else stack.mean(0)
