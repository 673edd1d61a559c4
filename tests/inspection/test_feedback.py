"""The document that the page of a report exports is read strictly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.feedback import Feedback, FeedbackImage, read_feedback

HASH = "ab" * 32


def entry(path: str = "parts/a.png", label: str | None = "good", sha256: str | None = HASH, **more: object) -> dict:
    return {"path": path, "sha256": sha256, "score": 0.4, "verdict": "reject", "label": label, "comment": "", **more}


def write(folder: Path, images: object, **more: object) -> Path:
    path = folder / "feedback.json"
    path.write_text(json.dumps({"format": "vlmad-feedback", "version": 1, "images": images, **more}))
    return path


def test_labels_are_read_and_comments_alone_are_counted(tmp_path: Path):
    path = write(tmp_path, [entry(), entry("b.png", None, comment="dust?"), entry("c.png", "defect", "cd" * 32)])
    assert read_feedback(path) == Feedback(
        (FeedbackImage("parts/a.png", HASH, "good", "reject"), FeedbackImage("c.png", "cd" * 32, "defect", "reject")), 1
    )


def test_a_copy_with_the_same_label_counts_once(tmp_path: Path):
    assert len(read_feedback(write(tmp_path, [entry("a.png"), entry("copy.png")])).images) == 1


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ([], "gives no image a label"),
        ([entry(label=None)], "gives no image a label"),
        ({}, "has no list 'images'"),
        ([entry(label="bad")], "label must be good, defect, other part or null, not 'bad'"),
        ([entry(sha256=None)], "'parts/a.png'.*has no content hash"),
        ([entry(sha256="xyz")], "64 hexadecimal digits"),
        ([entry(sha256=7)], "64 hexadecimal digits"),
        (["a.png"], "image 1: must be an object with a 'path'"),
        ([{"label": "good"}], "must be an object with a 'path'"),
        ([entry("a.png"), entry("b.png", "defect")], "'a.png' is labelled 'good' and 'b.png'.*'defect'"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_image(tmp_path: Path, images: object, expected: str):
    with pytest.raises(ConfigError, match=expected):
        read_feedback(write(tmp_path, images))


def test_another_file_is_refused(tmp_path: Path):
    path = write(tmp_path, [entry()])
    whole = path.read_text()
    for text, expected in (
        (whole[: len(whole) // 2], "is not JSON"),
        ("", "is not JSON"),
        ("[1]", "is not feedback of vlmad"),
        ('{"format": "coco"}', "is not feedback of vlmad"),
        (whole.replace('"version": 1', '"version": 2'), "has version 2"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=expected):
            read_feedback(path)
    with pytest.raises(ConfigError, match="no such file"):
        read_feedback(tmp_path / "none.json")
