"""Manifests: what a row may say, and a sentence with the line for each that says something else."""

from __future__ import annotations

import json

import pytest

from vlmad_core import read_dataset
from vlmad_core.errors import ConfigError
from vlmad_core.testing import memory_registry

REGISTRY = memory_registry()


def read(path, text, **config):
    path.write_text(text, encoding="utf-8")
    return read_dataset(path, registry=REGISTRY, config=config)


def test_a_row_with_everything(tmp_path):
    table = "image,label,category,split,kind,mask\nsub/a b.png,Defective,cap,val,dent,m/1.png; m/2.png\n"
    (sample,) = read(tmp_path / "list.csv", table)
    assert sample.image == tmp_path / "sub/a b.png"
    assert (sample.label, sample.category, sample.split, sample.kind) == (True, "cap", "validation", "dent")
    assert sample.masks == (tmp_path / "m/1.png", tmp_path / "m/2.png")


def test_a_row_with_an_image_alone(tmp_path):
    (sample,) = read(tmp_path / "caps.csv", "image\na.png\n")
    assert (sample.label, sample.category, sample.split, sample.kind) == (None, "caps", "test", "")
    assert sample.masks == ()
    (sample,) = read(tmp_path / "caps.csv", "image\na.png\n", category="bottle cap")
    assert sample.category == "bottle cap"


@pytest.mark.parametrize(
    ("written", "meant"),
    [("good", False), ("OK", False), ("0", False), ("anomaly", True), ("1", True), ("true", True), ("", None)],
)
def test_labels_in_the_words_of_the_field(tmp_path, written, meant):
    (sample,) = read(tmp_path / "a.csv", f"image,label\na.png,{written}\n")
    assert sample.label is meant
    assert sample.kind == {True: "defective", False: "good", None: ""}[meant]


def test_json_lines(tmp_path):
    rows = [
        {"image": "a.png", "label": True, "mask": ["1.png", "2.png"], "split": "train"},
        {"image": "b.png", "label": 0, "mask": None, "category": None},
        {"image": str(tmp_path / "far/c.png")},
    ]
    first, second, third = read(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, rows)))
    assert (first.label, first.split, len(first.masks)) == (True, "train", 2)
    assert (second.label, second.category, second.masks) == (False, "a", ())
    assert third.image == tmp_path / "far/c.png"


def test_a_table_from_a_spreadsheet(tmp_path):
    """A byte order mark, CRLF, and blanks after the commas."""
    path = tmp_path / "a.csv"
    path.write_bytes("\ufeffimage, label\r\na.png, good\r\n".encode())
    (sample,) = read_dataset(path, registry=REGISTRY)
    assert sample.label is False


def test_in_a_folder(tmp_path):
    (tmp_path / "manifest.jsonl").write_text('{"image": "a.png"}\n')
    dataset = read_dataset(tmp_path, registry=REGISTRY)
    assert dataset.samples[0].image == tmp_path / "a.png"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("image,lable\na.png,good\n", "line 2: no such column 'lable'. Did you mean 'label'?"),
        ("picture\na.png\n", "the first line must name the columns, 'image' among them"),
        ("", "the first line must name the columns"),
        ("image,label\n", "has no rows."),
        ("image,label\n,good\n", "line 2: image must be a path, got ''."),
        ("image,label\na.png,good\nb.png,maybe\n", "line 3: label must be good or defective, or empty; got 'maybe'."),
        ("image,split\na.png,dev\n", "line 2: split must be train, validation or test; got 'dev'."),
        ("image,label\na.png,good,cap\n", "line 2: has more cells than the header."),
    ],
)
def test_what_a_table_may_not_say(tmp_path, table, words):
    with pytest.raises(ConfigError) as refused:
        read(tmp_path / "a.csv", table)
    assert words in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 1: is not JSON"),
        ('["a.png"]', "line 1: must be an object"),
        ('{"image": 3}', "line 1: image must be a path, got 3."),
        ('{"image": "a.png", "mask": [1]}', "line 1: mask must be a path or a list of paths, got [1]."),
    ],
)
def test_what_a_line_may_not_say(tmp_path, line, words):
    with pytest.raises(ConfigError) as refused:
        read(tmp_path / "a.jsonl", line)
    assert words in str(refused.value)


def test_a_table_that_is_no_text(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"image\n\xff\xfe\n")
    with pytest.raises(ConfigError, match="is not text in UTF-8 or UTF-16"):
        read_dataset(path, registry=REGISTRY)


def test_an_image_that_two_rows_name_is_a_problem(tmp_path):
    path = tmp_path / "caps.csv"
    table = "image,label,category\na.png,good,x\nb.png,good,x\n./a.png,good,x\na.png,good,y\nb.png,bad,x\n"
    (problem,) = read(path, table).problems
    assert problem == (
        f"{path}, line 4: names {tmp_path / 'a.png'}, as line 2 does (2 such rows in all); remove one of them, or it "
        "counts twice."
    )
    assert read(path, "image\na.png\nb.png\n").problems == ()
