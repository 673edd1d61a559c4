"""Where nothing is named, the command line takes pocket: one command, no download, no question."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vlmad_core.cli.__main__ import main
from vlmad_pocket.weights import FOLDER

GENERATED = Path(__file__).parent / "generated"
PICTURE = str(min(GENERATED.glob("*.jpg")))
NORMALS = [str(path) for path in sorted(GENERATED.glob("normal*.jpg"))[:2]]


def vlmad(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    said = capsys.readouterr()
    return int(left.value.code or 0), said.out, said.err


def used(out: Path) -> list[str]:
    spec = json.loads((out / "run.json").read_text())["settings"]["spec"]
    return [spec["backbone"]["use"], *(scorer["use"] for scorer in spec["scorers"])]


def test_a_picture_alone_is_judged_by_words(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = vlmad(capsys, "predict", PICTURE, "--json", "--out", str(tmp_path))
    assert code == 0, err
    assert 0 < json.loads(out)["score"] < 1
    assert "Name the product, as in --class-name 'metal nut'" in err
    assert used(tmp_path) == ["vlmad-pocket:pocket", "vlmad-core:text-match"]


def test_normal_pictures_add_a_memory(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    normals = [word for path in NORMALS for word in ("--normal", path)]
    code, _, err = vlmad(capsys, "predict", PICTURE, *normals, "--class-name", "plate", "--out", str(tmp_path))
    assert code == 0, err
    assert "--class-name" not in err
    assert used(tmp_path) == ["vlmad-pocket:pocket", "vlmad-core:text-match", "vlmad-core:memory"]


def test_naming_the_thing_changes_the_score(capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        json.loads(vlmad(capsys, "predict", PICTURE, "--json", *named)[1])["score"]
        for named in ([], ["--class-name", "object"], ["--class-name", "leather"])
    ]
    assert found[0] == found[1] != found[2]


def test_show_prints_the_model_card(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = vlmad(capsys, "show", "pocket")
    assert code == 0
    note = json.loads((FOLDER / "joint.json").read_text())
    for word in ("image_size", "trained on", "limits", "licence", "image AUROC", note["sha256"], "--kind recipe"):
        assert word in out
    card = json.loads(vlmad(capsys, "show", "pocket", "--json")[1])["card"]
    assert {file["name"] for file in card["files"]} == {"pocket.safetensors", "joint.safetensors", "tokenizer.json"}
    assert {one["normals"] for one in card["results"]} >= {0, 4}
