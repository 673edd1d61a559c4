from __future__ import annotations

import json
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vlmad_core.errors import ConfigError, VlmadError
from vlmad_report import report as module
from vlmad_report.page import folders_of
from vlmad_report.report import write_report

HOSTILE = '"><script>alert(1)</script>\n\u2028</script><!--<script>&\x07'
NOT_UTF_8 = b"\xff\xfe.png".decode("utf-8", "surrogateescape")


class Page(HTMLParser):
    """Collects scripts, data blocks and everything that a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[dict[str, str | None]] = []
        self.blocks: dict[str, str] = {}
        self.fetched: list[str] = []
        self._block = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "script":
            self.scripts.append(found)
            self._block = found.get("id") or ""
        self.fetched += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "action")]

    def handle_endtag(self, tag):
        self._block = "" if tag == "script" else self._block

    def handle_data(self, data):
        if self._block:
            self.blocks[self._block] = self.blocks.get(self._block, "") + data


def read_page(report) -> Page:
    return Page(report.page.read_bytes().decode("utf-8"))


def test_a_report_has_every_image_with_its_pictures_beside_it(make_run):
    report = write_report(make_run(5))
    assert report.page.name == "report.html" and report.n_images == 5 and report.notes == ()
    rows = json.loads(read_page(report).blocks["data"])["rows"]
    for row in rows:
        assert row[8] == ["photo", "thumb", "heat"]
        for kind, suffix in (("photo", "jpg"), ("thumb", "jpg"), ("heat", "webp")):
            assert (report.page.parent / "report-files" / kind / f"{row[7]}.{suffix}").stat().st_size > 100


def test_a_page_asks_for_nothing(make_run):
    page = read_page(write_report(make_run(2)))
    assert page.fetched == []
    sources = [path.read_text() for path in (Path(module.__file__).parent / "page").iterdir()]
    asking = re.compile(r"https?://(?!www\.w3\.org/2000/svg)|@import|fetch\(|XMLHttpRequest|WebSocket")
    assert len(sources) > 10 and not any(asking.search(source) for source in sources)


def test_embedded_pictures_make_one_file(make_run, tmp_path):
    report = write_report(make_run(2), tmp_path / "elsewhere" / "one.html", embed=True)
    page = read_page(report)
    assert sum(name.startswith("file-photo/") for name in page.blocks) == 2
    assert {path.name for path in report.page.parent.iterdir()} == {".vlmad-output", "one.html"}


def test_too_much_to_embed_is_refused_with_what_to_do(make_run, monkeypatch):
    monkeypatch.setattr(module, "_LARGEST", 1000)
    with pytest.raises(ConfigError, match="Leave out --embed"):
        write_report(make_run(4), embed=True)


def test_no_name_becomes_markup(tmp_path, write_run):
    row = {
        "path": f"/parts/{HOSTILE}/{HOSTILE}.png",
        "score": 0.5,
        "error": None,
        "reasons": [HOSTILE, {"label": HOSTILE, "value": 1}],
        "nearest_normal": {"path": HOSTILE},
    }
    settings = {"class_name": HOSTILE, "plugins": {HOSTILE: HOSTILE}}
    report = write_report(write_run(tmp_path / "run", [row, {"path": NOT_UTF_8, "error": HOSTILE}], settings=settings))
    page = read_page(report)
    # One script that runs, and data that does not; the parser found no other.
    assert [found.get("type") for found in page.scripts] == ["application/json", "application/json", None]
    assert all("on" + event not in report.page.read_text() for event in ("error=", "load="))
    data = json.loads(page.blocks["data"])
    assert [row[0] for row in data["rows"]] == [row["path"], NOT_UTF_8]
    assert data["about"]["class_name"] == HOSTILE
    assert json.loads(page.blocks["details-0"])[0]["reasons"] == [[HOSTILE, None], [HOSTILE, 1]]


@pytest.mark.skipif(sys.platform == "darwin", reason="this file system refuses names that are not UTF-8")
def test_a_folder_whose_name_is_not_utf_8_gets_a_report(make_run, tmp_path):
    report = write_report(make_run(1), tmp_path / os.fsdecode(b"\xff") / os.fsdecode(b"\xfe.html"))
    folder = json.loads(read_page(report).blocks["data"])["folder"]
    assert folder == "%FE-files"
    assert (report.page.parent / os.fsdecode(b"\xfe-files")).is_dir()


def test_an_image_that_is_gone_is_shown_by_its_overlay_and_counted(tmp_path, write_run, write_image):
    write_image(tmp_path / "run" / "overlays" / "a.png", size=(400, 300))
    rows = [{"path": "gone/a.png", "score": 0.5, "overlay": "overlays/a.png"}, {"path": "gone/b.png", "score": 0.5}]
    report = write_report(write_run(tmp_path / "run", rows))
    assert report.notes == ("The image is not there or cannot be read: 2 images.",)
    assert [row[8] for row in json.loads(read_page(report).blocks["data"])["rows"]] == [["photo", "thumb"], []]


def test_images_that_have_moved_are_found(tmp_path, write_run, write_image):
    write_image(tmp_path / "new" / "parts" / "a.png")
    run = write_run(tmp_path / "run", [{"path": "parts/a.png", "score": 0.5}], started_in="/no/such/folder")
    assert write_report(run).notes
    assert not write_report(run, images=tmp_path / "new").notes


def test_verdicts_that_do_not_follow_from_the_scores_are_reported(tmp_path, calibration_record, write_run, write_image):
    write_image(tmp_path / "a.png")
    record = calibration_record([i / 20 for i in range(20)], false_alarms=0.1)
    row = {"path": str(tmp_path / "a.png"), "score": 5.0, "verdict": "pass"}
    report = write_report(write_run(tmp_path / "run", [row], calibration=record))
    assert report.notes[0].startswith("1 verdicts do not follow")


def test_a_second_report_removes_pictures_of_the_first_that_it_does_not_use_and_nothing_else(make_run):
    folder = make_run(3)
    write_report(folder)
    own = folder / "report-files" / "photo" / "of-a-person.jpg"
    own.write_bytes(b"kept")
    lines = (folder / "results.jsonl").read_text().splitlines(keepends=True)
    (folder / "results.jsonl").write_text(lines[0])
    write_report(folder)
    assert len(list((folder / "report-files" / "photo").iterdir())) == 2
    assert own.read_bytes() == b"kept"


def test_an_index_that_names_files_elsewhere_removes_nothing(make_run, tmp_path):
    folder = make_run(1)
    precious = tmp_path / "precious.txt"
    precious.write_text("kept")
    write_report(folder)
    (folder / "report-files" / "files.json").write_text(json.dumps(["../../precious.txt", str(precious)]))
    write_report(folder)
    assert precious.read_text() == "kept"


def test_a_page_that_cannot_be_written_is_an_error_in_a_sentence(make_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(VlmadError, match="cannot be written"):
        write_report(make_run(1), tmp_path / "file" / "report.html")
    with pytest.raises(ConfigError, match="is a folder"):
        write_report(make_run(1), tmp_path)


def test_the_id_is_the_same_for_the_same_images_and_scores(make_run):
    folder = make_run(3)
    ids = [json.loads(read_page(write_report(folder, embed=embed)).blocks["data"])["about"]["id"] for embed in (0, 1)]
    assert ids[0] == ids[1]


def test_folders_are_as_short_as_they_can_be():
    assert folders_of(["/d/parts/good/1.png", "/d/parts/bad/2.png"]) == ["good", "bad"]
    assert folders_of(["/d/parts/1.png", "/d/parts/bad/2.png"]) == [".", "bad"]
    assert folders_of(["/d/1.png", "e/2.png"]) == ["/d", "e"]
    assert folders_of(["1.png"]) == ["."]


def test_the_command_is_found_and_writes_the_page(make_run):
    from vlmad_core.cli.__main__ import app

    folder = make_run(2)
    result = CliRunner().invoke(app, ["report", str(folder), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["verdicts"] == {"pass": 1, "review": 1}
    assert (folder / "report.html").exists()
