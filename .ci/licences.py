"""Write ``docs/licences.md``: ``python .ci/licences.py``, where everything is installed with every extra.

Whose work runs with vlmad and whose weights lie in its wheels. A test holds it to the declared dependencies and to the
notices.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from distributions import ROOT, closure, distributions, families, licence, third_party

PAGE = ROOT / "docs" / "licences.md"

HEAD = """# Licences

Written by `.ci/licences.py` from what each distribution says of itself. vlmad is under the Apache License 2.0: each
of its wheels carries `LICENSE`, and those with weights a `NOTICE`. Weights that you name yourself (tags of open_clip
and timm, checkpoints of papers) come under licences of their own, and some of those forbid commercial use; vlmad
fetches none that you did not name.

`make sbom` writes what is installed, with versions, licences and the hashes of weights, to `sbom.json`, a CycloneDX
document. `python .ci/sbom.py vlmad-core vlmad-pocket` does so for these alone.

## What vlmad asks for

| distribution | licence | asked for by |
|---|---|---|
"""
INDIRECT = """
## What those bring with them

On Linux, with Python 3.11, without a GPU. A CUDA build of torch brings libraries of NVIDIA under a proprietary licence.

| distribution | licence |
|---|---|
"""
WEIGHTS = """
## Weights and data inside the wheels
"""


def page() -> str:
    """The whole page."""
    return HEAD + "".join(_asked()) + INDIRECT + "".join(_indirect()) + WEIGHTS + weights()


def weights() -> str:
    """The notice of each plugin that has one, word for word."""
    notices = {ours.name: ours.folder / "NOTICE" for ours in distributions()[1:]}
    texts = {name: path.read_text(encoding="utf-8") for name, path in notices.items() if path.exists()}
    return "".join(f"\n### {name}\n\n```text\n{text}```\n" for name, text in texts.items())


def _asked() -> Iterator[str]:
    asked = third_party(distributions())
    installed = closure(asked)
    for name, by in asked.items():
        yield f"| `{name}` | {licence(installed[name].distribution)} | {', '.join(f'`{each}`' for each in by)} |\n"


def _indirect() -> Iterator[str]:
    asked = third_party(distributions())
    for name, each in closure(asked).items():
        if name not in asked:
            yield f"| `{name}` | {licence(each.distribution)} |\n"


def rows(text: str | None = None) -> dict[str, list[str]]:
    """The rows of both tables of the page: name to the other cells."""
    text = PAGE.read_text(encoding="utf-8") if text is None else text
    cells = (
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")
    )
    return {name.strip("`"): rest for name, *rest in cells}


def unfree() -> dict[str, str]:
    """What runs with vlmad here and is not known to be free to use and pass on: name to licence."""
    wanted = [f"{ours.name}[{','.join(filter(None, ours.extras))}]" for ours in distributions()]
    said = {name: licence(each.distribution) for name, each in closure(wanted).items()}
    return {name: text for name, text in said.items() if "unknown" in families(text)}


def main(page_file: Path = PAGE) -> None:
    """The command."""
    page_file.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
