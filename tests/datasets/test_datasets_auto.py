"""Which layout a folder has: found, or told in a sentence that lists what was looked for; and free of torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from vlmad_core import read_dataset
from vlmad_core.contracts.images import SUFFIXES as OF_IMAGES
from vlmad_core.datasets.tree import SUFFIXES, aside
from vlmad_core.errors import ConfigError, UnknownComponentError
from vlmad_core.testing import memory_registry

LAYOUTS = {entry.name for entry in memory_registry().entries("dataset")}


def test_nothing_fits_lists_every_layout(tmp_path):
    with pytest.raises(ConfigError) as refused:
        read_dataset(tmp_path, registry=memory_registry())
    text = str(refused.value)
    assert text.startswith(f"{tmp_path}: no layout fits.")
    assert {line.strip().partition(":")[0] for line in text.splitlines()[1:]} == LAYOUTS
    assert "CATEGORY/{train/good, test/KIND, ground_truth/KIND}/IMAGE" in text


def test_one_folder_too_high(tree):
    root = tree("btad")
    with pytest.raises(ConfigError, match=r"no layout fits\. Did you mean .*btad\?"):
        read_dataset(root.parent, registry=memory_registry())


def test_two_forms_are_not_chosen_between(tree, paint):
    root = tree("mvtec-layout")
    paint(root / "good/a.png")
    with pytest.raises(ConfigError, match="more than one layout; say which with --layout") as refused:
        read_dataset(root, registry=memory_registry())
    assert "vlmad-core:mvtec-layout, vlmad-core:folders." in str(refused.value)
    assert len(read_dataset(root, "folders", registry=memory_registry())) == 1


def test_two_known_data_sets_in_one_folder(tree, tmp_path):
    tree("kolektor-sdd").rename(tmp_path / "both")
    tree("dagm")
    for folder in (tmp_path / "dagm").iterdir():
        folder.rename(tmp_path / "both" / folder.name)
    with pytest.raises(ConfigError, match="kolektor-sdd, vlmad-core:dagm"):
        read_dataset(tmp_path / "both", registry=memory_registry())


def test_own_categories_are_not_taken_for_a_known_data_set(tree, tmp_path):
    root = tree("mvtec-layout")
    tree("mpdd")
    (tmp_path / "mpdd/bracket_black").rename(root / "bracket_black")
    assert read_dataset(root, registry=memory_registry()).name == "mvtec-layout"


def test_no_such_root(tmp_path):
    with pytest.raises(ConfigError, match=r"gone: no such file or folder\."):
        read_dataset(tmp_path / "gone", registry=memory_registry())


def test_unknown_layout_and_option(tree):
    root = tree("visa")
    with pytest.raises(UnknownComponentError, match=r"no dataset 'vsa'\. Did you mean 'visa'\?"):
        read_dataset(root, "vsa", registry=memory_registry())
    with pytest.raises(ConfigError, match=r"config\.splt: no such option of 'visa'\. Did you mean 'split'\?"):
        read_dataset(root, "visa", config={"splt": "1cls"}, registry=memory_registry())
    with pytest.raises(ConfigError, match=r"config\.split: must be '1cls'"):
        read_dataset(root, config={"split": "3cls"}, registry=memory_registry())


def test_reading_imports_no_torch(tree):
    """Every reader is imported to find the layout; none may bring torch or PIL."""
    script = (
        "import sys, json, vlmad_core; vlmad_core.read_dataset(sys.argv[1]).count();"
        "print(json.dumps([name for name in ('torch', 'PIL', 'numpy') if name in sys.modules]))"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(tree("mvtec-ad"))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_endings_are_those_of_images():
    assert SUFFIXES == OF_IMAGES


def test_a_share_is_put_aside_by_name():
    names = [f"{i}.png" for i in range(2000)]
    assert sum(aside(name, 0.25) for name in names) == pytest.approx(500, abs=60)
    assert not any(aside(name, 0.0) for name in names)
    assert {name for name in names if aside(name, 0.2)} <= {name for name in names if aside(name, 0.5)}
