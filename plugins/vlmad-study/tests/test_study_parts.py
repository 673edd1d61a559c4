"""What a study is made of: leave-one-out, the rule of the recommendation, pages, lists of words."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from vlmad_study.advice import advise, command
from vlmad_study.document import Bullets, Code, Fold, Heading, Shown, Text
from vlmad_study.facts import told_apart
from vlmad_study.groups import groups_of
from vlmad_study.leave_out import anchors_without, effects
from vlmad_study.markdown import as_markdown
from vlmad_study.page import as_page
from vlmad_study.probe import Eyes

from vlmad_core.benchmark.plan import BackboneChoice
from vlmad_core.contracts.ops import l2_normalize
from vlmad_core.contracts.towers import encode_text
from vlmad_core.registry.registry import default_registry
from vlmad_core.report.render import Cell, Table
from vlmad_core.report.speed import Speed
from vlmad_core.testing import tiny_backbone
from vlmad_study.settings import Scope, StudySettings

EYES = Eyes(
    choice=BackboneChoice(use="tiny"),
    depth=3,
    reads=True,
    size=(32, 32),
    provenance={},
    states=(("a fine {}", "{}"), ("a broken {}", "a {} with a hole", "a bent {}")),
    templates=("a photo of {}.", "{} on a table."),
)


def test_the_first_variant_is_the_whole_ensemble_and_each_other_lacks_one_part():
    text = tiny_backbone().text
    found = anchors_without(EYES, text, "nut")
    with torch.no_grad():
        sides = [
            l2_normalize(
                encode_text(text, [t.replace("{}", s.replace("{}", "nut")) for s in states for t in EYES.templates])
            )
            for states in EYES.states
        ]
    assert found.shape == (1 + 2 + 3 + 2, 2, sides[0].shape[-1])
    torch.testing.assert_close(found[0], torch.stack([l2_normalize(side.mean(0)) for side in sides]))
    torch.testing.assert_close(found[1, 0], l2_normalize(sides[0][2:].mean(0)))  # without the first normal state
    assert torch.equal(found[1, 1], found[0, 1])
    torch.testing.assert_close(
        found[-1], torch.stack([l2_normalize(side[::2].mean(0)) for side in sides])
    )  # first template


def _judged(count=60, seed=0):
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
        (e.words, e.metric): e for e in effects([("state", "work"), ("state", "idle")], [_judged(), _judged(seed=1)])
    }
    for metric in ("image_auroc", "pixel_auroc"):
        assert found["work", metric].verdict == "helps"
        assert found["idle", metric].verdict == ""
    hurting = [(scores[[1, 0]], maps[[1, 0]], labels, masks) for scores, maps, labels, masks in [_judged()]]
    assert {effect.verdict for effect in effects([("state", "bad")], hurting)} == {"hurts"}


def test_pixel_values_are_those_of_the_exact_metric():
    from vlmad_core.metrics.image import auroc

    scores, maps, labels, masks = _judged()
    (effect,) = [
        e for e in effects([("state", "work")], [(scores[:2], maps[:2], labels, masks)]) if e.metric == "pixel_auroc"
    ]
    assert effect.value == pytest.approx(auroc(maps[0], masks) - auroc(maps[1], masks), abs=2e-3)


@pytest.fixture
def folder(tmp_path, row):
    """Rows and scores of some methods: label to (separation of image scores, AUPRO, shots)."""

    def write(methods):
        (tmp_path / "scores").mkdir(exist_ok=True)
        labels, rows = np.arange(80) % 2, []
        for name, (apart, aupro, shots) in methods.items():
            scores = apart * labels + np.random.default_rng(len(name)).normal(size=80)
            right = (scores[labels == 1][:, None] > scores[labels == 0]).mean()
            one = row(name, value=float(right), aupro=aupro, shots=shots)
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
    advice = advise(path, rows, [], 4)
    assert (advice.best.method, [one.method for one in advice.worse]) == ("good", ["poor"])
    assert advice.without.method == "poor"


def test_what_looks_worse_is_no_equal_although_the_images_are_too_few_to_show_it(folder):
    path, rows = folder({"high": (2.0, 0.5, 4), "low": (1.5, 0.99, 0)})
    advice = advise(path, rows, [], 4)
    assert advice.ranked[1].method == "low"
    assert advice.worse == ()
    assert advice.best.method == "high"


def test_of_methods_that_are_alike_the_better_map_wins_then_fewer_normals_then_speed(folder):
    path, rows = folder({"a": (3.0, 0.60, 4), "b": (3.0, 0.90, 4)})
    assert advise(path, rows, [], 4).best.method == "b"
    path, rows = folder({"a": (3.0, 0.902, 4), "b": (3.0, 0.90, 0)})
    assert advise(path, rows, [], 4).best.method == "b"
    path, rows = folder({"a": (3.0, 0.90, 4), "b": (3.0, 0.90, 4)})
    speeds = [_speed("a", 20.0), _speed("b", 10.0)]
    assert advise(path, rows, speeds, 4).best.method == "b"


def test_what_learned_from_the_judged_data_is_never_recommended(folder):
    path, rows = folder({"honest": (1.0, 0.5, 0), "cheat": (9.0, 0.9, 0)})
    rows[1]["trained_on_this"] = True
    assert advise(path, rows, [], 4).best.method == "honest"


def test_the_command_names_recipe_backbone_words_and_normal_images(folder):
    path, rows = folder({"a": (3.0, 0.9, 4)})
    best = advise(path, rows, [], 4).best
    assert command(best, {"use": "pocket"}, "r.yaml", {}) == (
        "vlmad predict NEW_IMAGES --recipe winclip --backbone pocket --class-name bolt --normal NORMAL_IMAGES --out "
        "RESULTS"
    )
    assert "--recipe r.yaml" in command(best, {"use": "pocket", "config": {"image_size": 518}}, "r.yaml", {})
    assert "--detector d" in command(best, {"use": "pocket"}, "r.yaml", {"a": "d"})


def _speed(method, p50):
    return Speed(
        method=method, backbone="pocket", image_size=(224, 224), device="cpu", machine="m", dtype="float32", threads=1,
        batch=1, images=10, p50_ms=p50, p95_ms=p50, p99_ms=p50, images_per_second=1.0, peak_memory_mb=None, memory="",
        parameters=1, learned=0, flops=1, shots=4,
    )  # fmt: skip


WORDS = [
    Heading("A <b> & C", 1),
    Heading("Second"),
    Text("`x<y>` **strong** <i> [a](b) *"),
    Bullets(("one", "two")),
    Code("vlmad <x>"),
    Shown(Table(("a", "b"), ((Cell("l<"), Cell(value=1.0)),), 1, "About.")),
    Fold("More", (Text("inside"),)),
]


def test_words_stay_words_on_the_page():
    page = as_page(WORDS, "T <t>")
    for told in (
        "A &lt;b&gt; &amp; C",
        "<code>x&lt;y&gt;</code>",
        "<strong>strong</strong> &lt;i&gt;",
        "vlmad &lt;x&gt;",
    ):
        assert told in page
    assert '<a href="#second">Second</a>' in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_words_stay_words_in_markdown(tmp_path):
    text = as_markdown(WORDS, tmp_path)
    assert "`x<y>` **strong** &lt;i&gt; \\[a\\](b) \\*" in text
    assert "```\nvlmad <x>\n```" in text
    assert text.startswith("# A &lt;b&gt; &amp; C")


def test_groups_are_told_where_the_data_set_is_known():
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
    found = told_apart(StudySettings(**sources), default_registry())
    assert (found.data.name, found.other.name, found.train.name) == ("", "there", "drawn")
    alone = StudySettings(data=sources["data"])
    assert told_apart(alone, default_registry()) == alone


def test_the_reference_is_four_normal_images_or_what_there_is():
    scope = Scope(max_images=None, seeds=1, shots=(0, 1, 2, 4, 8))
    assert scope.reference == 4
    assert replace_shots(scope, (0, 2)).reference == 2
    assert replace_shots(scope, (8,)).reference == 8
    assert replace_shots(scope, (0,)).reference == 0


def replace_shots(scope, shots):
    return scope.model_copy(update={"shots": shots})
