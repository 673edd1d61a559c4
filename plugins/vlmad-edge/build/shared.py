"""Copies the torch-free files of the core that the edge runtime needs, so that both read pixels and decide alike.

`python plugins/vlmad-edge/build/shared.py` writes them; a test compares each copy with its source. Edit the source in
``vlmad_core``, never the copy.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TARGET = ROOT / "plugins" / "vlmad-edge" / "vlmad_edge" / "shared"
FILES = {
    "errors.py": "errors.py",
    "files.py": "files.py",
    "contracts/decode.py": "decode.py",
    "contracts/dicom.py": "dicom.py",
    "contracts/find.py": "find.py",
    "contracts/memory.py": "memory.py",
    "contracts/opening.py": "opening.py",
    "contracts/pixels.py": "pixels.py",
    "contracts/stored.py": "stored.py",
    "contracts/values.py": "values.py",
    "inspection/outline.py": "outline.py",
    "inspection/regions.py": "regions.py",
    "inspection/verdict.py": "verdict.py",
    "run/colour.py": "colour.py",
    "run/overlay.py": "overlay.py",
}
"""Source below ``vlmad_core`` to the name of the copy."""

_ELSEWHERE = {
    "from vlmad_core.inspection.labelling import label": "from vlmad_edge.labelling import label",
    "from vlmad_core.contracts.data import Prediction": "from vlmad_edge.prediction import Prediction",
    "from vlmad_core.pipeline.pipeline import Pipeline": "from typing import Any as Pipeline",
}


def copy_of(source: str) -> str:
    """The text of the copy of a file below ``vlmad_core``."""
    text = (ROOT / "vlmad_core" / source).read_text(encoding="utf-8")
    for old, new in _ELSEWHERE.items():
        text = text.replace(old, new)
    for path, name in FILES.items():
        module = path.removesuffix(".py").replace("/", ".")
        text = text.replace(
            f"from vlmad_core.{module} import", f"from vlmad_edge.shared.{name.removesuffix('.py')} import"
        )
    head = f"# Copied from vlmad_core/{source} by plugins/vlmad-edge/build/shared.py; edit that file.\n"
    return head + text


def main() -> None:
    """Write every copy."""
    for source, name in FILES.items():
        (TARGET / name).write_text(copy_of(source), encoding="utf-8")
    (TARGET / "__init__.py").write_text(
        '"""Copies of torch-free files of the core; see plugins/vlmad-edge/build/shared.py."""\n', encoding="utf-8"
    )


if __name__ == "__main__":
    main()
