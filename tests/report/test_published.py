"""Published numbers: read back as they were written down, and compared with nothing that is not the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from vlmad_core.datasets.published import MVTEC_AD, VISA
from vlmad_core.errors import ConfigError
from vlmad_core.report.means import METRICS
from vlmad_core.report.published import against, lookup, results


def values(method, dataset, shots=0, by="paper"):
    return {one.metric: one.value for one in lookup(method, dataset, shots, by=by)}


@pytest.fixture
def benchmark(row):
    """Every category of a data set, as a benchmark of the paper's own setting has them."""

    def make(facts=MVTEC_AD, name="mvtec-ad", **changes):
        own = {"backbone": "ViT-B-16-plus-240", "image_size": [240, 240], **changes}
        counts = facts.counts.items()
        return [
            row(category=category, dataset=name, good=n["test/good"], defective=n["test/defective"], **own)
            for category, n in counts
        ]

    return make


def cells(made, metric):
    (line,) = [line for line in made.rows if line[made.columns.index("metric")].text == metric]
    return [line[made.columns.index(name)] for name in ("ours", "published", "difference")]


@pytest.mark.parametrize(
    ("method", "dataset", "shots", "by", "expected"),
    [
        ("winclip", "mvtec-ad", 0, "paper", [91.8, 96.5, 85.1, 64.6, 92.94, 31.65]),
        ("winclip", "visa", 0, "zqhang", [75.5, 78.7, 73.2, 51.0, 78.2, 9.0]),
        ("april-gan", "mvtec-ad", 0, "paper", [86.1, 93.5, 87.6, 44.0]),
        ("anomalyclip", "visa", 0, "repository log", [82.0, 85.3, 95.5, 86.7]),
        ("winclip", "visa", 4, "paper", [87.3, 88.8, 97.2, 87.6, 84.2, 47.0]),
        ("april-gan", "visa", 1, "paper", [91.2, 93.3, 96.0, 90.0, 86.9, 38.5]),
    ],
)
def test_numbers_as_they_were_printed(method, dataset, shots, by, expected):
    assert list(values(method, dataset, shots, by).values()) == expected


def test_recipes_find_their_method_and_spreads_are_kept():
    (one,) = [
        one for one in lookup("winclip-few-shot", "mvtec-ad", 1) if one.metric == "pixel_auroc" and one.by == "paper"
    ]
    assert (one.value, one.std) == (95.2, 0.5)
    assert lookup("anomalyclip", "mvtec-ad", 4) == ()


@pytest.mark.parametrize(("method", "dataset"), [("winclpi", "visa"), ("winclip", "mvtec")])
def test_unknown_names_are_told_from_the_known(method, dataset):
    with pytest.raises(ConfigError, match=r"Did you mean '(winclip|mvtec-ad)'"):
        lookup(method, dataset)


def test_every_number_is_plausible_and_its_setting_follows_from_its_method():
    everything = results()
    assert len({(o.method, o.by, o.dataset, o.shots, o.metric) for o in everything}) == len(everything) == 151
    for one in everything:
        assert one.metric in {*METRICS, "aupro_unknown"} and 0 < one.value < 100 and 0 <= (one.std or 0) < 5
        auxiliary = one.method != "winclip"
        assert one.setting == ("few-shot" if one.shots else "zero-shot") + ", auxiliary data" * auxiliary
        # WinCLIP's authors did not publish how AUPRO was computed; the others' code takes 200 steps.
        paper = (one.method, one.by) == ("winclip", "paper")
        assert one.metric != ("aupro_200" if paper else "aupro_unknown")


def test_ours_theirs_and_what_is_too_far_off(benchmark):
    made = against(benchmark(value=0.92))
    ours, theirs, difference = cells(made, "image AUROC")
    assert (ours.value, theirs.value) == (pytest.approx(92), 91.8)
    assert difference.value == pytest.approx(0.2) and not difference.strong
    assert difference.shown() == "+0.2"
    far = cells(made, "image AP")[2]
    assert far.value == pytest.approx(-4.5) and far.strong
    assert made.rows[0][1].notes == ()  # all is as the paper has it


def test_the_margin_gives_way_to_twice_the_published_spread(benchmark):
    rows = benchmark(recipe="winclip-few-shot", shots=1, value=0.931 + 0.039)
    assert not cells(against(rows), "image AUROC")[2].strong  # 3.9 points; published with 2.0
    assert cells(against(rows), "pixel AUROC")[2].strong  # 1.8 points; published with 0.5
    assert not cells(against(rows, margin=2), "pixel AUROC")[2].strong
    with pytest.raises(ConfigError, match="at least 0"):
        against(rows, margin=-1)


def test_aupro_of_another_variant_is_never_compared(benchmark):
    ours, _, difference = cells(against(benchmark(value=0.646, aupro_200=0.646)), "AUPRO, unknown variant")
    assert (ours.value, difference.value) == (None, None)
    april = {"recipe": "april-gan", "method": "april-gan"}
    ours, _, difference = cells(against(benchmark(value=0.44, **april)), "AUPRO, 200 steps")
    assert (ours.value, difference.value) == (None, None)  # exact alone was measured
    assert "200 steps" in ours.notes[0]
    ours, _, difference = cells(against(benchmark(value=0.9, aupro_200=0.45, **april)), "AUPRO, 200 steps")
    assert ours.value == pytest.approx(45) and difference.value == pytest.approx(1)


def test_only_the_mean_over_all_categories_is_compared(benchmark):
    made = against(benchmark()[2:])
    ours, _, difference = cells(made, "image AUROC")
    assert (ours.value, difference.value) == (None, None)
    assert "2 of 15 categories are missing (bottle, cable)" in ours.notes[0]


def test_settings_stand_apart(benchmark):
    rows = [*benchmark(method="ag", recipe="april-gan"), *benchmark(method="w")]
    made = against(rows)
    settings = [line[made.columns.index("setting")].text for line in made.rows]
    assert settings == ["zero-shot"] * 6 + ["zero-shot, auxiliary data"] * 4
    assert "not rivals" in made.caption


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbone": "pocket"}, "backbone pocket in place of ViT-B-16-plus-240"),
        ({"image_size": [480, 480]}, "480 x 480 pixels in place of 240"),
        ({"extractor": "dpam"}, "extractor dpam in place of windows"),
        ({"trained_on_this": True}, "Trained on the data set"),
    ],
)
def test_what_is_not_the_published_setting_is_marked(benchmark, changes, said):
    made = against(benchmark(VISA, "visa", **changes))
    assert any(said in note for note in made.rows[0][1].notes)


def test_the_model_in_the_spec_is_what_counts(benchmark):
    spec = {"backbone": {"use": "open-clip", "config": {"model": "ViT-B-16-plus-240"}}}
    assert against(benchmark(backbone="mine", spec=spec)).rows[0][1].notes == ()


def test_a_part_of_the_images_is_marked(benchmark):
    rows = benchmark()
    rows[3]["good"] -= 1
    assert "Not tested on all images of carpet." in against(rows).notes


def test_a_data_set_is_known_by_its_name_or_by_all_of_its_categories(benchmark, row):
    assert against(benchmark(name="MVTec_AD")) is not None
    assert against(benchmark(name="my copy")) is not None
    assert against(benchmark(name="my copy")[1:]) is None
    assert against([row(dataset="mvtec-ad", category="my own")]) is None
    assert against([row()]) is None
    assert against(benchmark(recipe="clip")) is None
    assert against(benchmark(shots=8)) is None
    assert against(benchmark(status="skipped")) is None
    assert against([]) is None


def test_a_reimplementation_is_compared_with_its_own_numbers(benchmark):
    made = against(benchmark(recipe="winclip-zq", value=0.904))
    assert cells(made, "image AUROC")[2].value == pytest.approx(0)
    assert {line[-1].text for line in made.rows} == {"zqhang"}
    assert cells(against(benchmark(value=0.7017), by="caoyunkang"), "image AUROC")[2].value == pytest.approx(0)


def test_the_page_of_the_docs_is_up_to_date():
    home = Path(__file__).parents[2] / "docs" / "build_published.py"
    spec = importlib.util.spec_from_file_location("build_published", home)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run: python docs/build_published.py"
