"""Writes ``docs/licences.md`` from the table of ``pip-licenses`` on stdin and our notices: ``make licences``."""

from __future__ import annotations

import sys

from distributions import ROOT, distributions

PAGE = ROOT / "docs" / "licences.md"
ALLOWED = "Apache;BSD;BSL;Boost;CC0;CNRI;HPND;ISC;MIT;MPL;Mozilla;PSF;Python Software Foundation;Zlib"
"""Licences that let anyone use and pass on the software, as pieces of what distributions say, for ``pip-licenses``."""
HEAD = """# Licences

vlmad is under the Apache License 2.0: each of its wheels contains `LICENSE`, and those with weights a `NOTICE`. Weights
that you name yourself (tags of open_clip and timm, checkpoints of papers) have licences of their own, and some of those
forbid commercial use; vlmad downloads none that you did not name.

`make sbom` writes what is installed, with versions, licences and the hashes of weights, to `sbom.json` (CycloneDX).

## What is installed with vlmad

All distributions of this repository with all extras, on Linux without a GPU; written by `make licences` with
`pip-licenses`. A CUDA build of torch brings libraries of NVIDIA under a proprietary licence.

"""


def page(table: str) -> str:
    """The whole page."""
    return f"{HEAD}{table.strip()}\n\n## Weights and data inside the wheels\n{notices()}"


def notices() -> str:
    """The notice of each plugin that has one, word for word."""
    found = {ours.name: ours.folder / "NOTICE" for ours in distributions()[1:]}
    texts = {name: path.read_text(encoding="utf-8") for name, path in found.items() if path.exists()}
    return "".join(f"\n### {name}\n\n```text\n{text}```\n" for name, text in texts.items())


def names() -> set[str]:
    """The distributions in the table of the page."""
    rows = (line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| "))
    return {cells[1].strip() for cells in rows} - {"Name"}


if __name__ == "__main__":
    PAGE.write_text(page(sys.stdin.read()), encoding="utf-8")
