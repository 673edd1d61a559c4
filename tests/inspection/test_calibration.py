import json
from dataclasses import replace

import numpy as np
import pytest

from vlmad_core.errors import ConfigError
from vlmad_core.inspection.calibration import Calibration, Fingerprint, ImageScore, outliers
from vlmad_core.inspection.risk_control import map_tail

DETECTOR = Fingerprint("recipe-hash", (448, 336), "float32", "weights-hash")


def images(scores, prefix="n", **fields):
    return tuple(ImageScore(f"{prefix}{i}", float(s), name=f"{prefix}/{i}.png", **fields) for i, s in enumerate(scores))


def full():
    rng = np.random.default_rng(0)
    tail = map_tail(rng.uniform(size=(8, 8)).astype(np.float32))
    return Calibration(
        DETECTOR,
        held_out=images(rng.uniform(size=5), "h", class_nearest=0.1, class_farthest=0.3, tail=tail),
        references=images(rng.uniform(size=4), "r"),
        folds=4,
        is_monotone=True,
        defects=images([0.9], "d", group="x"),
        date="2026-11-01T10:00:00",
        version="0.1.0",
    )


def test_json_gives_back_every_bit():
    calibration = full()
    assert Calibration.from_json(calibration.to_json()) == calibration
    assert Calibration.from_json(Calibration(DETECTOR).to_json()) == Calibration(DETECTOR)


def test_a_file_that_is_cut_off_anywhere_is_refused():
    text = full().to_json()
    for end in range(0, len(text) - 1, 7):
        with pytest.raises(ConfigError, match=r"nut\.json: not a whole calibration.*calibrate again"):
            Calibration.from_json(text[:end], name="nut.json")


@pytest.mark.parametrize(
    ("path", "value", "part"),
    [
        (["held_out", 0, "score"], "0.5", "held_out.0.score"),
        (["held_out", 0, "score"], None, "held_out.0.score"),
        (["held_out", 0, "digest"], "h1", "there twice"),
        (["held_out", 0, "tail"], [1.0, 2.0], "27 values that do not rise"),
        (["held_out", 0, "class_nearest"], 0.5, "class distances 0.5, 0.3"),
        (["held_out", 0, "group"], "same", ""),
        (["detector", "size"], [448], "detector.size"),
        (["folds"], 5, "4 references"),
        (["folds"], 0, "4 references"),
        (["format"], 2, "format"),
        (["surprise"], 1, "surprise"),
    ],
)
def test_an_edited_file_is_refused_where_it_is_wrong(path, value, part):
    data = json.loads(full().to_json())
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    if not part:
        assert Calibration.from_json(json.dumps(data)).held_out[0].group == "same"
        return
    with pytest.raises(ConfigError, match=part):
        Calibration.from_json(json.dumps(data))


@pytest.mark.parametrize("garbage", ["", "null", "[]", "{}", "\x00\x01", "NaN", '{"detector": 1}'])
def test_garbage_is_refused_in_a_sentence(garbage):
    with pytest.raises(ConfigError, match="not a whole calibration of vlmad"):
        Calibration.from_json(garbage)


def test_numbers_that_json_cannot_hold_are_refused():
    text = full().to_json().replace('"folds": 4', '"folds": 4', 1)
    score = json.loads(text)["held_out"][0]["score"]
    with pytest.raises(ConfigError, match=r"held_out\.0"):
        Calibration.from_json(text.replace(repr(score), "NaN", 1))
    with pytest.raises(ConfigError, match="not finite"):
        ImageScore("x", float("inf"))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"recipe": "other"}, "the recipe is another one"),
        ({"size": (336, 336)}, "the input size was 448 x 336 and is 336 x 336"),
        ({"dtype": "bfloat16"}, "the dtype was float32 and is bfloat16"),
        ({"weights": "other"}, "the memory or the learned weights are others"),
    ],
)
def test_the_calibration_of_another_detector_is_refused_and_names_what_changed(change, part):
    full().check_detector(DETECTOR)
    with pytest.raises(ConfigError, match=part):
        full().check_detector(replace(DETECTOR, **change))


def test_more_normals_are_merged_and_copies_are_passed_over_by_name():
    calibration = full()
    new = images([0.3, 0.4], "new")
    known = (calibration.held_out[0], calibration.references[1])
    merged, passed_over = calibration.with_held_out([*new, *known, new[0]])
    assert merged.held_out == calibration.held_out + new
    assert passed_over == (*known, new[0])
    assert (merged.references, merged.defects) == (calibration.references, calibration.defects)


def test_one_image_cannot_be_normal_and_defective():
    calibration = full()
    with pytest.raises(ConfigError, match=r"'d/0\.png' is given as a normal image.*is there as a defect"):
        calibration.with_held_out(calibration.defects)
    with pytest.raises(ConfigError, match=r"'h/0\.png' is given as a defect.*is there as a normal image"):
        calibration.with_defects(calibration.held_out[:1])


def test_frames_of_one_object_cannot_be_remembered_and_held_out():
    with pytest.raises(ConfigError, match=r"'part 7'.*keep them together"):
        Calibration(
            DETECTOR,
            held_out=images([1], "h", group="part 7"),
            references=images([1, 2], "r", group="part 7") + images([3], "q"),
            folds=2,
        )


def test_the_basis_has_one_score_a_group_and_names_how_it_was_obtained():
    references = images([1, 5, 2], "a", group="a") + images([4, 3], "b")
    (basis,) = Calibration(DETECTOR, references=references, folds=3).bases
    assert (basis.source, basis.scores.tolist()) == ("leave-one-out", [5, 4, 3])
    (basis,) = Calibration(DETECTOR, references=references, folds=2).bases
    assert basis.source == "k-fold references"
    assert [basis.source for basis in full().bases] == ["held-out", "leave-one-out"]
    assert Calibration(DETECTOR).bases == ()


def test_a_normal_image_with_a_defect_stands_out_by_name_and_by_how_much():
    scores = [*np.linspace(0.1, 0.3, 21), 0.9]
    (found,) = outliers(images(scores))
    assert found.image.name == "n/21.png"
    deviations = np.abs(np.array(scores) - np.median(scores))
    assert found.spreads == pytest.approx((0.9 - np.median(scores)) / (1.4826 * np.median(deviations)))
    assert outliers(images(scores[:21])) == ()
    assert outliers(images([0.5] * 9 + [0.6])) == ()  # no spread to compare with
