"""Tables come from result files: each has a place, each file a line, and parity is that of the recorded arrays."""

import json
import re
from pathlib import Path

import pytest
from tiny_clip import FOLDER, check, recorded

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"


@pytest.fixture
def tables(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    import build_tables

    return build_tables


def test_each_table_stands_on_a_page(tables):
    marks = [re.findall(r"<!-- table: (.+?) -->", text) for text in tables.pages().values()]
    assert {name for names in marks for name in names} == set(tables.TABLES)


def test_a_table_that_does_not_exist_is_refused(tables, tmp_path, monkeypatch):
    page = tmp_path / "methods" / "page.md"
    page.parent.mkdir()
    page.write_text("<!-- table: nobody -->\n<!-- end -->\n")
    monkeypatch.setattr(tables, "DOCS", tmp_path)
    with pytest.raises(ValueError, match="There is no table 'nobody'; there are before and now"):
        tables.pages()


def test_each_result_file_is_described_and_holds_sets_not_images():
    said = (RESULTS / "README.md").read_text(encoding="utf-8")
    files = sorted(path for path in RESULTS.iterdir() if path.suffix in {".json", ".jsonl"})
    assert [path.name for path in files if f"[{path.name}]({path.name})" not in said] == []
    for path in files:
        assert not re.search(r'"(path|image|scores)"|"/', path.read_text(encoding="utf-8")), path
    for path in RESULTS.glob("*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            assert "set" in row and {"auroc", "alpha"} & set(row), path  # accuracy, or a rate of false alarms


def test_what_was_measured_is_within_the_tolerance_of_what_was_recorded(tables):
    for name, entry in tables.measured().items():
        file, array = name.split("/")
        about = json.loads((FOLDER / f"{file}.json").read_text(encoding="utf-8"))["arrays"][array]
        assert entry["atol"] == about.get("atol", 0.0), name
        assert 0 <= entry["difference"] <= entry["atol"], name


def test_each_measured_array_has_a_row_and_no_table_counts_one_twice(tables):
    rows = {table: [name for names in tables.taken(table).values() for name in names] for table in tables.STAGES}
    assert set(tables.measured()) == {name for names in rows.values() for name in names}
    for table, names in rows.items():
        assert len(names) == len(set(names)), table
        assert all(tables.taken(table).values()), table


def test_a_comparison_notes_its_difference_where_it_is_asked_to(tmp_path, monkeypatch):
    log = tmp_path / "log.jsonl"
    expected, atol = recorded("april_gan", "zero.map")
    check(expected, "april_gan", "zero.map")
    assert not log.exists()
    monkeypatch.setenv("VLMAD_PARITY_LOG", str(log))
    check(expected + atol / 2, "april_gan", "zero.map")
    with pytest.raises(AssertionError):
        check(expected + atol * 2, "april_gan", "zero.map")
    file, name, difference, allowed = json.loads(log.read_text())
    assert (file, name, allowed) == ("april_gan", "zero.map", atol)
    assert difference == pytest.approx(atol / 2, rel=0.02)
