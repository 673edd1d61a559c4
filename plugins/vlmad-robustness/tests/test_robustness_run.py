"""The whole test on a tiny detector: what it writes, that it goes on, and what it states."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import vlmad_core
from vlmad_core.datasets import read_dataset
from vlmad_core.errors import ConfigError
from vlmad_core.metrics import auroc
from vlmad_core.testing import memory_registry
from vlmad_robustness import sections
from vlmad_robustness.data import balanced, find_source
from vlmad_robustness.measure import Measured
from vlmad_robustness.plan import Plan, Speed, cells_of, make_plan
from vlmad_robustness.report import write_report
from vlmad_robustness.run import Run, run_robustness
from vlmad_robustness.subject import Subject, make_subject, rule_of
from vlmad_robustness.summary import Rate, Summary, sanity, summarise


@pytest.fixture
def data(tmp_path):
    """Noise on grey; a bright square where an image is defective."""
    rng = np.random.default_rng(0)
    root = tmp_path / "things"
    for kind, count in (("train/good", 6), ("test/good", 4), ("test/hole", 4)):
        for i in range(count):
            pixels, mask = rng.integers(100, 140, (40, 48, 3), np.uint8), np.zeros((40, 48), np.uint8)
            if kind == "test/hole":
                mask[8 + i : 24 + i, 10:30] = 255
                pixels[mask > 0] = 250
                path = root / "plate" / f"ground_truth/hole/{i}_mask.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(path)
            path = root / "plate" / kind / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root


@pytest.fixture
def run(data):
    registry = memory_registry()
    source = find_source(data)
    normals = [sample.image for sample in source.normals]

    def new():
        spec = {"backbone": {"use": "tiny"}, "extractor": {"use": "patches"}, "scorers": [{"use": "memory"}]}
        return vlmad_core.build(spec, registry=registry)

    def fitted():
        return make_subject("tiny", new(), normals, false_alarms=None, batch_size=4)

    return Run(fitted(), source, {"category": "plate"}, {"again": fitted}, fitted)


def go(run, out, **options):
    options = {"minutes": 5.0, "quick": True, "steps": 5, "restarts": 1, "attack_images": 4, **options}
    return run_robustness(run, out, **options)


def test_a_whole_run_states_auroc_false_alarms_and_misses_of_each_condition(run, tmp_path):
    outcome = go(run, tmp_path / "out", transfers=["again"])
    assert set(outcome.measured) | set(outcome.skipped) == {cell.id for cell in outcome.cells}
    path = write_report(run, outcome, tmp_path / "out")
    report = json.loads((tmp_path / "out/report.json").read_text())
    clean = outcome.measured["clean:working size:0"]
    truth = outcome.images.labels[clean.images]
    assert report["conditions"]["clean:working size:0"]["auroc"] == pytest.approx(auroc(clean.scores, truth))
    for name, condition in report["conditions"].items():
        alarms = np.array(outcome.measured[name].alarms)
        labels = outcome.images.labels[outcome.measured[name].images]
        assert condition["false_alarms"]["count"] == int((alarms & ~labels).sum())
        assert condition["misses"]["count"] == int((~alarms & labels).sum())
    text = path.read_text()
    for section in ("Corruptions and light", "Adversarial images", "Transfer", "A remedy", "What was not tested"):
        assert section in text
    for line in text.splitlines():
        if line.startswith("!["):
            assert (tmp_path / "out" / line.rpartition("(")[2].rstrip(")")).is_file()


def test_a_run_that_stopped_goes_on_and_measures_nothing_twice(run, tmp_path):
    class Stop(Exception):
        pass

    def stop(now):
        if now.done == 7:
            raise Stop

    with pytest.raises(Stop):
        go(run, tmp_path / "out", progress=stop)
    first = (tmp_path / "out/cells.jsonl").read_text()
    seen = []
    outcome = go(run, tmp_path / "out", progress=lambda now: seen.append(now.cell))
    assert (tmp_path / "out/cells.jsonl").read_text().startswith(first)
    assert len(seen) == len(outcome.cells) - 7
    assert len(set(seen)) == len(seen)


def test_another_detector_is_refused_in_the_same_folder(run, tmp_path):
    go(run, tmp_path / "out", minutes=0.001)
    other = Run(run.subject, run.source, {"category": "disc"}, {}, None)
    with pytest.raises(ConfigError, match=r"category was .plate. and is now .disc."):
        go(other, tmp_path / "out")


def test_what_the_time_did_not_allow_is_listed_as_not_tested(run, tmp_path):
    outcome = go(run, tmp_path / "out", minutes=0.001)
    write_report(run, outcome, tmp_path / "out")
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert outcome.skipped
    assert any("the time was up" in text for text in report["not_tested"])


def test_the_objective_is_the_score_that_predict_gives(run):
    pictures = [np.asarray(Image.open(sample.image).resize((32, 32))) for sample in run.source.tests[:3]]
    pixels = run.subject.pixels([Image.fromarray(picture) for picture in pictures])
    with torch.no_grad():
        scores = run.subject.objective()(pixels)
    assert scores.tolist() == pytest.approx([one.score for one in run.subject.judge(iter(pictures))], abs=1e-5)


def test_a_detector_whose_score_is_not_that_of_one_view_is_not_attacked(run, tmp_path, monkeypatch):
    plain = type(run.subject).objective
    monkeypatch.setattr(type(run.subject), "objective", lambda self: lambda x: plain(self)(x) + 1)
    outcome = go(run, tmp_path / "out")
    assert not [name for name in outcome.measured if name.startswith("attack")]
    assert any("several views" in reason for reason in outcome.skipped.values())


def test_a_detector_without_a_calibration_is_refused_with_what_to_do(run):
    run.subject.pipeline.stored_calibration = None
    with pytest.raises(ConfigError, match="vlmad calibrate"):
        rule_of(run.subject.pipeline, None)


def test_with_few_normals_the_lowest_rate_that_they_can_carry_is_taken(run):
    assert run.subject.rule.false_alarms == pytest.approx(1 / 7)


def test_several_categories_must_be_named(data, tmp_path):
    (data / "disc").mkdir()
    for part in ("train/good", "test/good", "test/hole"):
        (data / "disc" / part).mkdir(parents=True)
        for file in (data / "plate" / part).iterdir():
            (data / "disc" / part / file.name).write_bytes(file.read_bytes())
    assert len(read_dataset(data).categories) == 2
    with pytest.raises(ConfigError, match="--category"):
        find_source(data)
    assert len(find_source(data, category="disc").others) == 8


@pytest.mark.parametrize(("count", "expected"), [(2, [0, 4]), (4, [0, 2, 4, 5]), (100, [0, 1, 2, 3, 4, 5])])
def test_images_are_chosen_evenly_from_both_labels(count, expected):
    assert balanced([False] * 4 + [True] * 2, count) == expected


def test_more_time_buys_more_images_and_stronger_attacks():
    labels = [False] * 50 + [True] * 50
    plans = [make_plan(Speed(0.12, 0.35), minutes * 60, labels) for minutes in (2, 20, 200)]
    assert plans[0].images < plans[1].images < plans[2].images == 100
    assert [plan.steps * plan.restarts for plan in plans] == sorted(plan.steps * plan.restarts for plan in plans)
    assert Plan.from_record(plans[0].record()) == plans[0]


def test_a_plan_of_20_minutes_costs_about_20_minutes_for_100_images():
    speed = Speed(0.12, 0.35)
    plan = make_plan(speed, 1200, [False] * 50 + [True] * 50)
    seconds = sum(cell.cost for cell in cells_of(plan)) * speed.forward
    assert 600 < seconds < 1300


def test_rates_have_exact_intervals_and_areas_ignore_what_is_missing():
    rate = Rate(0, 20)
    assert rate.interval == pytest.approx((0, 0.168), abs=1e-3)
    only_normal = summarise(Measured("x", [0, 1], [0.1, 0.2], [False, True], [False, True]), np.array([False, False]))
    assert np.isnan(only_normal.auroc)
    assert (only_normal.false_alarms.count, only_normal.misses.total) == (1, 0)


def test_sanity_fails_where_noise_beats_the_gradient():
    plan = Plan(epsilons=(8,), steps=5, restarts=1)
    measured = {
        "attack:random:raise:8": Measured("attack:random:raise:8", [0], [0.9], [True], [True]),
        "attack:pgd:raise:8": Measured("attack:pgd:raise:8", [0], [0.5], [False], [False]),
        "attack:pgd:raise:64": Measured("attack:pgd:raise:64", [0], [0.5], [False], [False]),
    }
    failed = [check.text for check in sanity(measured, plan) if check.passed is False]
    assert any("random noise" in text for text in failed)
    assert any("64/255" in text for text in failed)


@pytest.mark.parametrize(("now", "bold"), [(0, False), (1, False), (5, True), (17, True)])
def test_bold_is_what_the_images_as_they_are_do_not_explain(now: int, bold: bool) -> None:
    def summary(misses: int) -> Summary:
        return Summary(1.0, (0.89, 1.0), Rate(0, 18), Rate(misses, 18), None, None)

    assert ("**" in sections._row("dust", "3", summary(now), summary(0))) is bold


@pytest.mark.parametrize("values", ["window=0:200", "channels=3,2,1"])
def test_window_and_channels_are_refused_as_they_would_be_applied_twice(run, data, values):
    subject = run.subject
    subject.pipeline.bits = values
    normals = [sample.image for sample in find_source(data).normals]
    with pytest.raises(ConfigError, match=f"'{values}' would be applied to them twice"):
        make_subject("tiny", subject.pipeline, normals, false_alarms=None, batch_size=4)
    with pytest.raises(ConfigError, match=f"'{values}' would be applied to them twice"):
        Subject("tiny", subject.pipeline, subject.rule)
