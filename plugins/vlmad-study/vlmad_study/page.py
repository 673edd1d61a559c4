"""A report as one HTML page that needs no other file: light and dark, phone and paper."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from vlmad_core.report.render import STYLE
from vlmad_study.document import Block, Bullets, Code, Fold, Heading, Photos, Picture, Shown, Text

__all__ = ["as_page"]

_STYLE = (
    STYLE
    + """
:root { --ink: #1d1d22; --faint: #5c5c66; --paper: #fff; --panel: #f3f4f7; --line: #d8d9de; --accent: #0b62a8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf0; --faint: #a3a3ad; --paper: #17171b; --panel: #222228; --line: #3a3a42; --accent: #7cbcf2; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: var(--paper);
  overflow-wrap: anywhere; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: .5rem 0 1rem; }
h2 { font-size: 1.4rem; margin: 3rem 0 .8rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
p, ul { max-width: 44rem; }
li { margin: .3rem 0; }
a { color: var(--accent); }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; list-style: none; padding: 0; max-width: none; }
nav li { margin: 0; }
.lead { font-size: 1.1rem; background: var(--panel); border-left: 4px solid var(--accent); padding: .9rem 1.1rem; }
.note, .results caption, .results .notes, figcaption { color: var(--faint); font-size: .875rem; }
pre { background: var(--panel); padding: .8rem 1rem; border-radius: 6px; white-space: pre-wrap; }
code { font: .9em/1.5 ui-monospace, monospace; background: var(--panel); padding: .1em .3em; border-radius: 4px; }
pre code { padding: 0; background: none; }
figure { margin: 1rem 0 2rem; }
figure.plot img { width: 100%; max-width: 56rem; height: auto; background: #fff; border-radius: 6px; }
.results thead th { border-color: var(--line); vertical-align: bottom; }
.photos { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 14rem), 1fr)); gap: 1rem;
  margin: .6rem 0 1.6rem; }
.photos figure { margin: 0; }
.photos img { width: 100%; height: auto; display: block; border-radius: 4px; }
.photos figcaption { line-height: 1.35; margin-top: .3rem; }
details { border: 1px solid var(--line); border-radius: 6px; padding: .6rem 1rem; margin: 1rem 0; }
summary { cursor: pointer; font-weight: 600; }
@media (max-width: 40rem) {
  figure.plot { overflow-x: auto; }
  figure.plot img { width: 34rem; max-width: none; }
  figure.results tbody th { white-space: normal; min-width: 8rem; }
}
@media print {
  :root { --ink: #000; --faint: #444; --paper: #fff; --panel: #f3f4f7; --line: #bbb; color-scheme: light; }
  nav { display: none; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  figure, tr, .photos figure { break-inside: avoid; }
  h2, h3, h4 { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; }
  figure.results .scroll { overflow: visible; }
  figure.results th, figure.results td { white-space: normal; }
}
"""
)
_KINDS = {".png": "image/png", ".jpg": "image/jpeg"}


def as_page(blocks: Sequence[Block], title: str) -> str:
    """The whole page, pictures inside."""
    links = "".join(
        f'<li><a href="#{block.anchor}">{html.escape(block.text)}</a></li>'
        for block in blocks
        if isinstance(block, Heading) and block.level == 2
    )
    nav = f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n'
    body, seen = [], False
    for block in blocks:
        body += list(_block(block))
        if isinstance(block, Heading) and block.level == 1 and not seen:
            body.append(nav)
            seen = True
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{html.escape(title)}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{''.join(body)}</main>\n</body>\n</html>\n"
    )


def _block(block: Block) -> Iterator[str]:
    match block:
        case Heading(text, level):
            yield f'<h{level} id="{block.anchor}">{_inline(text)}</h{level}>\n'
        case Text(text, kind):
            named = f' class="{kind}"' if kind else ""
            yield f"<p{named}>{_inline(text)}</p>\n"
        case Bullets(items):
            yield f"<ul>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</ul>\n"
        case Code(text):
            yield f"<pre><code>{html.escape(text)}</code></pre>\n"
        case Shown(table):
            yield table.html()
        case Picture(path, alt):
            yield f'<figure class="plot"><img src="{_inside(path)}" alt="{html.escape(alt)}"></figure>\n'
        case Photos(title, photos):
            yield f'<h4>{_inline(title)}</h4>\n<div class="photos">\n'
            for one in photos:
                told = html.escape(one.caption)
                yield f'<figure><img src="{_inside(one.path)}" alt="{told}" loading="lazy">'
                yield f"<figcaption>{told}</figcaption></figure>\n"
            yield "</div>\n"
        case Fold(title, inner):
            yield f"<details><summary>{_inline(title)}</summary>\n"
            for block_inside in inner:
                yield from _block(block_inside)
            yield "</details>\n"


def _inside(path: Path) -> str:
    return f"data:{_KINDS[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _inline(text: str) -> str:
    parts = re.split(r"(`[^`]*`|\*\*[^*]+\*\*)", text)
    return "".join(_part(part) for part in parts)


def _part(part: str) -> str:
    if part.startswith("`") and part.endswith("`") and len(part) > 1:
        return f"<code>{html.escape(part[1:-1])}</code>"
    if part.startswith("**") and len(part) > 4:
        return f"<strong>{html.escape(part[2:-2])}</strong>"
    return html.escape(part)
