"""`vlmad prompts`, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

Vlmad = Callable[..., object]

MANY = (
    'prompts.config={"normal": ["a whole {}", "a clean {}"], "abnormal": ["a bent {}", "a torn {}"]}',
    "prompts.use=templates",
)


def words(*more: object) -> list[object]:
    settings = [part for one in MANY for part in ("--set", one)]
    return ["prompts", "-r", "words", *settings, "-c", "nut", *more]


def test_each_phrase_has_its_effect_and_there_is_a_control(vlmad: Vlmad, pictures: Path, normals: Path) -> None:
    seen = vlmad(*words("--normal", normals, "--defects", pictures))
    assert seen.code == 0, seen.err
    for phrase in ("a whole nut", "a clean nut", "a bent nut", "a torn nut"):
        assert phrase in seen.out
    assert "control: AUROC" in seen.err and "3 normal images, 6 defects" in seen.err


def test_json_without_defects_calls_nothing_harmful(vlmad: Vlmad, normals: Path) -> None:
    seen = vlmad(*words("--normal", normals, "--json"))
    found = json.loads(seen.out)
    assert found["defects"] == 0 and len(found["items"]) == 4
    assert {one["finding"] for one in found["items"]} <= {"", "dead"}
    assert all(one["auroc"] is None and one["defect"] is None for one in found["items"])
    assert found["control"]["normal"] > 0


def test_one_sentence_a_state_leaves_nothing_out(vlmad: Vlmad, normals: Path) -> None:
    seen = vlmad("prompts", "-r", "words", "-c", "nut", "--normal", normals)
    assert seen.code == 0 and seen.out == ""
    assert "one sentence only" in seen.err


def test_a_recipe_without_text_is_refused(vlmad: Vlmad, normals: Path) -> None:
    seen = vlmad("prompts", "-r", "remember", "--normal", normals)
    assert seen.code == 1
    assert "no scorer compares with text alone" in " ".join(seen.err.split())
