"""Ablation of prompts, the rule of the recommendation, its headline, and names of data sets."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from vlmad_compositional.compositional import Compositional
from vlmad_compositional.plugin import CompositionalConfig
from vlmad_core.benchmark import BackboneChoice
from vlmad_core.contracts import Ensemble
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.registry import default_registry
from vlmad_core.report import Speed
from vlmad_core.testing import memory_registry, tiny_backbone
from vlmad_study.ablation import effects, embeddings_without, parts_of
from vlmad_study.backbone import BackboneInfo
from vlmad_study.class_names import groups_of
from vlmad_study.data import with_distinct_names
from vlmad_study.recommendation import headline, recommend
from vlmad_study.settings import Scope, StudySettings

WORDS = {
    "backbone": "tiny",
    "extractor": {"use": "patches", "config": {"space": "joint"}},
    "prompts": "templates",
    "scorers": ["text-match"],
}


@pytest.fixture
def info():
    """A backbone whose prompts are an ensemble of a few states and templates."""
    ensemble = Ensemble(
        (("a fine {}", "{}"), ("a broken {}", "a {} with a hole", "a bent {}")), ("a photo of a {}.", "{}.")
    )
    lists = {"states": {"normal": list(ensemble.states[0]), "abnormal": list(ensemble.states[1])}}
    return lists, ensemble


@pytest.mark.parametrize("average", ["unit", "raw"])
def test_the_prompts_of_each_variant_are_those_of_their_own_plugin(info, average):
    lists, ensemble = info
    config = {**lists, "templates": list(ensemble.templates), "average": average}
    registry = memory_registry()
    registry.add("vlmad_compositional.plugin", "vlmad-compositional")
    model = tiny_backbone()
    spec = resolve({**WORDS, "prompts": {"use": "compositional", "config": config}}, registry=registry).spec
    one = BackboneInfo(BackboneChoice(use="tiny"), model, 3, (32, 32), {}, "", spec, ensemble)
    parts = parts_of(one)
    found = embeddings_without(one, parts, "nut", registry)
    assert found.shape == (1 + 2 + 3 + 2, 2, model.text.dim)
    assert [part.kind for part in parts] == ["normal state"] * 2 + ["abnormal state"] * 3 + ["template"] * 2
    without = {"normal": ["{}"], "abnormal": list(ensemble.states[1])}
    expected = {0: config, 1: {**config, "states": without}, 7: {**config, "templates": [ensemble.templates[0]]}}
    for place, options in expected.items():
        made = Compositional(CompositionalConfig(**options), model)
        with torch.no_grad():
            torch.testing.assert_close(found[place], made(model.text, ["nut"]).vectors[0])


def _tested(count=60, seed=0):
    """The whole ensemble, one without a part that does the work, one without a part that is noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2 == 0
    noise = rng.normal(size=count)
    scores = np.stack([2.0 * labels + noise, noise, 2.0 * labels + noise + 1e-9])
    masks = np.zeros((count, 8, 8), bool)
    masks[labels, 2:5, 2:5] = True
    pixels = rng.normal(size=(count, 8, 8))
    maps = np.stack([pixels + 2 * masks, pixels, pixels + 2 * masks])
    return scores, maps, labels, masks


def test_a_part_that_does_the_work_helps_and_one_that_does_nothing_is_not_blamed():
    found = {
        (e.text, e.metric): e for e in effects([("state", "work"), ("state", "idle")], [_tested(), _tested(seed=1)])
    }
    for metric in ("image_auroc", "pixel_auroc"):
        assert found["work", metric].verdict == "helps"
        assert found["idle", metric].verdict == ""
    hurting = [(scores[[1, 0]], maps[[1, 0]], labels, masks) for scores, maps, labels, masks in [_tested()]]
    assert {effect.verdict for effect in effects([("state", "bad")], hurting)} == {"hurts"}


def test_pixel_values_are_those_of_the_exact_metric():
    from vlmad_core.metrics.image import auroc

    scores, maps, labels, masks = _tested()
    (effect,) = [
        e for e in effects([("state", "work")], [(scores[:2], maps[:2], labels, masks)]) if e.metric == "pixel_auroc"
    ]
    assert effect.value == pytest.approx(auroc(maps[0], masks) - auroc(maps[1], masks), abs=2e-3)


@pytest.fixture
def folder(tmp_path):
    """Rows and scores of some methods: label to (separation of image scores, AUPRO, shots)."""

    def write(methods):
        (tmp_path / "scores").mkdir(exist_ok=True)
        labels, rows = np.arange(80) % 2, []
        for name, (apart, aupro, shots) in methods.items():
            scores = apart * labels + np.random.default_rng(len(name)).normal(size=80)
            right = (scores[labels == 1][:, None] > scores[labels == 0]).mean()
            one = _row(name, float(right), aupro, shots)
            rows.append(one)
            lines = [
                json.dumps({"path": str(i), "label": int(k), "score": float(s)})
                for i, (k, s) in enumerate(zip(labels, scores, strict=True))
            ]
            (tmp_path / f"scores/{one['cell']}.jsonl").write_text("\n".join(lines) + "\n")
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
        return tmp_path, rows

    return write


def test_a_method_that_is_shown_to_be_worse_is_not_recommended_however_well_it_marks(folder):
    path, rows = folder({"good": (4.0, 0.6, 4), "poor": (0.1, 0.99, 0)})
    found = recommend(path, rows, [], 4)
    assert (found.best.method, [one.method for one in found.worse]) == ("good", ["poor"])
    assert found.without.method == "poor"


def test_what_looks_worse_is_no_equal_although_the_images_are_too_few_to_show_it(folder):
    path, rows = folder({"high": (2.0, 0.5, 4), "low": (1.5, 0.99, 0)})
    found = recommend(path, rows, [], 4)
    assert found.ranked[1].method == "low"
    assert found.worse == ()
    assert found.best.method == "high"


def test_of_methods_that_are_alike_the_better_map_wins_then_fewer_normals_then_speed(folder):
    path, rows = folder({"a": (3.0, 0.60, 4), "b": (3.0, 0.90, 4)})
    assert recommend(path, rows, [], 4).best.method == "b"
    path, rows = folder({"a": (3.0, 0.902, 4), "b": (3.0, 0.90, 0)})
    assert recommend(path, rows, [], 4).best.method == "b"
    path, rows = folder({"a": (3.0, 0.90, 4), "b": (3.0, 0.90, 4)})
    speeds = [_speed("a", 20.0), _speed("b", 10.0)]
    assert recommend(path, rows, speeds, 4).best.method == "b"
    assert recommend(path, rows, speeds[1:], 4).best.method == "a"  # of which nothing is known to be slower


def test_what_learned_from_the_tested_data_is_never_recommended(folder):
    path, rows = folder({"honest": (1.0, 0.5, 0), "cheat": (9.0, 0.9, 0)})
    rows[1]["trained_on_this"] = True
    assert recommend(path, rows, [], 4).best.method == "honest"


def test_a_headline_says_no_more_than_the_tests_show(folder):
    path, rows = folder({"good": (4.0, 0.6, 4), "poor": (0.1, 0.99, 0)})
    assert headline(recommend(path, rows, [], 4))[0].endswith("it is better than every other method on these images.")
    path, rows = folder({"high": (2.0, 0.5, 4), "low": (1.5, 0.99, 0)})
    first, facts = headline(recommend(path, rows, [], 4))
    assert "do not show it to be better than “low” without normal images." in first
    assert "on 40 normal and 40 defective images" in facts
    rows[0] |= {"image_auroc_low": 0.45, "image_auroc_high": 0.99}
    assert headline(recommend(path, rows, [], 4))[0].startswith("No method is shown to work")


def _row(method, value, aupro, shots):
    row = dict.fromkeys(("error", "weights", "extractor", "prompts", "resolution", "pixel_bound", "seconds"))
    row |= {"cell": f"{method}-{shots}", "status": "done", "dataset": "d", "category": "c", "class_name": "bolt"}
    row |= {"method": method, "recipe": "r", "backbone": "b", "image_size": [8, 8], "scorers": ["memory"]}
    row |= {"shots": shots, "seed": 0, "good": 40, "defective": 40, "unreadable": [], "trained_on": []}
    row |= {"image_auroc": value, "image_auroc_low": value - 0.05, "image_auroc_high": min(1.0, value + 0.05)}
    return row | {"pixel_auroc": value, "aupro": aupro, "pixel_exact": True, "trained_on_this": False}


def _speed(method, p50):
    return Speed(
        method=method, backbone="pocket", image_size=(224, 224), device="cpu", machine="m", dtype="float32", threads=1,
        batch=1, images=10, p50_ms=p50, p95_ms=p50, p99_ms=p50, images_per_second=1.0, peak_memory_mb=None, memory="",
        parameters=1, learned=0, flops=1, shots=4,
    )  # fmt: skip


def test_groups_are_known_where_the_data_set_is_known():
    assert groups_of("visa-converted", ["pcb1", "cashew"])["assemblies"] == ("pcb1",)
    assert groups_of("things", ["wood"]) == {}


def test_data_sets_of_one_name_are_called_by_their_folders(tmp_path):
    for folder in ("here", "there", "drawn"):
        for kind in ("train/good", "test/good", "test/bent"):
            place = tmp_path / folder / "bottle" / kind
            place.mkdir(parents=True)
            (place / "000.png").touch()
    paths = {"data": tmp_path / "here", "other": tmp_path / "there", "train": tmp_path / "drawn"}
    sources = {name: {"path": path, "layout": "mvtec-ad"} for name, path in paths.items()}
    found = with_distinct_names(StudySettings(**sources), default_registry())
    assert (found.data.name, found.other.name, found.train.name) == ("", "there", "drawn")
    alone = StudySettings(data=sources["data"])
    assert with_distinct_names(alone, default_registry()) == alone


def test_the_reference_is_four_normal_images_or_what_there_is():
    scope = Scope(seeds=1, train_images=10, shots=(0, 1, 2, 4, 8))
    assert scope.reference == 4
    assert replace_shots(scope, (0, 2)).reference == 2
    assert replace_shots(scope, (8,)).reference == 8
    assert replace_shots(scope, (0,)).reference == 0


def replace_shots(scope, shots):
    return scope.model_copy(update={"shots": shots})
