"""Put the files of vlmad-foreground into the tutorial, piece by piece: ``python docs/build_tutorial.py``.

The tutorial shows a file in pieces. A piece is found in the file by its first line, so a new first line needs a hand.
"""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parent / "plugins" / "tutorial.md"
PLUGIN = Path(__file__).parents[1] / "plugins" / "vlmad-foreground"
FILES = ("vlmad_foreground/extractor.py", "vlmad_foreground/plugin.py", "tests/test_foreground.py")


def page() -> str:
    """The tutorial with the pieces as they are in the files.

    Raises:
        ValueError: The first line of a piece is not in its file.
    """
    text = PAGE.read_text(encoding="utf-8")
    for name in FILES:
        block = re.compile(rf"(^`{re.escape(name)}`:\n\n```python\n)(.*?)(^```)", re.MULTILINE | re.DOTALL)
        firsts = [found[2].partition("\n")[0] for found in block.finditer(text)]
        pieces = iter(split((PLUGIN / name).read_text(encoding="utf-8"), firsts[1:]))
        text = block.sub(lambda found, pieces=pieces: found[1] + next(pieces) + found[3], text)  # type: ignore[misc]
    return text


def split(source: str, firsts: list[str]) -> list[str]:
    r"""A source in pieces, each but the first from one of these lines on.

    >>> split("a\n\n\nb\nc\n", ["b"])
    ['a\n', 'b\nc\n']
    """
    starts = [0]
    for first in firsts:
        starts.append(source.index(f"\n{first}\n", starts[-1]) + 1)
    ends = [*starts[1:], len(source)]
    return [source[start:end].rstrip("\n") + "\n" for start, end in zip(starts, ends, strict=True)]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
