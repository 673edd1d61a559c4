"""Images on the pages: each is there, is used, is small, was asked for by its page, and has its authors named."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "assets" / "gallery"
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]


@pytest.fixture
def gallery(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return import_module("build_gallery")


def test_what_a_page_asks_for_stands_below(gallery):
    asked = [one for page in gallery.pages() for one in gallery.requests(page)]
    assert len(asked) > 8
    for one in asked:
        text = one.page.read_text(encoding="utf-8")
        for wanted in one.wanted:
            kind, _, place = wanted.partition(" ")
            assert kind in ("text", "sheet"), f"{one.page.name}: {wanted}"
            if kind == "sheet":
                assert one.picture(place).is_file(), f"{one.picture(place).name}: run make gallery DATA=folder"
                assert f"assets/gallery/{one.picture(place).name}" in text


def test_every_image_is_used_and_all_are_small():
    used = {name for page in PAGES for name in re.findall(r"assets/gallery/([\w.-]+\.(?:jpg|png))", page.read_text())}
    files = [path for path in FOLDER.iterdir() if path.suffix != ".md"]
    assert {path.name for path in files} == used
    assert sum(path.stat().st_size for path in files) < 1_500_000
    for path in files:
        Image.open(path).verify()


def test_authors_and_licences_are_named_beside_the_images():
    text = (FOLDER / "LICENCE.md").read_text(encoding="utf-8")
    assert all(piece in text for piece in ("Amazon", "CC BY-SA 4.0", "Bianconi", "CC BY 4.0"))


def test_durations_are_left_out_so_that_a_second_run_changes_nothing(gallery, tmp_path):
    page = gallery.DOCS / "page.md"
    code = "print('vlmad: 6 images scored, in 1.9 s (3.2 a second); see results')"
    shown = gallery.Shown(page, 1, "python", code, ("text",))
    assert gallery.run(shown, tmp_path) == "vlmad: 6 images scored, in …; see results"


def test_a_command_that_fails_stops_the_gallery(gallery, tmp_path):
    shown = gallery.Shown(gallery.DOCS / "page.md", 1, "sh", "vlmad predict nothing-there.jpg\n", ("text",))
    with pytest.raises(RuntimeError, match="nothing-there"):
        gallery.run(shown, tmp_path)
