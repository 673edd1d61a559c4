"""Write the tables of checks in testing.md from the checks themselves: ``python docs/build_checks.py``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vlmad_core.testing.checks import CHECKS

PAGE = Path(__file__).with_name("testing.md")
_BETWEEN = re.compile(r"(<!-- checks -->\n).*?(<!-- end -->)", re.DOTALL)
_ALL = ("backbone", "extractor", "prompts", "scorer", "dataset")


def page() -> str:
    """The page with tables that are up to date."""
    tables = "\n".join(_tables())
    return _BETWEEN.sub(lambda found: found[1] + tables + found[2], PAGE.read_text(encoding="utf-8"))


def _tables() -> Iterator[str]:
    for kinds in dict.fromkeys(check.kinds for check in CHECKS.values()):
        title = (
            "any part or data set"
            if kinds == _ALL
            else " and ".join([", ".join(kinds[:-1]), kinds[-1]][not kinds[1:] :])
        )
        rows = [f"| `{c.name}` | {c.rule} | {c.needs} |" for c in CHECKS.values() if c.kinds == kinds]
        yield "\n".join(
            [f"### {title[0].upper()}{title[1:]}", "", "| check | rule | only with |", "|---|---|---|", *rows, ""]
        )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
