"""`vlmad watch` with a real detector: the tiny one of the tests, saved and loaded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from vlmad_core import Pipeline, build
from vlmad_core.cli import detector as cli_detector
from vlmad_core.testing import memory_registry, tiny_backbone
from vlmad_watch import command
from vlmad_watch.journal import Journal

MEMORY = {"backbone": "tiny", "extractor": {"use": "patches", "config": {"space": "raw"}}, "scorers": ["memory"]}


def draw(folder: Path, count: int, seed: int, *, defect: bool = False) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(count):
        pixels = np.clip(128 + rng.normal(0, 8, (32, 32, 3)), 0, 255).astype(np.uint8)
        if defect:
            pixels[8:24, 8:24] = (255, 0, 0)
        Image.fromarray(pixels).save(folder / f"{folder.name}-{i:02}.png")
    return folder


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """Whatever folder is named, this one is taken."""
    made = build(MEMORY, backbone=tiny_backbone(), registry=memory_registry())
    made.fit(draw(tmp_path / "good", 20, 0), "noise", calibrate=True)
    monkeypatch.setattr(command, "build", lambda choice, tell: cli_detector.Detector(made))
    return made


def watch(*arguments: object) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command.watch_command)
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.output + (str(done.exception) if done.exception else "")


def test_a_folder_gets_verdicts_moves_and_a_state_of_drift(detector: Pipeline, tmp_path: Path):
    parts = draw(tmp_path / "parts", 4, 1)
    for path in draw(tmp_path / "bad", 2, 2, defect=True).iterdir():
        path.rename(parts / path.name)
    (parts / "broken.png").write_bytes(b"\x89PNG no image")
    arguments = [parts, "-d", "nut.vlmad", "--move", parts / "done", "--settle", 0, "--give-up", 0, "--idle", 0]
    code, text = watch(*arguments, "--false-alarms", "0.1")
    assert code == 0, text
    places = {path.name: path.parent.name for path in (parts / "done").rglob("*.png")}
    assert len(places) == 7 and places["broken.png"] == "error"
    assert {places["bad-00.png"], places["bad-01.png"]} == {"reject"}
    with Journal(parts / ".vlmad-watch" / "journal.sqlite", _about(parts)) as journal:
        rows = {row.path.name: row for row in journal.rows()}
    assert rows["bad-00.png"].scored.result["regions"] and rows["broken.png"].scored.result["error"]
    state = json.loads((parts / ".vlmad-watch" / "drift.json").read_text())["state"]
    assert state["n_images"] == 6
    code, text = watch(*arguments, "--false-alarms", "0.2")
    assert code == 1 and "of another detector, calibration or rate" in text


def _about(folder: Path) -> str:
    import sqlite3

    database = sqlite3.connect(folder / ".vlmad-watch" / "journal.sqlite")
    (about,) = database.execute("SELECT value FROM about").fetchone()
    database.close()
    return str(about)


def test_what_does_not_go_together_is_refused(detector: Pipeline, tmp_path: Path):
    parts = draw(tmp_path / "parts", 1, 1)
    for arguments, expected in (
        ([parts, "--move", tmp_path / "a", "--mark"], "exclude each other"),
        ([tmp_path / "none.mp4"], "needs --out"),
        ([tmp_path / "none.mp4", "--out", tmp_path / "o"], "no such folder or file"),
        ([tmp_path / "good", "--false-alarms", "0.01", "--idle", "0"], "needs 99 independent normal images"),
    ):
        code, text = watch(*arguments, "-d", "nut.vlmad")
        assert code != 0 and expected in " ".join(text.replace("│", " ").split()), text


def test_a_video_is_scored_with_the_thresholds_of_the_calibration(detector: Pipeline, tmp_path: Path):
    import av

    rng = np.random.default_rng(3)
    with av.open(str(tmp_path / "line.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(12):
            pixels = np.clip(128 + rng.normal(0, 8, (32, 32, 3)), 0, 255).astype(np.uint8)
            if number >= 6:
                pixels[8:24, 8:24] = (255, 0, 0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    code, text = watch(tmp_path / "line.mp4", "-d", "nut.vlmad", "-o", tmp_path / "out", "--false-alarms", "0.1")
    assert code == 0 and "12 frames scored" in text, text
    events = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    assert "alarm begins" in [event["event"] for event in events] and events[-1]["verdict"] == "reject"
    assert (tmp_path / "out" / "annotated.mp4").stat().st_size > 500
