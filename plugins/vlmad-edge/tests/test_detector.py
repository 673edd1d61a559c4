"""An exported file is opened with its record or not at all, and judges without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_edge import load
from vlmad_edge.command import main
from vlmad_edge.shared.errors import ConfigError, ImageError

WITHOUT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "vlmad_core", "scipy", "pydantic", "typer", "onnx"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refuse())
import vlmad_edge
found = vlmad_edge.load(sys.argv[1]).predict(sys.argv[2])
found.overlay().save(sys.argv[3])
print(found.verdict.label, len(found.regions))
"""


def _image(path: Path, value: int, spot: int | None = None) -> Path:
    pixels = np.full((64, 96, 3), value, np.uint8)
    if spot is not None:
        pixels[20:30, 40:60] = spot
    Image.fromarray(pixels).save(path)
    return path


def test_the_verdict_follows_from_the_stored_thresholds(model: Path, tmp_path: Path) -> None:
    detector = load(model)
    labels = [detector.predict(_image(tmp_path / f"{v}.png", v)).verdict.label for v in (60, 120, 200)]
    assert labels == ["pass", "review", "reject"]


def test_regions_are_in_pixels_of_the_image(model: Path, tmp_path: Path) -> None:
    found = load(model).predict(_image(tmp_path / "a.png", 40, spot=250))
    assert found.regions is not None
    np.testing.assert_allclose(found.regions[0]["box"], [40, 20, 60, 30], atol=2)
    assert found.anomaly_map.shape == (64, 96)
    assert found.peak[0] in range(20, 30)


def test_it_runs_without_torch_and_without_the_core(model: Path, tmp_path: Path) -> None:
    image = _image(tmp_path / "a.png", 40, spot=250)
    command = [sys.executable, "-W", "error", "-c", WITHOUT, str(model), str(image), str(tmp_path / "o.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("reject 1\n", "")
    with Image.open(tmp_path / "o.png") as drawn:
        assert drawn.size[0] >= 96


def test_a_missing_record_is_named(model: Path) -> None:
    model.with_suffix(".json").unlink()
    with pytest.raises(ConfigError, match=r"nut\.json is missing beside it"):
        load(model)


def test_a_changed_byte_is_refused(model: Path) -> None:
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    with pytest.raises(ConfigError, match="its hash differs"):
        load(model)


def test_the_file_of_another_model_is_refused(model: Path, tmp_path: Path, write_model: Callable[..., Path]) -> None:
    (tmp_path / "other").mkdir()
    write_model(tmp_path / "other", "bolt").replace(model)
    with pytest.raises(ConfigError, match="of another model"):
        load(model)


def test_a_record_under_another_name_is_refused(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bolt.onnx"
    copy.write_bytes(model.read_bytes())
    model.with_suffix(".json").rename(copy.with_suffix(".json"))
    with pytest.raises(ConfigError, match=r"is about nut\.onnx, not about bolt\.onnx"):
        load(copy)


def test_an_input_of_another_size_is_refused(
    tmp_path: Path, write_model: Callable[..., Path], write_record: Callable[..., Path]
) -> None:
    model = write_model(tmp_path, size=(64, 64))
    write_record(model)
    with pytest.raises(ConfigError, match=r"takes images of shape \[3, 64, 64\], and its .json says \[3, 32, 48\]"):
        load(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "x"}, "is not the record of an exported detector"),
        ({"format": 2}, "upgrade vlmad-edge"),
        ({"decision": {}}, "is damaged"),
        ({"preprocess": {"size": [0, 1]}}, "is damaged"),
    ],
)
def test_a_damaged_record_is_refused(
    change: dict[str, object], message: str, model: Path, write_record: Callable[..., Path]
) -> None:
    write_record(model, **change)
    with pytest.raises(ConfigError, match=message):
        load(model)


def test_a_file_that_is_no_json_is_refused(model: Path) -> None:
    model.with_suffix(".json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        load(model)


def test_a_folder_is_no_image(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is a folder"):
        load(model).predict(tmp_path)


def test_without_a_rule_the_verdict_says_why(model: Path, tmp_path: Path, write_record: Callable[..., Path]) -> None:
    write_record(model, decision={"rule": None, "reason": "no normals.", "pixel_threshold": None})
    verdict = load(model).predict(_image(tmp_path / "a.png", 60)).verdict
    assert (verdict.label, verdict.reason) == ("uncalibrated", "no normals.")


def test_the_command_judges_and_counts_what_it_could_not(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    _image(images / "a.png", 200)
    (images / "b.png").write_bytes(b"broken")
    with pytest.raises(SystemExit) as left:
        main([str(model), str(images), "--out", str(tmp_path / "out")])
    assert left.value.code == 3
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [(row.get("verdict"), bool(row["error"])) for row in rows] == [("reject", False), (None, True)]
    assert (tmp_path / "out" / rows[0]["overlay"]).is_file()
    assert "1 of 2 images could not be judged" in capsys.readouterr().err


def test_the_command_fails_on_a_verdict(model: Path, tmp_path: Path) -> None:
    for value, code in ((60, 0), (200, 4)):
        with pytest.raises(SystemExit) as left:
            main([str(model), str(_image(tmp_path / f"{value}.png", value)), "--fail-on", "reject"])
        assert left.value.code == code
