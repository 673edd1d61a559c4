"""Model cards are read as they lie in the package, and every installed one is whole."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlmad_core.errors import ConfigError
from vlmad_core.registry import Component
from vlmad_core.registry.card import read_card
from vlmad_core.registry.registry import default_registry

CARD = {"name": "a", "vision": "b", "trained_on": "c", "limits": ["d"], "licence": "e", "files": ["weights.bin"]}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with a card and one file of weights."""
    folder = tmp_path / "vlmad_carded"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "weights.bin").write_bytes(b"weights")
    (folder / "card.json").write_text(json.dumps(CARD))
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    sys.modules.pop("vlmad_carded", None)


def test_files_are_hashed_as_they_are(package: Path) -> None:
    card, (file,) = read_card("vlmad_carded:card.json")
    assert (card.name, card.text, card.limits) == ("a", "", ("d",))
    assert (file.name, file.bytes, file.sha256) == ("weights.bin", 7, hashlib.sha256(b"weights").hexdigest())


@pytest.mark.parametrize(
    ("resource", "changes", "said"),
    [
        ("vlmad_carded:none.json", {}, "none.json"),
        ("vlmad_nobody:card.json", {}, "vlmad_nobody"),
        ("vlmad_carded:card.json", {"files": ["gone.bin"]}, "gone.bin"),
        ("vlmad_carded:card.json", {"limits": []}, "limits"),
        ("vlmad_carded:card.json", {"licence": ""}, "licence"),
        ("vlmad_carded:card.json", {"results": [{"set": "x", "image_auroc": 1.5}]}, "image_auroc"),
        ("vlmad_carded:card.json", {"shoe size": 43}, "shoe size"),
    ],
)
def test_what_is_wrong_with_a_card_is_said(package: Path, resource: str, changes: dict[str, object], said: str) -> None:
    (package / "card.json").write_text(json.dumps({**CARD, **changes}))
    with pytest.raises(ConfigError, match=rf"the model card {resource} cannot be read: .*{said}"):
        read_card(resource)


@pytest.mark.parametrize("card", ["card.json", "a:card.txt", "a:b/card.json", ":card.json", "a b:card.json"])
def test_card_of_the_wrong_form_is_refused(card: str) -> None:
    with pytest.raises(ConfigError, match=r"'package:file\.json'"):
        Component(name="a", target="a.b:C", summary="x", card=card)


def test_every_installed_card_is_whole() -> None:
    carded = [entry.item for entry in default_registry().entries() if isinstance(entry.item, Component)]
    cards = [read_card(item.card) for item in carded if item.card]
    assert cards
    for card, files in cards:
        assert files
        assert len({(one.set, one.normals) for one in card.results}) == len(card.results)
        for one in card.results:
            assert one.low is None or one.high is None or one.low <= one.image_auroc <= one.high
