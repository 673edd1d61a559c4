"""Engines hand a detector batches of arrays: the answers are those of `vlmad predict`, and one file stops no other."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vlmad_core
from vlmad_core.errors import ConfigError
from vlmad_core.run import Predictor


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    for i in range(24):
        pixels = np.random.default_rng(i).integers(100, 150, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((64, 48)).save(folder / f"{i:02}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def folder(images: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    detector = vlmad_core.build("patch-memory", image_size=56)
    return detector.fit(images[:20], calibrate=True).save(tmp_path_factory.mktemp("saved") / "nut.vlmad")


def test_answers_are_those_of_the_detector(folder: Path, images: list[Path]) -> None:
    found = Predictor(folder)({"path": np.array([str(path) for path in images[20:]])})
    detector = vlmad_core.load(folder)
    expected = detector.predict(images[20:])
    np.testing.assert_allclose(found["score"], [each.score for each in expected], rtol=1e-6)
    assert list(found["verdict"]) == [detector.verdict(each).label for each in expected]
    assert list(found["error"]) == [None] * 4
    assert isinstance(json.loads(found["regions"][0]), list)


def test_bytes_are_read_as_files_are(folder: Path, images: list[Path]) -> None:
    names = np.array([f"s3://bucket/{path.name}" for path in images[:3]])
    contents = np.empty(3, object)
    contents[:] = [path.read_bytes() for path in images[:3]]
    predictor = Predictor(folder, maps="png16")
    found = predictor({"path": names, "bytes": contents, "line": np.arange(3)})
    beside = predictor({"path": np.array([str(path) for path in images[:3]])})
    np.testing.assert_array_equal(found["score"], beside["score"])
    assert list(found["path"]) == list(names)
    assert list(found["line"]) == [0, 1, 2]
    assert "bytes" not in found
    assert found["anomaly_map"][0] == beside["anomaly_map"][0]
    assert found["anomaly_map"][0].startswith(b"\x89PNG")


def test_a_broken_file_is_a_row_with_its_error(folder: Path, images: list[Path]) -> None:
    contents = np.empty(3, object)
    contents[:] = [b"no picture", images[0].read_bytes(), None]
    found = Predictor(folder)(
        {"path": np.array(["http://a/x.png", "http://a/y.png", "http://a/z.png"]), "bytes": contents}
    )
    assert np.isnan(found["score"]).tolist() == [True, False, True]
    assert found["error"][0] == "http://a/x.png: is not an image that can be read."
    assert found["error"][1] is None
    assert found["error"][2] == "http://a/z.png: no such file."


def test_it_travels_without_the_detector_and_opens_it_there(folder: Path, images: list[Path]) -> None:
    predictor = Predictor(folder)
    batch = {"path": np.array([str(images[0])])}
    before = predictor(batch)["score"]
    packed = pickle.dumps(predictor)
    assert len(packed) < 1000
    np.testing.assert_array_equal(pickle.loads(packed)(batch)["score"], before)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"maps": "jpeg"}, "maps must be none, png16 or npy"), ({"batch_size": 0}, r"batch_size \(0\)")],
)
def test_options_are_refused_where_they_are_given(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Predictor("nut.vlmad", **options)  # type: ignore[arg-type]


def test_a_detector_without_thresholds_says_why(folder: Path, images: list[Path], tmp_path: Path) -> None:
    assert Predictor(folder).reason == ""
    bare = vlmad_core.build("patch-memory", image_size=56).fit(images[:2]).save(tmp_path / "bare")
    assert Predictor(bare).reason.startswith("the detector has no calibration")


def test_a_batch_without_paths_is_refused() -> None:
    with pytest.raises(ConfigError, match="a batch needs the column 'path'; it has uri"):
        Predictor("nut.vlmad")({"uri": np.array(["a"])})
