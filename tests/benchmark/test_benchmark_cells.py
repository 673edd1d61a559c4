"""What a plan says will run: every combination that fits, each with its images, and a reason for what does not."""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import vlmad_core
from vlmad_core import BenchmarkPlan
from vlmad_core.benchmark.categories import draw
from vlmad_core.benchmark.cells import find_cells, path_of
from vlmad_core.benchmark.plan import read_plan
from vlmad_core.datasets.content import known_hashes
from vlmad_core.errors import ConfigError, UnknownComponentError
from vlmad_core.testing import memory_registry


def cells_of(plan, registry):
    return find_cells(read_plan(plan), registry)


def test_every_method_meets_every_category_number_of_shots_and_seed(make_plan, registry):
    cells = cells_of(make_plan(shots=[0, 1, 2], seeds=3, image_sizes=[(32, 32), (64, 64)]), registry)
    seen = {
        (c.method, c.category.name, tuple(c.spec.backbone.config["image_size"]), c.shots, c.seed)
        for c in cells
        if c.status == "waiting"
    }
    sizes, kinds = ((32, 32), (64, 64)), ("kind_0", "kind_1")
    zero = {("words", kind, size, 0, 0) for kind in kinds for size in sizes}
    few = {
        (method, kind, size, shots, seed)
        for method in ("words", "remember")
        for kind in kinds
        for size in sizes
        for shots in (1, 2)
        for seed in range(3)
    }
    assert seen == zero | few
    assert len({cell.key for cell in cells}) == len(cells)


def test_a_memory_has_no_zero_shots_and_words_are_taken_over_by_their_few_shot_recipe(make_plan, registry):
    cells = cells_of(make_plan(shots=[0, 2], categories="kind_0"), registry)
    message = {(cell.method, cell.shots): (cell.status, cell.recipe) for cell in cells}
    assert message == {
        ("words", 0): ("waiting", "words"),
        ("words", 2): ("waiting", "words-few-shot"),
        ("remember", 0): ("skipped", "remember"),
        ("remember", 2): ("waiting", "remember"),
    }
    (skipped,) = [cell for cell in cells if cell.status == "skipped"]
    assert skipped.reason == "'remember' compares with normal images, so it does not run with 0 shots."


def test_words_alone_with_shots_are_skipped_with_a_reason(make_plan, registry):
    method = {"label": "words alone", "recipe": "words", "scorers": "text-match"}
    cells = cells_of(make_plan(methods=[method], shots=[1]), registry)
    assert {cell.status for cell in cells} == {"skipped"}
    assert (
        cells[0].reason
        == "'words alone' has no memory, so normal images are of no use to it; it runs with 0 shots alone."
    )


def test_references_are_drawn_by_seed_without_replacement_and_nested(make_plan, registry):
    cells = cells_of(make_plan(methods=["remember"], shots=[1, 2, 4], seeds=4, categories=["kind_1"]), registry)
    drawn = {(cell.seed, cell.shots): [path_of(s, cell.category.root) for s in cell.references] for cell in cells}
    for seed in range(4):
        four = drawn[seed, 4]
        assert len(set(four)) == 4
        assert all(path.startswith("kind_1/train/good/") for path in four)
        assert drawn[seed, 1] == four[:1]
        assert drawn[seed, 2] == four[:2]
    assert len({tuple(drawn[seed, 4]) for seed in range(4)}) > 1
    again = cells_of(make_plan(methods=["remember"], shots=[4], seeds=[2], categories=["kind_1"]), registry)
    assert [path_of(s, again[0].category.root) for s in again[0].references] == drawn[2, 4]


def test_draw_is_pythons_sample_of_the_sorted_list():
    pool = [f"{i:03}" for i in range(30)]
    assert list(draw(pool, 7)) == random.Random(7).sample(pool, 30)


def test_a_given_list_is_taken_in_its_order_and_never_judged(make_plan, registry):
    given = ["kind_0/test/good/002.png", "kind_0/train/good/001.png"]
    plan = make_plan(
        methods=["remember"], shots=[1, 2], seeds=3, references={"kind_0": given}, categories=["kind_0", "kind_1"]
    )
    cells = cells_of(plan, registry)
    mine = [cell for cell in cells if cell.category.name == "kind_0"]
    assert [[path_of(s, c.category.root) for s in c.references] for c in mine] == [given[:1], given]
    assert given[0] not in {path_of(s, mine[0].category.root) for s in mine[0].category.test_samples}
    assert len(mine[0].category.test_samples) == 5
    assert len([cell for cell in cells if cell.category.name == "kind_1"]) == 6


def test_most_keeps_so_many_of_each_label_and_the_same_ones(make_plan, registry):
    first, second = (cells_of(make_plan(max_images=2, shots=[1], seeds=[seed]), registry)[0] for seed in (0, 9))
    judged = [sample.label for sample in first.category.test_samples]
    assert sorted(judged) == [False, False, True, True]
    assert [s.image for s in first.category.test_samples] == [s.image for s in second.category.test_samples]


def test_too_few_normal_images_fail_the_cell_and_not_the_plan(make_plan, registry):
    cells = cells_of(make_plan(methods=["remember"], shots=[5, 6], categories="kind_0"), registry)
    assert [cell.status for cell in cells] == ["waiting", "failed"]
    assert cells[1].reason == "things/kind_0: has 5 normal images to draw 6 from (train/good)."


def test_a_grid_is_a_product_of_parts(make_plan, registry):
    grid = {
        "recipe": "words",
        "extractor": ["patches", {"use": "patches", "config": {"layers": [1, 2]}}],
        "prompts": ["templates", {"use": "templates", "config": {"normal": ["a {}"]}}],
        "scorers": [["text-match"], ["text-match", "memory"]],
    }
    with pytest.raises(ConfigError, match="two methods would be called 'words, patches, templates, text-match'"):
        cells_of(make_plan(methods=[], grid=grid), registry)
    grid["extractor"], grid["prompts"] = grid["extractor"][:1], ["templates"]
    plan = read_plan(make_plan(methods=[], grid=grid, shots=[1]))
    assert [m.name for m in plan.all_methods()] == [
        "words, patches, templates, text-match",
        "words, patches, templates, text-match + memory",
    ]
    assert {cell.status for cell in find_cells(plan, registry)} == {"skipped", "waiting"}


def test_the_key_changes_with_everything_that_decides_a_row_and_with_nothing_else(make_plan, data, registry):
    def key(**changes):
        plan = {"methods": [{"label": "m", "recipe": "remember"}], "shots": [2], "categories": ["kind_0"], **changes}
        (cell,) = cells_of(make_plan(**plan), registry)
        return cell.key

    plain = key()
    assert len(plain) == 16
    assert key(batch_size=3, memory_gb=0, workers=1) == plain
    assert key(class_names={"kind_1": "thing"}) == plain
    others = [
        key(seeds=[1]),
        key(shots=[1]),
        key(resolution=16),
        key(max_images=1),
        key(class_names={"kind_0": "thing"}),
        key(methods=[{"label": "m", "recipe": "remember", "overrides": {"scorers.0.config.top": 0.1}}]),
        key(backbones=[{"label": "tiny", "use": "tiny", "config": {"seed": 1}}]),
        key(aupro_200=True),
    ]
    (data / "kind_0/test/good/000.png").rename(data / "kind_0/test/good/100.png")
    others.append(key())
    for changed in ("test/good/001.png", "ground_truth/hole/000_mask.png", "train/good"):
        for path in sorted((data / "kind_0").glob(f"{changed}*/*" if changed == "train/good" else changed)):
            Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
        others.append(key())
    assert len({plain, *others}) == len(others) + 1
    copy = data / "kind_0/test/hole/000.png"
    copy.write_bytes(copy.read_bytes())  # the same content at another time
    assert key() == others[-1]


def test_a_plan_is_the_same_from_yaml_json_and_python(make_plan, tmp_path):
    plan = make_plan(shots=[0, 4], seeds=3, backbones={"use": "tiny", "config": {"seed": 3}})
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    (tmp_path / "plan.yaml").write_text(json.dumps(plan))  # JSON is YAML
    wanted = BenchmarkPlan(**plan)
    assert read_plan(tmp_path / "plan.json") == read_plan(tmp_path / "plan.yaml") == read_plan(plan) == wanted
    assert wanted.seeds == (0, 1, 2)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"shot": [1]}, r"plan.shot: no such option of 'the plan'. Did you mean 'shots'\?"),
        ({"shots": [-1]}, r"plan.shots.0: must be greater than or equal to 0, got -1."),
        (
            {"methods": [{"recipe": "words", "extracter": "x"}]},
            r"plan.methods.0.extracter: .*Did you mean 'extractor'\?",
        ),
        ({"methods": [{"label": "x"}]}, "a method is either a recipe or a detector; give one of them"),
        ({"methods": []}, "needs methods or a grid"),
        ({"methods": ["words", "words"]}, "two methods would be called 'words'; give each a label of its own"),
        ({"backbones": ["tiny", {"use": "tiny"}]}, "two backbones would be called 'tiny'"),
        ({"categories": ["kind_9"]}, r"plan.categories: no category 'kind_9' in the data. Did you mean 'kind_[01]'\?"),
        ({"class_names": {"kind": "x"}}, "plan.class_names: no category 'kind' in the data"),
        (
            {"references": {"kind_0": ["kind_0/train/good/9.png"]}},
            "plan.references: no image 'kind_0/train/good/9.png'",
        ),
        ({"references": {"kind_0": ["kind_0/test/hole/000.png"]}}, "is defective; references are normal images"),
        ({"methods": [{"recipe": "words", "overrides": {"scorers.0.config.topp": 1}}]}, "topp: no such option"),
        ({"methods": [{"detector": "nowhere"}]}, "method 'nowhere': nowhere: holds no detector"),
    ],
)
def test_a_slip_is_told_with_its_path_before_anything_runs(make_plan, registry, tmp_path, changes, error):
    with pytest.raises(ConfigError, match=error):
        vlmad_core.run_benchmark(make_plan(**changes), tmp_path / "out", registry=registry)


def test_a_slip_is_told_in_the_same_way_however_a_plan_is_made():
    message = r"^plan.shot: no such option of 'the plan'. Did you mean 'shots'\?"
    with pytest.raises(ConfigError, match=message):
        BenchmarkPlan(data="x", methods=["words"], shot=[1])
    with pytest.raises(ConfigError, match=message):
        read_plan({"data": "x", "methods": ["words"], "shot": [1]})
    with pytest.raises(ConfigError, match=r"^plan.1: no such option of 'the plan'"):
        read_plan({"data": "x", "methods": ["words"], 1: 2})


def test_an_unknown_recipe_is_told_with_the_nearest(make_plan, registry):
    with pytest.raises(UnknownComponentError, match=r"method 'wrods'.*Did you mean 'words'"):
        cells_of(make_plan(methods=["wrods"]), registry)


def test_two_data_sets_of_one_name_need_names(make_plan, data, registry):
    with pytest.raises(ConfigError, match="two data sets would be called 'things'; give each a name of its own"):
        cells_of(make_plan(data=[str(data), str(data)]), registry)
    cells = cells_of(make_plan(data=[str(data), {"path": str(data), "name": "again"}]), registry)
    assert {cell.category.dataset for cell in cells} == {"things", "again"}


def test_each_file_is_hashed_once_for_all_categories_methods_and_plans(make_plan, make_data, registry):
    root = make_data(categories=4)
    for path in root.rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    before = known_hashes.read
    for _ in range(2):
        cells = cells_of(make_plan(data=str(root), shots=[0, 5], seeds=3), registry)
        assert len({cell.key for cell in cells}) == len(cells)
    tested = 4 * (3 + 3 + 3)  # good, defective, masks
    assert known_hashes.read - before == tested + 4 * 5  # and the normal images
    cells[0].category.contents()
    assert known_hashes.read - before == tested + 4 * 5


def test_good_and_defects_folders_can_be_fitted_on_a_share_of_the_good_ones(make_plan, tmp_path, registry):
    rng, root = np.random.default_rng(0), tmp_path / "own"
    for kind, count in (("good", 6), ("defects", 3)):
        (root / kind).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).save(root / kind / f"{i}.png")
    plan = {"data": str(root), "methods": ["remember"], "shots": [2], "seeds": 2}
    (without, *_) = cells_of(make_plan(**plan), registry)
    assert without.reason == (
        "own/own: has no normal image to draw 2 from (train/good). A part of the normal test images can serve: "
        "--train-share 0.5."
    )
    first, second = cells_of(make_plan(**plan, train_share=0.5), registry)
    assert (first.status, second.status) == ("waiting", "waiting")
    assert len(first.category.pool) == 3
    tested = {sample.image for sample in first.category.test_samples}
    assert len(tested) == 3 + 3
    assert not tested & {sample.image for cell in (first, second) for sample in cell.references}
    again = cells_of(make_plan(**plan, train_share=0.5), registry)
    assert [cell.key for cell in again] == [first.key, second.key]
    assert len(cells_of(make_plan(**plan, train_share=0.99), registry)[0].category.pool) == 5  # one stays for the test


def test_the_share_is_taken_only_where_there_are_no_normal_images_for_training(make_plan, registry):
    plain, shared = (cells_of(make_plan(methods=["words"], train_share=share), registry) for share in (0, 0.5))
    assert [cell.key for cell in plain] == [cell.key for cell in shared]


@pytest.mark.parametrize(
    ("method", "backbones", "label"),
    [
        ("words", None, "words"),
        ("words", [{"use": "tiny", "config": {"image_size": [64, 64]}}], "words"),
        ("words", [{"use": "other"}], "words (other)"),
        ("words", [{"use": "other", "label": "eyes"}], "words (eyes)"),
        ({"label": "words", "recipe": "words"}, [{"use": "other"}], "words (other)"),
        ({"label": "mine", "recipe": "words"}, [{"use": "other"}], "mine"),
        ({"recipe": "words", "prompts": "templates"}, [{"use": "other"}], "words, templates (other)"),
    ],
)
def test_a_run_on_another_backbone_is_not_called_by_the_recipes_name_alone(
    make_plan, registry, method, backbones, label
):
    tiny = registry.get("backbone", "tiny").component
    both = memory_registry(backbones=[replace(tiny, name="other")], base=registry, plugin="others")
    cells = cells_of(make_plan(methods=[method], **({"backbones": backbones} if backbones else {})), both)
    assert {cell.method for cell in cells} == {label}
