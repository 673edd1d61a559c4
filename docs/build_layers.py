"""Put the layers of import-linter into CONTRIBUTING.md: ``python docs/build_layers.py``."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
_BETWEEN = re.compile(r"(## Layers\n.*?\n```\n).*?(\n```)", re.DOTALL)


def page() -> str:
    """The page with the layers that ``pyproject.toml`` has."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    layers = next(contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers")
    text = "\n".join(layer.replace("vlmad_core.", "") for layer in layers)
    return _BETWEEN.sub(lambda found: found[1] + text + found[2], PAGE.read_text(encoding="utf-8"), count=1)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
