"""Write troubleshooting.md from the messages in the source and troubleshooting.yaml: run it after a message changed."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml
from messages import HOLE, ROOT, messages

DOCS = Path(__file__).parent
PAGE = DOCS / "troubleshooting.md"
HEAD = """# Troubleshooting

Written by `docs/build_troubleshooting.py`: every message that vlmad and the plugins of this repository raise. Each says
what is wrong and what would do; here is why, and what helps when that is not enough. … stands for what depends on the
case. Search this page for a few words of the message.

First of all: `vlmad doctor` looks at the installation and tries a detector, `vlmad plugins` shows what did not load and
why, and `vlmad --verbose` or `VLMAD_DEBUG=1` shows tracebacks. What exit codes mean: [command line](cli.md)."""


def sections() -> list[dict[str, Any]]:
    """What is said by hand."""
    made: list[dict[str, Any]] = yaml.safe_load((DOCS / "troubleshooting.yaml").read_text(encoding="utf-8"))
    return made


def page() -> str:
    """The page."""
    return "\n".join([HEAD, *_sections()])


def by_section() -> list[tuple[dict[str, Any], list[str]]]:
    """Each section with its messages: by their file, else by what is said of them, else in the last one."""
    found = [(section, [p for made in section.get("composed", {}).values() for p in made]) for section in sections()]
    found.append(
        ({"title": "Elsewhere", "about": "Messages that say all there is to say.", "files": [], "why": {}}, [])
    )
    for file, patterns in messages().items():
        home = next((mine for section, mine in found if any(fnmatch(file, f) for f in section["files"])), None)
        for pattern in patterns:
            said = next((mine for section, mine in found if why(section, pattern)), found[-1][1])
            (said if home is None else home).append(pattern)
    return [(section, list(dict.fromkeys(mine))) for section, mine in found]


def why(section: dict[str, Any], message: str) -> str:
    """What is said of a message by hand, or nothing."""
    return next((text for piece, text in section["why"].items() if piece in message), "")


def gone() -> list[str]:
    """What is said by hand of messages that nobody raises any more."""
    said = []
    for section, patterns in by_section():
        said += [piece for piece in section["why"] if not any(piece in pattern for pattern in patterns)]
        for file, composed in section.get("composed", {}).items():
            source = (ROOT / file).read_text(encoding="utf-8")
            said += [p for p in composed if any(part.strip(" .,:'") not in source for part in p.split(HOLE))]
    return said


def _sections() -> Iterator[str]:
    for section, patterns in by_section():
        if patterns:
            yield f"\n## {section['title']}\n\n{section['about']}\n"
            for message in patterns:
                mark = "``" if "`" in message else "`"
                told = why(section, message)
                yield f"- {mark}{' '.join(message.split())}{mark}" + (f"<br>{told}" if told else "")
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    for piece in gone():
        print(f"troubleshooting.yaml explains what nobody says any more: {piece}")
