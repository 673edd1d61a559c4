"""The tiny CLIP of PARITY.md ("The model") in our open towers, and the numbers recorded with it."""

import hashlib
import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import torch

from vlmad_core.builtin.open_clip import OpenClip

FOLDER = Path(__file__).parent


def recorded(file, name):
    """An array of ``file`` and its absolute tolerance."""
    about = json.loads((FOLDER / f"{file}.json").read_text())["arrays"][name]
    with np.load(FOLDER / f"{file}.npz") as arrays:
        return torch.from_numpy(arrays[name]), about.get("atol", 0.0)


def check(value, file, name, rows=slice(None)):
    """Compare with a recorded array within its own tolerance; NaN equals NaN."""
    expected, atol = recorded(file, name)
    expected = expected[rows].to(value.dtype)
    torch.testing.assert_close(value, expected, rtol=0, atol=atol, equal_nan=True)
    if log := os.environ.get("VLMAD_PARITY_LOG"):  # set by measure.py
        difference = (value.double() - expected.double()).abs().nan_to_num(0).max().item()
        with Path(log).open("a", encoding="utf-8") as differences:
            differences.write(json.dumps([file, name, difference, atol]) + "\n")


@cache
def token_embedding():
    """The one generated array, by the formula of PARITY.md."""
    about = json.loads((FOLDER / "clip_tiny_text.json").read_text())["token_embedding.weight"]
    rows, width = about["shape"]
    with np.errstate(over="ignore"):
        z = np.uint64(0x5EED010000000000) + np.arange(1, rows * width + 1, dtype=np.uint64) * np.uint64(
            0x9E3779B97F4A7C15
        )
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        total = sum((z >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48))
    table = ((2 * (total // np.uint64(4096)).astype(np.int64) - 63) / 64).astype("<f4").reshape(rows, width)
    if hashlib.sha256(table.tobytes()).hexdigest() != about["sha256_of_float32_little_endian"]:
        raise ValueError("the generated token embedding is not the recorded one")
    return torch.from_numpy(table)


@cache
def tiny_state(name):
    """All parameters of ``"b16"`` or ``"l14"`` with the shared text tower, float32, in OpenAI's flat naming."""
    state = {"token_embedding.weight": token_embedding()}
    for file in (f"clip_tiny_visual_{name}", "clip_tiny_text"):
        scale = json.loads((FOLDER / f"{file}.json").read_text())["scale"]
        with np.load(FOLDER / f"{file}.npz") as arrays:
            for key, array in arrays.items():
                factor = scale[key] if array.dtype == np.int8 else 1.0
                state[key] = torch.as_tensor(array.astype(np.float32) * np.float32(factor))
    return state


def tiny_clip(name="b16", *, image_size=None, activation="gelu", positions="bicubic"):
    """A fresh backbone; heads are 64 wide.

    Args:
        name: "b16" (stored grid 5 x 5, patch 16) or "l14" (stored grid 4 x 4, patch 14).
        image_size: A side or (height, width); None: 80 for "b16", 84 for "l14".
        activation: "gelu" (WinCLIP, APRIL-GAN) or "quick-gelu" (AnomalyCLIP).
        positions: "bicubic" (WinCLIP, APRIL-GAN) or "bilinear" (AnomalyCLIP).
    """
    size = image_size or {"b16": 80, "l14": 84}[name]
    state = {key: value.clone() for key, value in tiny_state(name).items()}
    return OpenClip.from_state_dict(
        state, image_size=size, activation=activation, positions=positions, provenance={"weights": f"tiny {name}"}
    )
