"""Makes a site of the docs: the order of pages, the READMEs beside the docs, and links that lead out of them.

A hook of mkdocs, see mkdocs.yml. Links in the Markdown lead to files of the repository, so that they work where the
files lie; here those to files that are pages of the site are turned to the pages, and others become plain text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_LINK = re.compile(r"\[([^\]\n]+(?:\[[^\]]*\])?[^\]\n]*)\]\(([^)\s]+)\)")
_PICTURES = {".jpg", ".png", ".svg"}
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def pages() -> dict[str, Path]:
    """Where each page of the site comes from, by its place on the site."""
    found = {path.relative_to(DOCS).as_posix(): path for path in sorted(DOCS.rglob("*.md"))}
    found |= {f"distributions/{path.parent.name}.md": path for path in sorted(ROOT.glob("plugins/*/README.md"))}
    return found | {"contributing.md": ROOT / "CONTRIBUTING.md", "changelog.md": ROOT / "CHANGELOG.md"}


def pictures() -> dict[str, Path]:
    """Pictures that pages show and that do not lie in the docs, by their place on the site."""
    named = {
        (page.parent / link[2]).resolve() for page in pages().values() for link in _LINK.finditer(page.read_text())
    }
    beside = [path for path in sorted(named) if path.suffix in _PICTURES and path.exists() and DOCS not in path.parents]
    return {f"pictures/{path.relative_to(ROOT).as_posix()}": path for path in beside}


def expand(nav: list[Any], left: list[str]) -> list[Any]:
    """The entries with patterns replaced by the pages of ``left`` that they match, which are taken out of it."""
    made: list[Any] = []
    for entry in nav:
        if isinstance(entry, dict):
            ((title, inside),) = entry.items()
            if isinstance(inside, list):
                pages_there = expand(inside, left)
                made += [{title: pages_there}] if pages_there else []
            elif inside in left:
                left.remove(inside)
                made.append({title: inside})
        else:
            taken = [page for page in left if Path(page).match(entry) and page.count("/") == entry.count("/")]
            left[:] = [page for page in left if page not in taken]
            made += taken
    return made


def on_config(config: Any) -> Any:
    """Write the navigation: each page once, those that no pattern took at the end."""
    left = list(pages())
    nav = expand(config.nav, left)
    nav[-1]["More"] += left
    config.nav = nav
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie beside the docs, and their pictures."""
    from mkdocs.structure.files import File

    for place, path in (pages() | pictures()).items():
        if not path.is_relative_to(DOCS):
            files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn links to files of the repository into links to pages."""
    places = {path: place for place, path in (pages() | pictures()).items()}
    source = pages()[page.file.src_uri]

    def turn(found: re.Match[str]) -> str:
        text, target = found.groups()
        name, _, anchor = target.partition("#")
        if "://" in target or not name:
            return found[0]
        path = (source.parent / name).resolve()
        if not path.exists():
            return found[0]  # mkdocs says that it leads nowhere
        if path == ROOT / "README.md":
            path = DOCS / "index.md"
        if path.is_dir():
            inside = [other for other in places if path in other.parents]
            path = min(inside, key=lambda p: (p.stem not in ("index", "README"), len(p.parts), p)) if inside else path
        place = places.get(path) or (path.relative_to(DOCS).as_posix() if path.is_relative_to(DOCS) else None)
        if place is None or path.is_dir():
            return text
        there = os.path.relpath(place, Path(page.file.src_uri).parent)
        return f"[{text}]({Path(there).as_posix()}{'#' * bool(anchor)}{anchor})"

    parts = _FENCE.split(markdown)  # every second one is a block of code
    return "".join(part if i % 2 else _LINK.sub(turn, part) for i, part in enumerate(parts))
