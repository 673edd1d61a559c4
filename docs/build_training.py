"""Write the table of options in training.md from the options themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from vlmad_core.training.options import RUN_ONLY, TrainingOptions

PAGE = Path(__file__).with_name("training.md")
_BETWEEN = re.compile(r"(<!-- options -->\n).*?(<!-- end -->)", re.DOTALL)


def page() -> str:
    """The page with a table that is up to date."""
    rows = ["| `training.` | default | meaning |", "|---|---|---|"]
    for name, field in TrainingOptions.model_fields.items():
        default = ", ".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        choices = [str(choice) for choice in get_args(field.annotation) if isinstance(choice, str)]
        said = f" One of {', '.join(choices)}." if choices else ""
        mark = " *" if name in RUN_ONLY else ""
        rows.append(f"| `{name}`{mark} | {default} | {field.description}{said} |")
    return _BETWEEN.sub(lambda found: found[1] + "\n".join(rows) + "\n" + found[2], PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
