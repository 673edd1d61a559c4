"""Names stay names, whatever they hold, in Markdown and on the page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from vlmad_core.report import Table
from vlmad_core.report.render import Cell
from vlmad_study.report.render import (
    bold,
    bullets,
    code,
    code_block,
    escape,
    heading,
    image,
    lead,
    page,
    paragraph,
    photo_rows,
    printable,
    table,
)

HOSTILE = [
    '"><script>alert(1)</script>',
    "`<img src=x onerror=alert(1)>`",
    "``` \n<script>alert(1)</script>",
    "</main><style>*{display:none}</style>",
    "[a](javascript:alert(1))",
    "![a](https://example.com/a.png)",
    "<!-- <b> -->",
    "a\n\n<script>alert(1)</script>",
    "&lt;script&gt;",
    "\\`<b>`",
    "| a | <b>b</b> |",
    "bad\udcff\udce9name<b>",
    "# title\x1b[31m",
]


def document(name):
    one = Table(("a", name), ((Cell(name), Cell(value=1.0, notes=(name,))),), 1, name)
    blocks = [heading(name, 1), heading(name), lead(bold(name), name), paragraph(name, bold(name), code(name))]
    return "\n\n".join([*blocks, bullets([name]), code_block(name), table(one)])


TAGS = {"main", "nav", "ul", "li", "a", "h1", "h2", "blockquote", "p", "strong", "code", "pre", "div", "table", "sup"}
TAGS |= {"thead", "tbody", "tr", "th", "td", "html", "head", "meta", "title", "style", "body"}
ATTRIBUTES = {"href", "id", "class", "role", "tabindex", "aria-label", "style", "lang", "charset", "name", "content"}


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.links = set(), set(), set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links |= {value for name, value in attrs if name in ("href", "src")}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_becomes_a_tag_a_link_or_an_image(name, tmp_path):
    text = document(name)
    parsed = Tags()
    parsed.feed(page(text, tmp_path))
    assert parsed.tags <= TAGS
    assert parsed.attributes <= ATTRIBUTES
    assert all(link.startswith("#section-") for link in parsed.links)
    text.encode()  # it can be written


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_as_it_is(name, tmp_path):
    html = page(paragraph(name), tmp_path)
    shown = re.sub(r"<[^>]+>", "", html[html.index("</nav>") :])
    for entity, letter in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        shown = shown.replace(entity, letter)
    assert printable(name) in shown


def test_text_that_begins_like_a_mark_is_text(tmp_path):
    for text in ("# a", "- a", "+ a", "1. a", "12) a", "=== a", "* a", "> a"):
        assert "<p>" in page(paragraph(text), tmp_path)
        assert escape(text) == escape(escape(text))


def test_images_of_the_folder_are_inside_the_page_and_no_others(tmp_path):
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "a b.png")
    own = image(tmp_path / "a b.png", "dots", tmp_path)
    html = page(f"{own}\n\n![x](../../etc/passwd)\n\n![y](https://example.com/y.png)", tmp_path)
    assert re.findall(r'<img src="([^"]{15})', html) == ["data:image/png;"]
    photos = page(photo_rows([(tmp_path / "a b.png", "one"), (tmp_path / "a b.png", "two|2")], tmp_path), tmp_path)
    assert photos.count("<img") == 2
    assert "two|2</td>" in photos


def test_the_page_is_for_light_and_dark_and_paper_and_loads_nothing(tmp_path):
    html = page(document("a"), tmp_path)
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert not re.search(r"https?://|<script|<link|@import|url\(", html)
    assert re.search(r'<nav[^>]*><ul>\s*<li><a href="#section-\d+">a</a></li>', html)
