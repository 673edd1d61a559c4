"""`vlmad predict` and `vlmad fit`, in this process."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.cli.detector import Choice

Vlmad = Callable[..., object]


@pytest.mark.parametrize(
    ("named", "recipe"),
    [
        ({}, "pocket"),
        ({"normals": ["x"]}, "pocket-few-shot"),
        ({"backbone": "pocket"}, "pocket"),
        ({"backbone": "vlmad-pocket:pocket", "normals": ["x"]}, "pocket-few-shot"),
        ({"backbone": "timm", "normals": ["x"]}, "patch-memory"),
        ({"backbone": "open-clip"}, "winclip"),
        ({"weights": "openai"}, "winclip"),
        ({"recipe": "clip", "normals": ["x"]}, "clip"),
    ],
)
def test_what_is_taken_where_no_recipe_is_named(named: dict[str, object], recipe: str) -> None:
    assert Choice(**named).recipe_or_default == recipe


def test_table_of_scores(vlmad: Vlmad, pictures: Path, normals: Path) -> None:
    seen = vlmad("predict", pictures, "-r", "remember", "-n", normals)
    assert seen.code == 0
    assert seen.out.count(".png") == 6
    assert "6 images judged" in seen.err
    scores = [float(line.split()[0]) for line in seen.out.splitlines() if ".png" in line]
    assert scores == sorted(scores, reverse=True)


def test_json_lines_and_nothing_else(vlmad: Vlmad, pictures: Path, normals: Path, tmp_path: Path) -> None:
    arguments = ["predict", pictures, "-r", "remember", "-n", normals, "--json", "-o", tmp_path / "out"]
    for _ in range(2):  # the second time from the folder
        seen = vlmad(*arguments)
        found = [json.loads(line) for line in seen.out.splitlines()]
        assert [Path(line["path"]).name for line in found] == [f"{i:03}.png" for i in range(6)]
        assert all((tmp_path / "out" / line["overlay"]).is_file() for line in found)


def test_words_without_normal_images(vlmad: Vlmad, pictures: Path) -> None:
    seen = vlmad("predict", pictures, "-r", "words", "-c", "metal nut", "--quiet")
    assert (seen.code, seen.err) == (0, "")
    assert [line.partition("\t")[2] for line in seen.out.splitlines()] == [str(p) for p in sorted(pictures.iterdir())]
    assert all(0 <= float(line.partition("\t")[0]) <= 1 for line in seen.out.splitlines())


def test_normal_images_call_the_few_shot_recipe(vlmad: Vlmad, pictures: Path, normals: Path) -> None:
    seen = vlmad("predict", pictures, "-r", "words", "-c", "nut", "-n", normals)
    assert seen.code == 0
    assert "recipe 'words' has no memory bank; with normal images recipe 'remember' takes over" in seen.err


def test_parts_and_values_can_be_exchanged(vlmad: Vlmad, pictures: Path, normals: Path, tmp_path: Path) -> None:
    seen = vlmad(
        *("predict", pictures, "-r", "words", "-n", normals, "--prompts", "none", "--scorer", "memory"),
        *("--extractor", "patches", "--set", "scorers.0.config.top=0.25", "--set", "extractor.config.layers=[1, 2]"),
        *("-o", tmp_path / "out", "--maps", "npy", "--no-overlays", "--scale", 0, 0.5, "--threads", 1),
    )
    assert seen.code == 0
    settings = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert settings["spec"]["extractor"]["config"]["layers"] == [1, 2]
    assert settings["spec"]["scorers"][0]["config"]["top"] == 0.25
    assert settings["scale"] == [0, 0.5]
    assert len(settings["normals"]) == 3


def test_a_pipeline_file(vlmad: Vlmad, pictures: Path, normals: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("{backbone: tiny, extractor: patches, scorers: memory}")
    assert vlmad("predict", pictures, "-r", tmp_path / "mine.yaml", "-n", normals).code == 0


def test_fit_then_predict(vlmad: Vlmad, pictures: Path, normals: Path, tmp_path: Path) -> None:
    seen = vlmad("fit", normals, "-r", "remember", "-o", tmp_path / "detector", "-c", "nut")
    assert seen.code == 0
    assert "scorer     memory" in seen.out
    assert "3 normal images" in seen.out
    direct = vlmad("predict", pictures, "-r", "remember", "-n", normals, "--json").out.splitlines()
    loaded = vlmad("predict", pictures, "-d", tmp_path / "detector", "--json", "-o", tmp_path / "out").out.splitlines()
    assert [json.loads(a)["score"] for a in direct] == pytest.approx([json.loads(b)["score"] for b in loaded])
    assert "detector" in json.loads((tmp_path / "out" / "run.json").read_text())["settings"]


def test_an_exported_detector_takes_no_normal_images(
    vlmad: Vlmad, pictures: Path, normals: Path, tmp_path: Path
) -> None:
    (tmp_path / "nut.onnx").write_bytes(b"of vlmad export")
    for command in (["fit", normals, "-o", tmp_path / "new"], ["predict", pictures, "-n", normals]):
        seen = vlmad(*command, "-d", tmp_path / "nut.onnx")
        assert seen.code == 1
        assert "Fit the detector that it was made from, and export it again." in " ".join(seen.err.split())
    assert not (tmp_path / "new").exists()


def test_images_that_cannot_be_read_make_3(vlmad: Vlmad, pictures: Path, normals: Path, tmp_path: Path) -> None:
    (pictures / "002.png").write_bytes(b"")
    for earlier in ("", ", 6 results are of an earlier run"):
        seen = vlmad("predict", pictures, "-r", "remember", "-n", normals, "-o", tmp_path / "out")
        assert seen.code == 3
        assert "002.png: the file is empty." in seen.err
        assert f"5 images judged{earlier}, 1 could not be judged, compared with 3 normal images" in seen.err
        assert ("a second" in seen.err) == (not earlier)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["nowhere"], 1, "nowhere: no such file or folder."),
        (["{pictures}", "-r", "wrods"], 1, "no recipe 'wrods'. Did you mean 'words'?"),
        (["{pictures}", "-r", "words", "--backbone", "tinny"], 1, "Did you mean 'tiny'?"),
        (["{pictures}", "-r", "words", "--prompts", "nine"], 1, "no prompts 'nine'"),
        (["{pictures}", "-r", "words"], 1, "and none was given"),
        (
            ["{pictures}"],
            1,
            "no recipe 'pocket'. There are: anomaly-dino, clip, patch-memory, remember, words. Disabled",
        ),
        (["{pictures}", "-n", "{pictures}"], 1, "no recipe 'pocket-few-shot'"),
        (["{pictures}", "--backbone", "tiny"], 1, "no recipe 'winclip'"),
        (["{pictures}", "-r", "remember"], 1, "compares with normal images, and none were given"),
        (["{pictures}", "-r", "words", "-n", "nowhere"], 1, "nowhere: no such file or folder."),
        (["{pictures}", "-r", "words", "-n", "{pictures}", "--scorer", "text-match"], 1, "has no memory bank"),
        (["{pictures}", "-r", "words", "-c", "x", "--set", "scorers.0.config.temprature=1"], 1, "'temperature'"),
        (["{pictures}", "-r", "words", "-c", "x", "--set", "scorers.4.use=memory"], 1, "from 0 to 0"),
        (["{pictures}", "-r", "gone.yaml"], 1, "gone.yaml: cannot be read"),
        (["{pictures}", "-d", "{pictures}"], 1, "holds no detector"),
        (["{pictures}", "-r", "words", "--set", "nothing"], 2, "PATH=VALUE"),
        (["{pictures}", "-r", "words", "--set", "a=[1"], 2, "YAML"),
        (["{pictures}", "-r", "words", "-d", "{pictures}"], 2, "--detector has its parts"),
        (["{pictures}", "-r", "words", "--scale", "1", "0"], 2, "lower value"),
        (["{pictures}", "-r", "words", "--maps", "jpeg"], 2, "png16"),
        (["{pictures}", "-r", "words", "--batch-size", "0"], 2, "batch-size"),
        (["{pictures}", "-r", "words", "-o", "{pictures}/000.png"], 2, "file"),
        ([], 2, "paths"),
    ],
)
def test_refusals(vlmad: Vlmad, pictures: Path, arguments: list[str], code: int, text: str) -> None:
    seen = vlmad("predict", *(argument.format(pictures=pictures) for argument in arguments))
    assert seen.code == code
    assert text in " ".join(seen.err.split())
    assert "Traceback" not in seen.err
    assert seen.out == ""


def test_other_settings_in_the_same_folder(vlmad: Vlmad, pictures: Path, normals: Path, tmp_path: Path) -> None:
    first = ["predict", pictures, "-r", "remember", "-n", normals, "-o", tmp_path / "out"]
    assert vlmad(*first).code == 0
    seen = vlmad(*first, "--set", "scorers.0.config.top=0.5")
    assert seen.code == 1
    assert "scorers.0.config.top was not there and is now 0.5. Use another --out, or --overwrite." in seen.err
    assert vlmad(*first, "--set", "scorers.0.config.top=0.5", "--overwrite").code == 0


def test_more_than_a_table_holds(vlmad: Vlmad, pictures: Path, normals: Path) -> None:
    for i in range(30):
        (pictures / f"more{i}.png").write_bytes((pictures / "000.png").read_bytes())
    assert "16 more (--out keeps them all" in vlmad("predict", pictures, "-r", "remember", "-n", normals).out


def test_progress_where_it_is_asked_for(vlmad: Vlmad, pictures: Path, normals: Path) -> None:
    seen = vlmad("predict", pictures, "-r", "remember", "-n", normals, "--progress", "--json")
    assert "6/6" in seen.err
    assert len(seen.out.splitlines()) == 6


def test_pattern_that_the_shell_took_apart_is_refused(vlmad: Vlmad, pictures: Path, normals: Path) -> None:
    several = sorted(normals.iterdir())
    seen = vlmad("predict", "-r", "remember", "--normal", *several, pictures)
    text = " ".join(seen.err.replace("│", "").split())
    assert seen.code == 2
    assert "takes one file, folder or pattern" in text
    assert "repeat --normal" in text
    assert vlmad("predict", pictures, "-r", "remember", "-n", several[0], "-n", several[1]).code == 0
    assert vlmad("predict", several[0], "-r", "remember", "-n", several[1]).code == 0
    assert "with 3 normal images" in vlmad("predict", pictures, "-r", "remember", "-n", f"{normals}/*.png").err


def test_sheet(vlmad: Vlmad, pictures: Path, normals: Path, tmp_path: Path) -> None:
    arguments = ["predict", pictures, "-r", "remember", "-n", normals, "--sheet"]
    assert vlmad(*arguments, "-o", tmp_path / "out").code == 0
    with Image.open(tmp_path / "out/sheet.jpg") as sheet:
        assert sheet.width > 600
    for wrong in ([], ["-o", tmp_path / "other", "--no-overlays"]):
        seen = vlmad(*arguments, *wrong)
        assert seen.code == 2
        assert "--sheet puts overlays together" in " ".join(seen.err.replace("│", "").split())


def test_what_is_passed_over_is_told_and_counted(vlmad: Vlmad, pictures: Path, normals: Path) -> None:
    (pictures / "a.heic").write_bytes(b"x")
    seen = vlmad("predict", pictures, "-r", "remember", "-n", normals)
    assert f"1 x file with an unknown ending ({pictures / 'a.heic'})" in seen.err
    assert "1 passed over" in seen.err


@pytest.mark.filterwarnings("always:.*fits in 12")
def test_bits_of_the_camera(vlmad: Vlmad, tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 4096, (40, 40)).astype(np.uint16)
    for name, values in (("deep/0.png", grey), ("same/0.png", (grey * (65535 / 4095)).round().astype(np.uint16))):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(values).save(tmp_path / name)
    plain = ("-r", "words", "-c", "nut", "--json")
    wanted = json.loads(vlmad("predict", tmp_path / "same", *plain).out)["score"]
    dark = vlmad("predict", tmp_path / "deep", *plain)
    assert "fits in 12 of its 16 bits" in dark.err
    assert json.loads(dark.out)["score"] != pytest.approx(wanted, abs=1e-6)
    assert "fits in 12" in json.loads(dark.out)["note"]
    right = vlmad("predict", tmp_path / "deep", *plain, "--bits", 12)
    assert json.loads(right.out)["score"] == pytest.approx(wanted, abs=1e-4)
    assert "bits" not in right.err
    vlmad("fit", tmp_path / "deep", "-r", "remember", "--bits", 12, "-o", tmp_path / "detector")
    loaded = vlmad("predict", tmp_path / "deep", "-d", tmp_path / "detector", "--json")
    assert json.loads(loaded.out)["score"] == pytest.approx(0, abs=1e-4)


def test_normal_image_that_is_a_pipe_is_refused(vlmad: Vlmad, pictures: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    seen = vlmad("predict", pictures, "-r", "remember", "-n", tmp_path / "pipe.png")
    assert seen.code == 1
    assert "is a pipe, not a file" in seen.err
    seen = vlmad("predict", tmp_path / "pipe.png", "-r", "words", "-c", "nut")
    assert seen.code == 3
    assert "is a pipe, not a file" in seen.err


def test_more_workers_change_nothing(vlmad: Vlmad, pictures: Path, normals: Path) -> None:
    call = ("predict", pictures, "-r", "remember", "-n", normals, "-q")
    assert vlmad(*call, "--workers", 1).out == vlmad(*call, "--workers", 4).out


def test_reasons_add_up_in_json_lines(vlmad: Vlmad, pictures: Path) -> None:
    found = vlmad("predict", pictures, "-r", "words", "-c", "nut", "--explain", "--json")
    assert found.code == 0
    for line in map(json.loads, found.out.splitlines()):
        assert sum(one["value"] for one in line["reasons"]) == pytest.approx(line["score"], abs=1e-5)
        assert any("damaged nut" in one["label"] for one in line["reasons"])
        assert line["nearest_normal"] is None


def test_two_devices_give_the_lines_of_one(vlmad, pictures, normals):
    arguments = ["predict", pictures, "-r", "remember", "-n", normals, "--quiet", "--batch-size", 1]
    one = vlmad(*arguments, "--device", "cpu")
    two = vlmad(*arguments, "--device", "cpu,cpu")
    assert one.code == two.code == 0
    assert one.out == two.out


def test_a_second_device_that_is_not_there_is_refused(vlmad, pictures):
    seen = vlmad("predict", pictures, "-r", "words", "-c", "nut", "--device", "cpu,cuda:99")
    assert seen.code == 1 and "device 'cuda:99' is not there" in seen.err


def test_compile_says_what_it_did(vlmad, pictures, monkeypatch):
    def fails(*arguments, **options):
        raise RuntimeError("no compiler here")

    monkeypatch.setattr("torch.compile", fails)
    seen = vlmad("predict", pictures, "-r", "words", "-c", "nut", "--batch-size", 1, "--compile", "reduce-overhead")
    assert seen.code == 0
    assert "not compiled: the compiler failed (RuntimeError: no compiler here)." in " ".join(seen.err.split())


def test_precision_is_an_option_of_the_backbone(vlmad, pictures):
    seen = vlmad("predict", pictures, "-r", "words", "-c", "nut", "--precision", "bf16")
    assert seen.code == 1 and "backbone.config.dtype: no such option of 'tiny'" in seen.err
    assert vlmad("predict", pictures, "-r", "words", "--precision", "int8").code == 2
