from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vlmad_core import Pipeline, build, load
from vlmad_core.errors import ConfigError, ImageError
from vlmad_core.inspection.feedback import Feedback, FeedbackImage
from vlmad_core.pipeline import apply_feedback
from vlmad_core.pipeline.former import former_folder, keep_former, restore_former
from vlmad_core.testing import memory_registry, tiny_backbone

REGISTRY = memory_registry()
MEMORY = {"backbone": "tiny", "extractor": {"use": "patches", "config": {"space": "raw"}}, "scorers": ["memory"]}
TEXT = {"backbone": "tiny", "extractor": "patches", "prompts": "templates", "scorers": ["text-match"]}


def draw(folder: Path, count: int, seed: int, *, defect: bool = False) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    paths = []
    for i in range(count):
        pixels = np.clip(128 + rng.normal(0, 8, (32, 32, 3)), 0, 255).astype(np.uint8)
        if defect:
            pixels[8:24, 8:24] = (255, 0, 0)
        paths.append(folder / f"{folder.name}-{i:02}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def make(spec: dict = MEMORY) -> Pipeline:
    return build(spec, backbone=tiny_backbone(), registry=REGISTRY)


def says(*labelled: tuple[Path, str]) -> Feedback:
    return Feedback(
        tuple(
            FeedbackImage(str(path), hashlib.sha256(path.read_bytes()).hexdigest(), label)  # type: ignore[arg-type]
            for path, label in labelled
        )
    )


@pytest.fixture
def good(tmp_path: Path) -> list[Path]:
    return draw(tmp_path / "good", 20, 0)


@pytest.fixture
def more(tmp_path: Path) -> list[Path]:
    return draw(tmp_path / "more", 6, 1)


@pytest.fixture
def bad(tmp_path: Path) -> list[Path]:
    return draw(tmp_path / "bad", 3, 2, defect=True)


def same_tensors(one: Pipeline, other: Pipeline) -> bool:
    mine, yours = one.state_dict(), other.state_dict()
    return all(torch.equal(mine[name], yours[name]) for name in mine if name != "normal_range")


def scores(images: tuple) -> dict[str, float]:
    return {Path(image.name).name: image.score for image in images}


def test_good_images_join_memory_and_calibration_as_if_they_had_been_there_from_the_start(good, more):
    detector = make().fit(good, "noise", calibrate=True, batch_size=1)
    report = apply_feedback(detector, says(*((path, "good") for path in more)), batch_size=1)
    expected = make().fit([*good, *more], "noise", calibrate=True, batch_size=1)
    assert same_tensors(detector, expected) and detector.normals == expected.normals
    assert scores(detector.calibration.references) == scores(expected.calibration.references)
    assert report.is_refitted and len(report.joined) == 6 and detector.calibration.folds == 26


def test_a_wrong_normal_is_forgotten_and_becomes_a_known_defect(good, bad):
    detector = make().fit([*good, bad[0]], "noise", calibrate=True, batch_size=1)
    score_before = detector.predict(bad[1]).score
    report = apply_feedback(detector, says((bad[0], "defect"), (bad[1], "defect")), batch_size=1)
    assert same_tensors(detector, make().fit(good, "noise", batch_size=1))
    assert [Path(name).name for name in report.forgotten] == ["bad-00.png"]
    assert detector.predict(bad[1]).score > score_before
    assert scores(detector.calibration.defects) == {
        path.name: pytest.approx(detector.predict(path).score) for path in bad[:2]
    }
    assert (report.after.n_good, report.after.n_defects, report.after.n_missed) == (20, 2, 0)


def test_errors_before_and_after_are_counted_on_the_same_images(good, bad, more):
    detector = make().fit([*good, bad[0]], "noise", calibrate=True, batch_size=1)
    threshold = detector.decision_rule().threshold
    report = apply_feedback(detector, says(*((p, "defect") for p in bad), *((p, "good") for p in more)), batch_size=1)
    assert report.before.threshold == threshold and report.before.n_good == report.after.n_good == 26
    assert (report.before.n_defects, report.after.n_defects) == (3, 3)
    assert report.before.n_missed > report.after.n_missed == 0  # the wrong normal had hidden the others


def test_held_out_normals_are_scored_again_by_the_new_memory(good, more, bad, tmp_path: Path):
    held = draw(tmp_path / "held", 19, 7)
    detector = make().fit(good, "noise", calibrate=True, batch_size=1).calibrate(held, defects=bad[:1], batch_size=1)
    apply_feedback(detector, says((more[0], "good")), batch_size=1)
    expected = make().fit([*good, more[0]], "noise", calibrate=True, batch_size=1)
    expected.calibrate(held, defects=bad[:1], batch_size=1)
    assert scores(detector.calibration.held_out) == scores(expected.calibration.held_out)
    assert scores(detector.calibration.defects) == scores(expected.calibration.defects)
    rule = detector.decision_rule(0.05)
    assert rule.source == "held-out" and rule.n_chosen == 0 and rule.bound == 0.05  # what was held out stays proved


def test_of_a_text_detector_only_the_calibration_changes(good, more, bad):
    detector = make(TEXT)
    detector.class_name = "noise"
    detector.calibrate([*good, bad[0]], batch_size=1)
    plain, fingerprint = detector.predict(more[0]).score, detector.fingerprint()
    report = apply_feedback(detector, says((more[0], "good"), (bad[0], "defect"), (bad[1], "defect")), batch_size=1)
    assert detector.predict(more[0]).score == plain and detector.fingerprint() == fingerprint
    assert set(scores(detector.calibration.held_out)) == {path.name for path in [*good, more[0]]}
    assert set(scores(detector.calibration.defects)) == {"bad-00.png", "bad-01.png"}
    assert len(detector.stored_calibration.tokens["held_out"]) == 21 and not report.is_refitted


def test_an_uncalibrated_text_detector_is_calibrated_by_feedback(good):
    detector = make(TEXT)
    detector.class_name = "noise"
    report = apply_feedback(detector, says(*((path, "good") for path in good)))
    assert report.before.threshold is None and "no calibration" in report.before.about
    assert len(detector.calibration.held_out) == 20


def test_images_chosen_by_a_person_carry_no_proof(good, more):
    detector = make().fit(good, "noise", calibrate=True, batch_size=1)
    assert detector.decision_rule(0.1).bound == 0.2
    report = apply_feedback(detector, says((more[0], "good")), false_alarms=0.1, batch_size=1)
    rule = detector.decision_rule(0.1)
    assert rule.bound is None and "nothing is proved, since 1 of the 21" in rule.promise == report.after.about
    assert any("chosen after their verdicts" in note for note in report.notes)
    apply_feedback(detector, says((more[1], "good")), batch_size=1)
    assert detector.decision_rule(0.1).n_chosen == 2


def test_a_corrected_label_moves_an_image_back(good, bad):
    detector = make(TEXT)
    detector.class_name = "noise"
    detector.calibrate(good, defects=bad, batch_size=1)
    report = apply_feedback(detector, says((bad[0], "good"), (bad[1], "other part"), (good[0], "other part")))
    assert bad[0].name in scores(detector.calibration.held_out) and good[0].name in report.forgotten[0]
    assert set(scores(detector.calibration.defects)) == {"bad-02.png"} and report.n_unchanged == 0


def test_labels_that_are_known_change_nothing(good, bad):
    detector = make().fit(good, "noise", calibrate=True).calibrate(bad[2:], defects=bad[:2])
    before = detector.calibration
    report = apply_feedback(detector, says((good[0], "good"), (bad[0], "defect")))
    assert report.n_unchanged == 2 and not report.is_refitted
    assert scores(detector.calibration.references) == scores(before.references)


def test_an_image_is_known_by_content_where_it_has_moved(good, more, tmp_path: Path):
    detector = make().fit(good, "noise", calibrate=True)
    feedback = says((more[0], "good"))
    with pytest.raises(ImageError, match=r"1 image not found: .*more-00.*--images"):
        more[0].rename(tmp_path / "moved.png")
        apply_feedback(detector, feedback)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "moved.png").rename(tmp_path / "elsewhere" / more[0].name)
    assert apply_feedback(detector, feedback, images=tmp_path / "elsewhere").joined


@pytest.mark.parametrize("which", ["labelled", "remembered"])
def test_a_replaced_image_is_refused_by_name_and_nothing_changes(good, more, which):
    detector = make().fit(good, "noise", calibrate=True)
    feedback = says((more[0], "good"))
    path = more[0] if which == "labelled" else good[7]
    Image.new("RGB", (32, 32)).save(path)
    before, calibration = detector.scorers, detector.stored_calibration
    with pytest.raises(ImageError, match=f"1 image replaced since it was scored.*{path.name}"):
        apply_feedback(detector, feedback)
    assert detector.scorers is before and detector.stored_calibration is calibration


def test_an_error_half_way_leaves_the_detector_as_it_was(good, more, monkeypatch):
    detector = make().fit(good, "noise", calibrate=True)
    before, score = detector.stored_calibration, detector.predict(more[0]).score

    def fails(*_: object, **__: object) -> None:
        raise ConfigError("a full disk")

    monkeypatch.setattr("vlmad_core.pipeline.feedback.add_held_out", fails)
    with pytest.raises(ConfigError, match="a full disk"):
        apply_feedback(detector, says((more[0], "good")))
    assert detector.stored_calibration is before and detector.predict(more[0]).score == score
    assert detector.verdict(detector.predict(more[0])).label != "uncalibrated"


def test_what_cannot_be_done_is_refused(good, more):
    with pytest.raises(ConfigError, match="nothing says which images it remembers"):
        apply_feedback(make().fit(good, "noise"), says((more[0], "good")))
    two = make().fit(good[:2], "noise", calibrate=True)
    with pytest.raises(ConfigError, match="forget all 2 normal images"):
        apply_feedback(two, says((good[0], "defect"), (good[1], "defect")))
    assert len(two.calibration.references) == 2
    stale = make().fit(good, "noise", calibrate=True)
    stale.class_name = "bolt"
    with pytest.raises(ConfigError, match="belongs to another detector"):
        apply_feedback(stale, says((more[0], "good")))


def test_one_reference_that_is_left_is_said(good):
    detector = make().fit(good[:2], "noise", calibrate=True)
    report = apply_feedback(detector, says((good[0], "defect")))
    assert report.after.threshold is None and any("one remembered image is left" in note for note in report.notes)


def test_the_former_version_comes_back_and_the_newer_one_is_not_lost(good, more, tmp_path: Path):
    folder = tmp_path / "nut.vlmad"
    detector = make().fit(good, "noise", calibrate=True, batch_size=1)
    detector.save(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert keep_former(folder) == former_folder(folder)
    apply_feedback(detector, says((more[0], "good")), batch_size=1)
    detector.save(folder)
    newer = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert newer != files
    for expected, other in ((files, newer), (newer, files)):
        restore_former(folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == expected
        assert {path.name: path.read_bytes() for path in former_folder(folder).iterdir()} == other
        again = load(folder, backbone=tiny_backbone(), registry=REGISTRY)
        assert again.decision_rule(0.1).threshold > 0
    assert not (tmp_path / "nut.vlmad.newer").exists()


def test_an_undo_that_is_interrupted_loses_neither_version(good, more, tmp_path: Path, monkeypatch):
    folder = tmp_path / "nut.vlmad"
    make().fit(good, "noise", calibrate=True).save(folder)
    keep_former(folder)
    make().fit(more, "noise", calibrate=True).save(folder)
    old, new = ({path.name for path in where.glob("state-*")} for where in (former_folder(folder), folder))
    import vlmad_core.pipeline.former as module

    real, calls = module._write, []

    def stops(target: Path, files: object) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(target, files)

    monkeypatch.setattr(module, "_write", stops)
    with pytest.raises(KeyboardInterrupt):
        restore_former(folder)
    assert {path.name for path in folder.glob("state-*")} == new
    assert {path.name for path in former_folder(folder).glob("state-*")} == old


def test_there_is_nothing_to_undo_and_a_folder_of_somebody_is_not_touched(good, tmp_path: Path):
    folder = tmp_path / "nut.vlmad"
    make().fit(good, "noise", calibrate=True).save(folder)
    with pytest.raises(ConfigError, match="no former version"):
        restore_former(folder)
    own = former_folder(folder)
    own.mkdir()
    (own / "letter.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds no detector"):
        keep_former(folder)
    assert [path.name for path in own.iterdir()] == ["letter.txt"]
