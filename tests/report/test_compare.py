"""Two methods of one benchmark: paired by image, averaged over seeds and categories, and told plainly."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from vlmad_core.errors import ConfigError
from vlmad_core.metrics import auroc, auroc_interval, average_precision, delong
from vlmad_core.report.compare import compare, comparison_table

TRUTH = np.arange(60) % 2


@pytest.fixture
def add(row, tmp_path):
    """``add(method, category, scores)`` writes a cell as a benchmark does, in ``tmp_path``."""
    (tmp_path / "scores").mkdir()

    def write(method, category, scores, *, paths=None, labels=TRUTH, **changes):
        made = row(method, category, **changes)
        with (tmp_path / "rows.jsonl").open("a") as file:
            file.write(json.dumps(made) + "\n")
        lines = [
            {"path": path, "label": int(label), "kind": "", "score": float(score)}
            for path, label, score in zip(paths or map(str, range(len(scores))), labels, scores, strict=True)
        ]
        (tmp_path / "scores" / f"{made['cell']}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    return write


def scores(quality, seed):
    return np.random.default_rng(seed).normal(size=60) + quality * TRUTH


def same(one, other):
    """Apart from the order of sums."""
    assert (one.method, one.caution) == (other.method, other.caution)
    for name in ("first", "second", "difference", "low", "high", "p"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-12)


def test_one_seed_is_delongs_test_of_each_category_and_their_mean(add, tmp_path):
    for i, category in enumerate("xy"):
        add("good", category, scores(2, i))
        add("bad", category, scores(0.5, 10 + i))
    x, y, mean = compare(tmp_path, "good", "bad")
    same(x.paired, delong(scores(2, 0), scores(0.5, 10), TRUTH))
    assert (x.category, x.good, x.defective, x.seeds, x.verdict) == ("x", 30, 30, 1, "first")
    pairs = x.paired, y.paired
    assert mean.paired.difference == pytest.approx(np.mean([p.difference for p in pairs]))
    half = np.hypot(*((p.high - p.low) / 2 for p in pairs)) / 2
    assert mean.paired.high - mean.paired.difference == pytest.approx(half)
    assert mean.paired.low > 0 and mean.paired.p < min(p.p for p in pairs)
    assert (mean.category, mean.good, mean.defective) == ("mean", 60, 60)


def test_order_of_lines_does_not_matter_since_images_are_paired_by_path(add, tmp_path):
    order = np.random.default_rng(5).permutation(60)
    add("a", "x", scores(1, 0))
    add("b", "x", scores(2, 1)[order], labels=TRUTH[order], paths=[str(i) for i in order])
    (one,) = compare(tmp_path, "a", "b")
    same(one.paired, delong(scores(1, 0), scores(2, 1), TRUTH))


def test_swapping_the_two_swaps_the_verdict(add, tmp_path):
    add("a", "x", scores(3, 0))
    add("b", "x", scores(0.2, 1))
    assert [compare(tmp_path, *pair)[0].verdict for pair in (("a", "b"), ("b", "a"))] == ["first", "second"]


def test_the_same_scores_show_no_difference(add, tmp_path):
    for method in "ab":
        add(method, "x", scores(1, 0))
    found = compare(tmp_path, "a", "b")
    assert (found[0].verdict, found[0].paired.p) == ("none", 1.0)
    assert comparison_table(found, "a", "b").rows[0][-1].text == "no difference shown"


def test_several_seeds_are_averaged_and_bootstrapped_over_images(add, tmp_path):
    for seed in range(3):
        add("a", "x", scores(1.5, seed), shots=4, seed=seed)
        add("b", "x", scores(0.5, 20 + seed), shots=4, seed=seed)
    add("words", "x", scores(0.5, 30))
    (one,) = compare(tmp_path, "a", "b")
    assert (one.seeds, one.paired.method) == (3, "bootstrap")
    assert one.paired.first == pytest.approx(np.mean([auroc(scores(1.5, s), TRUTH) for s in range(3)]))
    (alone,) = compare(tmp_path, "a", "words")  # words have one run, whatever the seeds
    assert alone.seeds == 3 and alone.paired.first == one.paired.first
    assert alone.paired.second == pytest.approx(auroc(scores(0.5, 30), TRUTH))


def test_other_image_metrics_are_bootstrapped(add, tmp_path):
    add("a", "x", scores(1, 0))
    add("b", "x", scores(1, 1))
    (one,) = compare(tmp_path, "a", "b", metric="image_ap")
    assert one.paired.first == pytest.approx(average_precision(scores(1, 0), TRUTH))
    with pytest.raises(ConfigError, match="compared by image_auroc"):
        compare(tmp_path, "a", "b", metric="aupro")


def test_images_that_one_did_not_judge_are_left_out_and_told(add, tmp_path):
    add("a", "x", scores(1, 0))
    add("b", "x", scores(1, 1)[:50], labels=TRUTH[:50])
    (one,) = compare(tmp_path, "a", "b")
    assert (one.good, one.defective) == (25, 25)
    assert one.reason == "On the 50 of 60 images that all runs scored."


def test_what_cannot_be_compared_is_a_dash_with_its_reason_and_the_mean_says_so(add, tmp_path):
    for method in "ab":
        add(method, "x", scores(1, 0))
        add(method, "z", scores(1, 0)[:3], labels=TRUTH[:3])
    add("a", "y", scores(1, 0))
    x, y, z, mean = compare(tmp_path, "a", "b")
    assert x.paired is not None and y.paired is None and z.paired is None
    assert y.reason == "Scored by one of the two alone."
    assert z.reason == "Fewer than two images of a kind in common."
    assert mean.reason == "Mean of 1 of 3 categories."
    made = comparison_table([x, y, z, mean], "a", "b")
    assert [cell.shown() for cell in made.rows[1][2:]] == ["\u2013"] * 5
    assert {y.reason, z.reason, mean.reason} <= set(made.notes)


def test_shots_and_backbones_that_could_be_meant_must_be_said(add, tmp_path):
    for shots in (0, 4):
        for method in ("a", "b:2"):
            add(method, "x", scores(1, shots), shots=shots)
    with pytest.raises(ConfigError, match=r"shots 0, 4; choose one, such as a:4"):
        compare(tmp_path, "a", "b:2:4")
    assert compare(tmp_path, "a:0", "b:2:0")[0].verdict == "none"
    assert compare(tmp_path, "a:0", "a:4")[0].paired is not None
    add("c", "x", scores(1, 0))
    add("c", "x", scores(1, 0), backbone="other")
    with pytest.raises(ConfigError, match="--backbone"):
        compare(tmp_path, "a:0", "c")
    with pytest.raises(ConfigError, match="not run with 8 normal images"):
        compare(tmp_path, "a:8", "c")
    with pytest.raises(ConfigError, match="not run with 0 normal images and backbone 'none'"):
        compare(tmp_path, "a:0", "c", backbone="none")
    with pytest.raises(ConfigError, match=r"no method 'x' was run; there are a, b:2, c"):
        compare(tmp_path, "x", "a:0")


def test_nothing_in_common_and_lost_scores_are_told(add, tmp_path):
    with pytest.raises(ConfigError, match="holds no benchmark"):
        compare(tmp_path, "a", "b")
    add("a", "x", scores(1, 0))
    add("b", "y", scores(1, 0))
    with pytest.raises(ConfigError, match="no category in common"):
        compare(tmp_path, "a", "b")
    add("b", "x", scores(1, 0))
    (broken,) = (tmp_path / "scores").glob("b-parts-x-*")
    broken.write_text("{}\n")
    with pytest.raises(ConfigError, match="does not hold scores"):
        compare(tmp_path, "a", "b")
    broken.unlink()
    with pytest.raises(ConfigError, match="is missing; run the benchmark again"):
        compare(tmp_path, "a", "b")


def test_the_table_says_how_it_was_tested(add, tmp_path):
    add("a", "x", scores(2, 0))
    add("b", "x", scores(0.3, 1))
    found = compare(tmp_path, "a", "b")
    made = comparison_table(found, "a", "b")
    assert "DeLong's test" in made.caption
    line = dict(zip(made.columns, made.rows[0], strict=True))
    assert line["verdict"].text == "a better" and line["verdict"].strong
    assert line["difference"].signed and line["p"].text == "<0.001"
    few = replace(found[0], paired=replace(found[0].paired, caution="Only 3 normal images."))
    assert "Only 3 normal images." in comparison_table([few], "a", "b").notes


def test_two_that_are_perfect_are_told_and_so_is_their_mean(add, tmp_path):
    for name in ("one", "two"):
        add(name, "easy", TRUTH + scores(0, ord(name[0])) / 100)
        add(name, "hard", scores(1, len(name) + ord(name[0])))
    easy, hard, mean = compare(tmp_path, "one", "two")
    low, _ = auroc_interval(1.0, 30, 30)
    assert (easy.paired.low, easy.paired.high) == pytest.approx((low - 1, 1 - low))
    assert (easy.paired.difference, easy.paired.p, easy.verdict) == (0, 1, "none")
    assert easy.reason == "Both are perfect on these images, so they say little of harder ones."
    assert hard.reason == ""
    assert mean.reason == "In 1 of them both are perfect."
    line = comparison_table([easy], "one", "two").rows[0]
    assert [cell.shown() for cell in line[2:4]] == [f"100.0 ({100 * low:.1f} to 100.0)"] * 2


@pytest.mark.parametrize("metric", ["image_auroc", "image_ap", "image_f1max"])
def test_perfect_samples_never_have_an_interval_without_width(add, tmp_path, metric):
    for name in ("one", "two"):
        for seed in range(2):
            add(name, "easy", TRUTH + scores(0, seed + ord(name[0])) / 100, shots=1, seed=seed)
    (easy,) = compare(tmp_path, "one", "two", metric=metric)
    assert np.isnan(easy.paired.low) or easy.paired.low < 0 < easy.paired.high
    text = " ".join(cell.shown() for cell in comparison_table([easy], "one", "two", metric).rows[0])
    assert "0.0 to 0.0" not in text and "100.0 to 100.0" not in text


def test_a_method_is_found_without_its_backbone_where_that_is_clear(add, tmp_path):
    add("winclip (pocket)", "x", scores(3, 0))
    add("b", "x", scores(0.2, 1))
    assert compare(tmp_path, "winclip", "b")[0].verdict == "first"
    add("winclip (tiny)", "x", scores(3, 0))
    with pytest.raises(ConfigError, match=r"no method 'winclip' was run; there are b, winclip \(pocket\)"):
        compare(tmp_path, "winclip", "b")
