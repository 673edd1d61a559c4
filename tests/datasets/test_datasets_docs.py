"""The page on data sets says what there is, and its plugin works as it is written there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vlmad_core import read_dataset
from vlmad_core.datasets.check import check
from vlmad_core.errors import ConfigError
from vlmad_core.registry.registry import Registry
from vlmad_core.testing import memory_registry

PAGE = (Path(__file__).parents[2] / "docs/datasets.md").read_text(encoding="utf-8")


def test_the_page_names_every_layout_and_option():
    for entry in memory_registry().entries("dataset"):
        assert f"| `{entry.name}` |" in PAGE
        for option in entry.component.config.model_fields:
            assert option in PAGE, f"{entry.name}: {option}"


def test_the_plugin_of_the_page_works(tmp_path, monkeypatch, paint):
    _, plugin, reader = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    package = tmp_path / "site/vlmad_spoons"
    package.mkdir(parents=True)
    for name, text in (("__init__", ""), ("plugin", plugin), ("spoons", reader)):
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    registry = Registry()
    registry.add("vlmad_spoons.plugin", "vlmad-spoons")
    with pytest.raises(ConfigError, match=r"has no straight-\*\.png and no bent-\*\.png"):
        read_dataset(tmp_path, "spoons", registry=registry)
    for name in ("straight-1", "straight-2", "bent-1"):
        paint(tmp_path / f"spoons/{name}.png")
    dataset = read_dataset(tmp_path, registry=registry)
    assert dataset.count() == {"spoon": {"test/defective": 1, "test/good": 2}}
    assert check(dataset) == []


def test_the_manifest_of_the_page_is_read(tmp_path):
    (table,) = re.findall(r"```\n(image,.*?)```", PAGE, re.DOTALL)
    (tmp_path / "list.csv").write_text(table)
    good, bad = read_dataset(tmp_path / "list.csv")
    assert (good.label, good.split) == (False, "train")
    assert [mask.name for mask in bad.masks] == ["107a.png", "107b.png"]
