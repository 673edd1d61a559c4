"""Makes a site of the docs: the order of pages, READMEs of plugins, links to files of the repository, docstrings.

A hook of mkdocs, see mkdocs.yml. Links in the Markdown lead to files of the repository, so that they work there. Here a
link to a file that is a page of the site becomes a link to that page, and any other becomes plain text. The comment
``<!-- names: PACKAGE -->`` becomes the public names of the package, for mkdocstrings.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
_LINK = re.compile(r"\[([^\]\n]+(?:\[[^\]]*\])?[^\]\n]*)\]\(([^)\s]+)\)")
_NAMES = re.compile(r"<!-- names: ([\w.]+) -->")
_CONTRACTS = ("vlmad_core.contracts", "vlmad_core.registry", "vlmad_core.datasets")
"""These are documented on the page of contracts; elsewhere their names are links to it."""
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


def public_names(package: str) -> dict[str, str]:
    """The public names of a package and where each is defined: ``{"build": "vlmad_core.pipeline.build.build"}``.

    Read from ``__init__.pyi`` where there is one, else from the imports and ``__all__`` of the source.
    """
    folder = ROOT / package.replace(".", "/")
    choices = (folder / "__init__.pyi", folder / "__init__.py", folder.with_suffix(".py"))
    tree = ast.parse(next(path for path in choices if path.exists()).read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module not in (None, "__future__"):  # None: `from . import room`
            home = f"{package}.{node.module}" if node.level else node.module
            found |= {alias.asname or alias.name: f"{home}.{alias.name}" for alias in node.names}
    listed = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    names = (
        ast.literal_eval(listed[0]) if listed else [name for name, home in found.items() if home.startswith("vlmad")]
    )
    return {name: found.get(name, f"{package}.{name}") for name in names if name != "__version__"}


def document(package: str, documented: set[str]) -> str:
    """Blocks of mkdocstrings for the public names of a package; a name that has its block elsewhere is a link."""
    parts = []
    for name, home in public_names(package).items():
        if home in documented:
            parts.append(f"[`{name}`][{home}]: see there.")
        else:
            parts.append(f"::: {home}")
    return "\n\n".join(parts)


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

    done: set[str] = set()
    if page.file.src_uri != "reference/contracts.md":
        done.update(home for package in _CONTRACTS for home in public_names(package).values())

    def put(found: re.Match[str]) -> str:
        text = document(found[1], done)
        done.update(public_names(found[1]).values())
        return text

    markdown = _NAMES.sub(put, markdown)
    parts = _FENCE.split(markdown)  # every second one is a block of code
    return "".join(part if i % 2 else _LINK.sub(turn, part) for i, part in enumerate(parts))
