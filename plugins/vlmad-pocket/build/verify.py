"""Compare the extracted encoder with the graph it comes from and with timm. Called by ``extract.py --verify``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.nn import functional

from vlmad_core.contracts import forward_blocks, import_with_torchvision
from vlmad_pocket import vision
from vlmad_pocket.vision import DEPTH, SIDE, WIDTH, PocketVision

LAST = "/backbone/layernorm/Add_1_output_0"

# Ours on the left, timm's on the right.
NAMES = {"class_token": "cls_token", "positions": "pos_embed", "to_tokens": "patch_embed.proj", "final": "norm"}
BLOCK_NAMES = {
    "to_qkv": "attn.qkv",
    "to_out": "attn.proj",
    "scale1": "ls1.gamma",
    "up": "mlp.fc1",
    "down": "mlp.fc2",
    "scale2": "ls2.gamma",
}


def pictures(size: tuple[int, int]) -> dict[str, np.ndarray]:
    """One of noise and one with the spectrum of a photograph (1/f in each channel), ``[1, 3, H, W]``."""
    random = np.random.default_rng(0)
    noise = random.standard_normal((1, 3, *size))
    y, x = np.fft.fftfreq(size[0])[:, None], np.fft.fftfreq(size[1])[None]
    fall = 1 / np.maximum(np.hypot(y, x), 1 / max(size))
    natural = np.fft.ifft2(np.fft.fft2(random.standard_normal((1, 3, *size))) * fall).real
    natural = (natural - natural.mean()) / natural.std()
    return {"noise": noise.astype(np.float32), "natural": natural.astype(np.float32)}


def tower(tensors: Mapping[str, np.ndarray]) -> PocketVision:
    """Our own encoder with these tensors, in fp32."""
    made = PocketVision()
    made.load_state_dict({name.removeprefix("vision."): as_float(array) for name, array in tensors.items()})
    return made.eval()


def as_float(array: np.ndarray) -> Tensor:
    """The same numbers in fp32, in memory of their own."""
    return torch.from_numpy(array.astype(np.float32))


def features(model: PocketVision, images: Tensor) -> Tensor:
    """``[B, L, W]`` after the last norm."""
    last, _ = forward_blocks(model.blocks, model.embed(images)[0])
    return model.norm(last)


def without_antialias(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """The positions as the graph resizes them; DINOv2's authors and timm differ in this one."""
    table = positions[:, 1:].reshape(1, SIDE, SIDE, -1).permute(0, 3, 1, 2)
    table = functional.interpolate(table, size=grid, mode="bicubic")
    return torch.cat([positions[:, :1], table.flatten(2).transpose(1, 2)], dim=1)


def run_graph(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """The output of the layer norm, for pictures of any size."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    for axis, length in zip(opened.graph.input[0].type.tensor_type.shape.dim, images.shape, strict=True):
        axis.dim_value = length
    del opened.graph.output[:]
    opened.graph.output.append(onnx.helper.make_tensor_value_info(LAST, onnx.TensorProto.FLOAT, None))
    name = opened.graph.input[0].name
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        return np.asarray(next(iter(ReferenceEvaluator(opened).run([LAST], {name: images}))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "opened.onnx"
        onnx.save(opened, path)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return np.asarray(session.run([LAST], {name: images})[0])


def report(title: str, ours: Tensor, theirs: Tensor) -> float:
    """Print the largest difference and return it."""
    worst = float((ours - theirs).abs().max())
    cosine = float(functional.cosine_similarity(ours, theirs, dim=-1).min())
    print(f"  {title:<60} largest {worst:.1e} (values up to {theirs.abs().max():.1f}), least cosine {cosine:.7f}")
    return worst


@torch.no_grad()
def against_graph(model: onnx.ModelProto, exact: Mapping[str, np.ndarray], stored: Mapping[str, np.ndarray]) -> None:
    """Print the differences to the ONNX graph, and stop if the fp32 weights do not give the same."""
    print("against the ONNX graph, after the last norm:")
    full, small = tower(exact), tower(stored)
    for size in ((224, 224), (SIDE * 14, SIDE * 14)):
        for kind, images in pictures(size).items():
            theirs, batch = torch.from_numpy(run_graph(model, images)), torch.from_numpy(images)
            with mock.patch.object(vision, "resize_positions", without_antialias):
                worst = report(f"{size[0]} px, {kind}, fp32", features(full, batch), theirs)
                report(f"{size[0]} px, {kind}, as stored", features(small, batch), theirs)
            for made in (full, small):
                made._resized.clear()
            if size[0] != SIDE * 14:
                report(f"{size[0]} px, {kind}, fp32, positions antialiased", features(full, batch), theirs)
            if worst > 1e-3:
                raise SystemExit("the fp32 weights do not give what the graph gives.")
            for made in (full, small):
                made._resized.clear()


def timm_names(tensors: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """The tensors as timm's ``vit_small_patch14_dinov2`` calls them."""
    renamed = {}
    for name, array in tensors.items():
        parts = name.removeprefix("vision.").split(".")
        if parts[0] == "blocks":
            parts[2] = BLOCK_NAMES.get(parts[2], parts[2])
        else:
            parts[0] = NAMES[parts[0]]
        renamed[".".join(parts)] = as_float(array)
    return renamed


@torch.no_grad()
def against_timm(exact: Mapping[str, np.ndarray], stored: Mapping[str, np.ndarray]) -> None:
    """Fill timm's own model, strictly, and print the differences."""
    model = timm_model()
    expected = 2 + 4 + 14 * DEPTH
    own = model.state_dict()
    if len(own) != expected or len(exact) != expected or own["pos_embed"].shape != (1, 1 + SIDE * SIDE, WIDTH):
        raise SystemExit(f"timm has {len(own)} tensors and we have {len(exact)}; both should be {expected}.")
    print(f"against timm's vit_small_patch14_dinov2, all {len(own)} tensors filled:")
    for title, tensors in (("fp32", exact), ("as stored", stored)):
        model.load_state_dict(timm_names(tensors), strict=True)
        ours = tower(tensors)
        for size in ((518, 518), (224, 224), (196, 280)):
            images = torch.from_numpy(pictures(size)["natural"])
            worst = report(f"{size[0]} x {size[1]}, {title}", features(ours, images), model.forward_features(images))
            if worst > 1e-3:
                raise SystemExit("the same weights do not give what timm gives.")


def timm_model() -> Any:
    """The same model from timm, open to any size; torchvision need not work."""
    timm = import_with_torchvision("timm")
    return timm.create_model("vit_small_patch14_dinov2", img_size=518, num_classes=0, dynamic_img_size=True).eval()
