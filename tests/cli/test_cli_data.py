"""`vlmad data list`, `show`, `check`: from a folder to a table, sentences and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Vlmad = Callable[..., object]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two categories in MVTec's layout, whole."""
    folder = tmp_path / "parts"
    rng = np.random.default_rng(0)
    for category in ("cap", "lid"):
        for place in ("train/good", "test/good", "test/dent"):
            (folder / category / place).mkdir(parents=True)
            for i in range(2):
                pixels = rng.integers(0, 255, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(folder / category / place / f"{i}.png")
        (folder / category / "ground_truth/dent").mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.eye(8, dtype=np.uint8)).save(folder / category / f"ground_truth/dent/{i}_mask.png")
    return folder


def test_list(vlmad: Vlmad) -> None:
    seen = vlmad("data", "list")
    assert seen.code == 0
    for word in ("mvtec-ad", "CC BY-NC-SA 4.0", "real-iad", "manifest", "Nothing is downloaded"):
        assert word in seen.out
    found = {row["name"]: row for row in json.loads(vlmad("data", "list", "--json").out)}
    assert found["visa"]["home"] == "https://github.com/amazon-science/spot-diff"
    assert found["folders"]["licence"] == "yours"


def test_show(vlmad: Vlmad, root: Path) -> None:
    seen = vlmad("data", "show", root)
    assert seen.code == 0
    lines = [line.split() for line in seen.out.splitlines()]
    assert ["category", "train/good", "test/good", "test/defective"] in lines
    assert ["cap", "2", "2", "2"] in lines
    assert ["all", "4", "4", "4"] in lines
    assert "parts: 12 images, 4 of them with masks" in seen.out
    message = json.loads(vlmad("data", "show", root, "--json").out)
    assert message["categories"]["lid"] == {"train/good": 2, "test/good": 2, "test/defective": 2}
    assert message["images"] == 12


def test_show_says_that_something_is_odd(vlmad: Vlmad, root: Path) -> None:
    (root / "notes").mkdir()
    assert "left out" in vlmad("data", "show", root).err


def test_check_whole(vlmad: Vlmad, root: Path) -> None:
    seen = vlmad("data", "check", root)
    assert seen.code == 0
    assert seen.out == "parts: 12 images, every image and mask opened: nothing is wrong\n"
    seen = vlmad("data", "check", root, "--fast")
    assert seen.out == "parts: 12 images, names and counts checked, no image opened: nothing is wrong\n"


def test_check_with_problems(vlmad: Vlmad, root: Path) -> None:
    (root / "cap/test/dent/0.png").write_bytes(b"")
    seen = vlmad("data", "check", root)
    assert seen.code == 1
    assert f"{root / 'cap/test/dent/0.png'}: the file is empty; copy it again.\n" in seen.out
    assert seen.out.endswith("every image and mask opened: 1 problems\n")
    seen = vlmad("data", "check", root, "--json", "--fast")
    assert seen.code == 1
    message = json.loads(seen.out)
    assert message["opened"] is False
    assert message["problems"] == [f"{root / 'cap/test/dent/0.png'}: the file is empty; copy it again."]


def test_check_of_very_much_shows_the_first_and_keeps_the_rest(vlmad: Vlmad, tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("image\n" + "".join(f"{i}.png\n" for i in range(60)))
    seen = vlmad("data", "check", table, "--fast")
    assert len(seen.out.splitlines()) == 52
    assert "… and 10 more; --json has them all." in seen.out
    assert len(json.loads(vlmad("data", "check", table, "--fast", "--json").out)["problems"]) == 60


def test_check_shows_how_far_it_is(vlmad: Vlmad, root: Path) -> None:
    assert "12/12" in vlmad("data", "check", root, "--progress").err
    assert vlmad("data", "check", root).err == ""


def test_options_and_slips(vlmad: Vlmad, root: Path) -> None:
    (root / "good").mkdir()
    Image.new("L", (8, 8)).save(root / "good/a.png")
    seen = vlmad("data", "show", root)
    assert seen.code == 1
    assert "say which with --layout: vlmad-core:mvtec-layout, vlmad-core:folders." in seen.err
    seen = vlmad("data", "show", root, "--layout", "folders", "--set", "category=thing", "--json")
    assert list(json.loads(seen.out)["categories"]) == ["thing"]
    assert "Did you mean 'category'?" in vlmad("data", "show", root, "--layout", "folders", "--set", "categry=x").err
    assert vlmad("data", "show", root, "--set", "category").code == 2
    assert vlmad("data", "show", root, "--set", "category=[").code == 2
    assert "Did you mean 'folders'?" in vlmad("data", "show", root, "--layout", "folder").err
    assert "no such file or folder" in vlmad("data", "check", root / "gone").err


def test_help_names_all_three(vlmad: Vlmad) -> None:
    said = vlmad("data", "--help").out
    for word in ("list", "show", "check"):
        assert word in said


def test_list_and_show_of_a_data_set_as_of_any_entry(vlmad: Vlmad) -> None:
    assert {row["kind"] for row in json.loads(vlmad("list", "datasets", "--json").out)} == {"dataset"}
    assert "dataset visa: VisA" in vlmad("show", "visa").out
    assert "2cls_highshot" in vlmad("show", "visa").out


def test_listing_counting_and_the_fast_check_need_no_torch(root: Path, environment: dict[str, str]) -> None:
    environment |= {"VLMAD_PLUGINS": ""}  # that of the fixture needs torch
    script = (
        "import sys; from vlmad_core.cli.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as left: print('torch' in sys.modules, left.code, file=sys.stderr)"
    )
    for arguments in (["list"], ["show", str(root)], ["check", "--fast", str(root)]):
        command = [sys.executable, "-c", script, "data", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        assert done.stderr.splitlines()[-1] in ("False None", "False 0"), done.stderr


def test_check_reads_with_the_window_and_channels_of_the_detector(vlmad: Vlmad, root: Path) -> None:
    deep = root / "cap/train/good/0.png"
    Image.fromarray(np.full((8, 8), 900, np.uint16)).save(deep)
    assert "fits in 10 of its 16 bits" in vlmad("data", "check", root).out
    right = vlmad("data", "check", root, "--window", "0,1000")
    assert (right.code, "nothing is wrong" in right.out) == (0, True)
    wrong = vlmad("data", "check", root, "--window", "0,1000", "--channels", "3,2,1")
    assert wrong.code == 1
    assert f"{deep}: has 1 channels, and channel 3 was asked for (--channels)." in wrong.out
    assert vlmad("data", "check", root, "--window", "0,1000", "--bits", 12).code == 2
