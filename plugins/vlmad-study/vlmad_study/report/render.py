"""Markdown from plain text, in which nothing from outside is markup; and a page from Markdown.

Text is escaped unless it is :class:`Markdown`, so names of files, classes and methods stay what they are.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from jinja2 import Environment, PackageLoader
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markupsafe import Markup

from vlmad_core.report import Table

__all__ = ["Markdown", "bold", "bullets", "code", "code_block", "escape", "heading", "image", "lead", "page"]
__all__ += ["paragraph", "photo_rows", "printable", "table"]

_COLUMNS = 4
_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}
_TAGS = {"<sup>", "</sup>"}
"""HTML that tables of results write; every other tag is shown as text."""


class Markdown(str):
    """Text whose marks are meant."""


def printable(text: str) -> str:
    """One line that can be written as UTF-8: what is not valid Unicode or not printable becomes a question mark."""
    valid = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(valid.split()))


def escape(text: str) -> Markdown:
    """Text in which nothing is markup, neither of Markdown nor of HTML."""
    if isinstance(text, Markdown):
        return text
    safe = html.escape(printable(text), quote=False)
    marks = r"([\\`*|\[\]~$]|(?<!\w)_|_(?!\w)|^[#+=-]|^\d+(?=[.)]))"
    return Markdown(re.sub(marks, lambda m: m[0] + "\\" if m[0].isdigit() else "\\" + m[0], safe))


def bold(text: str) -> Markdown:
    """``**text**``."""
    return Markdown(f"**{escape(text)}**")


def code(text: str) -> Markdown:
    """Between as many backticks as it takes."""
    safe = printable(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", safe)), default=0))
    pad = " " if "`" in safe else ""
    return Markdown(f"{fence}{pad}{safe}{pad}{fence}")


def paragraph(*parts: str) -> Markdown:
    """Parts with spaces between them."""
    return Markdown(" ".join(escape(part) for part in parts if part))


def lead(*paragraphs: str) -> Markdown:
    """What a reader in a hurry reads: a block quote, which the page shows as a panel."""
    return Markdown("\n>\n".join(f"> {escape(text)}" for text in paragraphs))


def heading(text: str, level: int = 2) -> Markdown:
    """A title; level 1 is the page, 2 a section."""
    return Markdown(f"{'#' * level} {escape(text)}")


def bullets(items: Iterable[str]) -> Markdown:
    """A list."""
    return Markdown("\n".join(f"- {escape(item)}" for item in items))


def code_block(text: str) -> Markdown:
    """A command to copy."""
    safe = printable(text)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", safe)), default=0))
    return Markdown(f"{fence}\n{safe}\n{fence}")


def image(path: Path, alt: str, folder: Path) -> Markdown:
    """An image beside the report in ``folder``."""
    return Markdown(f"![{escape(alt)}]({quote(path.relative_to(folder).as_posix())})")


def photo_rows(photos: Sequence[tuple[Path, str]], folder: Path) -> Markdown:
    """Photos with captions, four in a row."""
    rows = []
    for start in range(0, len(photos), _COLUMNS):
        some = photos[start : start + _COLUMNS]
        images, captions = [image(path, text, folder) for path, text in some], [escape(text) for _, text in some]
        rows.append("\n".join(f"| {' | '.join(row)} |" for row in (images, ["---"] * len(some), captions)))
    return Markdown("\n\n".join(rows))


def table(one: Table) -> Markdown:
    """A table of results; what its names hold is escaped there."""
    text = one.markdown().strip()
    return Markdown(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def page(markdown: str, folder: Path) -> str:
    """One HTML page that needs no other file: images inside, light and dark, for a phone and for paper.

    Args:
        markdown: Of the report.
        folder: Where its images are.
    """
    parser = MarkdownIt("commonmark", renderer_cls=_Renderer).enable("table")
    environment: dict[str, Any] = {"folder": folder.resolve()}
    tokens = parser.parse(markdown, environment)
    titles = {1: list[tuple[str, str]](), 2: list[tuple[str, str]]()}
    for place, token in enumerate(tokens):
        if token.type == "heading_open" and token.tag in ("h1", "h2"):
            text = "".join(child.content for child in tokens[place + 1].children or ())
            token.attrSet("id", f"section-{place}")
            titles[int(token.tag[1])].append((f"section-{place}", text))
    body = parser.renderer.render(tokens, parser.options, environment)
    first, end, rest = body.partition("</h1>\n")
    template = Environment(loader=PackageLoader("vlmad_study.report", "."), autoescape=True).get_template(
        "page.html.jinja"
    )
    return template.render(
        title=titles[1][0][1] if titles[1] else "Study",
        sections=titles[2],
        top=Markup(first + end if end else ""),
        body=Markup(rest if end else body),
    )


class _Renderer(RendererHTML):
    """HTML in the text is shown as text, images are put inside, and wide tables scroll by themselves."""

    def html_inline(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """Only the tags that tables write."""
        content = tokens[idx].content
        return content if content in _TAGS else html.escape(content)

    def html_block(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """None."""
        return f"<p>{html.escape(tokens[idx].content)}</p>\n"

    def image(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """An image of the report's own folder as data; nothing else is loaded."""
        token = tokens[idx]
        path = (env["folder"] / unquote(str(token.attrs.get("src", "")))).resolve()
        alt = html.escape(self.renderInlineAsText(token.children, options, env))
        if not path.is_relative_to(env["folder"]) or path.suffix not in _TYPES or not path.is_file():
            return alt
        data = base64.b64encode(path.read_bytes()).decode()
        return f'<img src="data:{_TYPES[path.suffix]};base64,{data}" alt="{alt}">'

    def table_open(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """Photos side by side are no data."""
        row = tokens[idx + 3 : idx + 6]
        kind = "photos" if any(child.type == "image" for token in row for child in token.children or ()) else "data"
        return f'<div class="{kind}" role="region" tabindex="0" aria-label="Table"><table>\n'

    def table_close(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """The end of both."""
        return "</table></div>\n"
