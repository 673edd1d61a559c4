"""Fourth stage: what was trained, into the wheel: ``joint.safetensors``, ``tokenizer.json``, and their note."""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save

PACKAGE = Path(__file__).resolve().parents[1] / "vlmad_pocket"


def rename(trained: dict[str, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """By the names of ``Pocket(...).state_dict()``; matrices in fp16, vectors, which are small, in fp32."""
    tensors = {}
    for name, tensor in trained["seeing"].items():
        if name.startswith("final."):
            continue  # the published one
        tensors[f"vision.{name}"] = tensor
    tensors |= {f"text.{name}": tensor for name, tensor in trained["text"].items()}
    return {
        name: (tensor.half() if tensor.ndim > 1 else tensor.float()).contiguous().cpu()
        for name, tensor in sorted(tensors.items())
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path, help="the --out of train.py")
    parser.add_argument("--name", default="pocket-joint-3")
    options = parser.parse_args()
    trained = torch.load(options.folder / "trained.pt", map_location="cpu", weights_only=True)
    data = save(rename(trained), metadata={"format": "pt"})
    (PACKAGE / "joint.safetensors").write_bytes(data)
    shutil.copyfile(options.folder / "tokenizer.json", PACKAGE / "tokenizer.json")
    results = json.loads((options.folder / "results.json").read_text(encoding="utf-8"))
    steps = f"{trained['heads']} heads of {trained['steps']} steps"
    note = {
        "sha256": hashlib.sha256(data).hexdigest(),
        "tokenizer_sha256": hashlib.sha256((PACKAGE / "tokenizer.json").read_bytes()).hexdigest(),
        "name": options.name,
        "trained_on": f"{trained['pictures']} generated pictures, {steps}; no photograph",
        "licence": "Apache-2.0",
        "seed": trained["seed"],
        "generated_validation": {key: value for key, value in results.items() if isinstance(value, float)},
    }
    (PACKAGE / "joint.json").write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    print(f"joint.safetensors: {len(data) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
