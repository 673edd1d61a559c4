"""From a detector to the page, to a person's labels, to the detector again."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import numpy as np
import quickjs
from PIL import Image

from vlmad_core import build
from vlmad_core.inspection.feedback import read_feedback
from vlmad_core.pipeline import apply_feedback
from vlmad_core.run import run
from vlmad_core.run.results import read_results
from vlmad_core.run.verdicts import make_decision
from vlmad_core.testing import memory_registry, tiny_backbone
from vlmad_report.report import write_report

MEMORY = {"backbone": "tiny", "extractor": {"use": "patches", "config": {"space": "raw"}}, "scorers": ["memory"]}
STAND_INS = """
const GIVEN = JSON.parse(given), VERDICTS = [];
const $ = (id) => ({ textContent: GIVEN.blocks[id] });
const fileName = (path) => path;
const state = { threshold: 0.5, review: null };
"""
"""What the scripts of the page need of a browser."""
RELABEL = """
const label = (row, choice) => Rule.label(row.score, choice.threshold, choice.review_threshold);
JSON.stringify(CALIBRATION.choices.map((choice) => [
  choice.rate, ROWS.map((row) => [row.file.split("/").pop(), label(row, choice)])
]))
"""
"""Every label after the threshold was moved to each rate."""
LABEL = """
for (const row of ROWS) {
  const [label, comment] = GIVEN.labels[row.file.split("/").pop()] || [];
  if (label || comment) Feedback.entries.set(row.path, { label, comment, verdict: row.label, score: row.score });
}
JSON.stringify(Feedback.document())
"""


def draw(folder: Path, count: int, seed: int, *, defect: bool = False) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for i in range(count):
        pixels = np.clip(128 + rng.normal(0, 8, (32, 32, 3)), 0, 255).astype(np.uint8)
        if defect:
            pixels[8:24, 8:24] = (255, 0, 0)
        Image.fromarray(pixels).save(folder / f"{folder.name}-{i:02}.png")
    return folder


class Blocks(HTMLParser):
    """The data blocks of a page, by their id."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._id = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self._id = dict(attributes).get("id") or "" if tag == "script" else ""

    def handle_data(self, data):
        if self._id:
            self.found[self._id] = self.found.get(self._id, "") + data

    def handle_endtag(self, tag):
        self._id = ""


def evaluate(page: Path, script: str, labels: dict[str, tuple[str, str]] | None = None) -> str:
    """Run the scripts of the page on its own data, then this one."""
    folder = files("vlmad_report") / "page"
    scripts = [(folder / f"{name}.js").read_text("utf-8") for name in ("data", "rule", "feedback")]
    context = quickjs.Context()
    context.set("given", json.dumps({"blocks": Blocks(page.read_text("utf-8")).found, "labels": labels or {}}))
    return context.eval("".join([STAND_INS, *scripts, script]))


def test_labels_of_the_page_reach_the_detector(tmp_path: Path):
    detector = build(MEMORY, backbone=tiny_backbone(), registry=memory_registry())
    detector.fit(draw(tmp_path / "good", 20, 0), "noise", calibrate=True)
    parts, bad = draw(tmp_path / "parts", 3, 1), draw(tmp_path / "bad", 2, 2, defect=True)
    run(detector, [parts, bad], tmp_path / "out", overlays=False)
    page = write_report(tmp_path / "out").page
    (tmp_path / "feedback.json").write_text(
        evaluate(
            page,
            LABEL,
            {
                "parts-00.png": ("good", ""),
                "parts-01.png": ("", "is this dust?"),
                "parts-02.png": ("other part", ""),
                "bad-01.png": ("defect", "a scratch"),
            },
        )
    )
    hashes = {Path(result.path).name: result.sha256 for result in read_results(tmp_path / "out")}
    found = {Path(image.path).name: image for image in read_feedback(tmp_path / "feedback.json").images}
    assert {name: image.label for name, image in found.items()} == {
        "parts-00.png": "good",
        "parts-02.png": "other part",
        "bad-01.png": "defect",
    }
    assert all(image.sha256 == hashes[name] for name, image in found.items())
    report = apply_feedback(detector, tmp_path / "feedback.json")
    assert [Path(name).name for name in (*report.joined, *report.defects)] == ["parts-00.png", "bad-01.png"]
    assert report.n_unchanged == 2 and len(detector.calibration.references) == 21


def test_a_moved_threshold_gives_the_labels_of_python_and_of_a_run_at_that_rate(tmp_path: Path):
    detector = build(MEMORY, backbone=tiny_backbone(), registry=memory_registry())
    detector.fit(draw(tmp_path / "good", 40, 0), "noise", calibrate=True)
    parts, bad = draw(tmp_path / "parts", 40, 1), draw(tmp_path / "bad", 2, 2, defect=True)
    run(detector, [parts, bad], tmp_path / "out", overlays=False, decision=make_decision(detector, 0.05))
    page = write_report(tmp_path / "out").page
    moved = {rate: dict(labels) for rate, labels in json.loads(evaluate(page, RELABEL))}
    assert {0.05, 0.1, 0.2} <= set(moved)
    for rate, labels in moved.items():
        out = tmp_path / f"at {rate}"
        run(detector, [parts, bad], out, overlays=False, maps="none", decision=make_decision(detector, rate))
        results = {Path(result.path).name: result for result in read_results(out)}
        python = {name: detector.verdict(detector.predict(result.path), rate) for name, result in results.items()}
        assert {name: result.verdict for name, result in results.items()} == labels
        assert {name: verdict.label for name, verdict in python.items()} == labels
    assert len({tuple(labels.values()) for labels in moved.values()}) > 1
