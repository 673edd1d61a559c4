"""Write troubleshooting.md from troubleshooting.yaml: ``python docs/build_troubleshooting.py`` after a message changed.

Each explanation has a key, a piece of a message. What is raised is read from the source (``messages.py``), so a key
that no message contains any more is found, and messages without an explanation stand at the end of the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from messages import messages

DOCS = Path(__file__).parent
PAGE = DOCS / "troubleshooting.md"
HEAD = """# Troubleshooting

First: `vlmad doctor` checks the installation and tries a detector, `vlmad plugins` shows what did not load and why, and
`VLMAD_DEBUG=1` shows tracebacks. What exit codes mean: [command line](cli.md).

**Search this page, or the site, for a few words of the message that you got.** A heading is a piece of the message;
below it stands why it happens and what to do. An ellipsis (…) stands for what differs from case to case.
"""
COMPOSED = {"no such option": "no such option", "…: …, got …": ", got "}
"""Keys of messages that vlmad_core/registry/validate.py puts together in pieces, and a piece of each."""


def sections() -> list[dict[str, Any]]:
    """Title, introduction and explanations of each section."""
    found: list[dict[str, Any]] = yaml.safe_load((DOCS / "troubleshooting.yaml").read_text(encoding="utf-8"))
    return found


def explanation_keys() -> list[str]:
    """The key of each explanation."""
    return [key for section in sections() for key in section["why"]]


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *_sections()])


def unexplained() -> list[str]:
    """Messages without an explanation, in the order of the source."""
    known = explanation_keys()
    patterns = (" ".join(p.split()) for patterns in messages().values() for p in patterns)
    return list(dict.fromkeys(p for p in patterns if not any(key in p for key in known)))


def gone() -> list[str]:
    """Keys that no message contains any more."""
    raised = [" ".join(p.split()) for patterns in messages().values() for p in patterns]
    return [key for key in explanation_keys() if key not in COMPOSED and not any(key in pattern for pattern in raised)]


def _sections() -> Iterator[str]:
    for section in sections():
        yield f"## {section['title']}\n\n{section['about']}\n"
        for key, text in section["why"].items():
            yield f"#### {_code(key)}\n\n{text}\n"
    yield "## Other messages\n\nThese say themselves what is wrong and what to do.\n"
    yield from (f"- {_code(message)}" for message in unexplained())
    yield ""


def _code(text: str) -> str:
    mark = "``" if "`" in text else "`"
    return f"{mark} {text} {mark}" if mark == "``" else f"{mark}{text.strip()}{mark}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    for key in gone():
        print(f"troubleshooting.yaml explains what no message contains any more: {key}")
