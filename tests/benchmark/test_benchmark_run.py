"""A benchmark gives what each detector by itself gives, looks once a backbone at each image, and survives stops."""

from __future__ import annotations

import json
import math
import os
import shutil

import numpy as np
import pytest
from PIL import Image, ImageFilter

import vlmad_core
from vlmad_core import VlmadError, build, metrics
from vlmad_core.benchmark import run_cells as runner
from vlmad_core.benchmark.cells import find_cells
from vlmad_core.benchmark.estimate import estimate
from vlmad_core.contracts import images
from vlmad_core.datasets.content import contents_of
from vlmad_core.datasets.masks import mask_of
from vlmad_core.errors import ConfigError
from vlmad_core.report.rows import Row, read_rows

NUMBERS = ("image_auroc", "image_ap", "image_f1max", "pixel_auroc", "pixel_ap", "pixel_f1max", "aupro", "aupro_05")


@pytest.fixture
def run(make_plan, registry, tmp_path):
    def call(out="out", options=None, **changes):
        given = {"registry": registry, "tables": False, **(options or {})}  # tables take longer than all the rest
        return vlmad_core.run_benchmark(make_plan(**changes), tmp_path / out, **given)

    return call


def without_times(rows):
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "images_per_second")} for row in rows
    ]


def test_rows_are_what_a_detector_by_itself_gives(run, make_plan, registry):
    """The same numbers as build, fit and predict, image by image, with no feature shared."""
    results = run(shots=[0, 2], seeds=2, batch_size=4, image_sizes=[(32, 48)])
    assert {row["status"] for row in results.rows} == {"done", "skipped"}
    cells = {
        cell.key: cell
        for cell in find_cells(
            vlmad_core.BenchmarkPlan(**make_plan(shots=[0, 2], seeds=2, image_sizes=[(32, 48)])), registry
        )
    }
    for row in results.done:
        cell = cells[row["cell"]]
        detector = build(cell.spec, registry=registry)
        if row["shots"]:
            detector.fit([sample.image for sample in cell.references], cell.category.class_name)
        found = detector.predict([sample.image for sample in cell.category.test_samples], cell.category.class_name)
        labels = [sample.label for sample in cell.category.test_samples]
        maps = np.stack([one.map_at((32, 32)) for one in found])
        masks = np.stack(
            [np.asarray(Image.fromarray(mask_of(s)).resize((32, 32), 0)) for s in cell.category.test_samples]
        )
        seen = [json.loads(line) for line in (results.folder / "scores" / f"{cell.key}.jsonl").read_text().splitlines()]
        assert [one["score"] for one in seen] == pytest.approx([one.score for one in found], abs=1e-6)
        assert [bool(one["label"]) for one in seen] == labels
        assert row["image_auroc"] == pytest.approx(metrics.auroc([one.score for one in found], labels), abs=1e-9)
        assert row["pixel_auroc"] == pytest.approx(metrics.auroc(maps, masks), abs=1e-4)
        assert row["aupro"] == pytest.approx(metrics.aupro(maps, masks), abs=1e-3)
    assert len(results.done) == 2 * (1 + 2 + 2)


def test_a_row_says_everything_about_itself(run, data):
    row = run(methods=["words"], shots=[2], seeds=[5], class_names={"kind_0": "steel plate"}).rows[0]
    assert set(row) <= set(Row.__annotations__)
    assert set(Row.__annotations__) - set(row) == {"aupro_200", "au_spro"}
    message = {name: row[name] for name in ("dataset", "category", "class_name", "method", "recipe", "backbone")}
    assert message == {
        "dataset": "things",
        "category": "kind_0",
        "class_name": "steel plate",
        "method": "words",
        "recipe": "words-few-shot",
        "backbone": "tiny",
    }
    assert row["weights"].startswith("random, seed 0 (")
    assert (row["extractor"], row["prompts"], row["scorers"]) == ("patches", "templates", ["text-match", "memory"])
    assert (row["image_size"], row["resolution"]) == ([32, 32], [32, 32])
    assert (row["shots"], row["seed"], row["good"], row["defective"]) == (2, 5, 3, 3)
    assert all((data / path).is_file() for path in row["references"])
    assert len(set(row["references"])) == 2
    assert all(0 <= row[name] <= 1 for name in NUMBERS)
    assert row["image_auroc_low"] <= row["image_auroc"] <= row["image_auroc_high"]
    assert (row["pixel_exact"], row["pixel_bound"]) == (True, 0)
    assert (row["image_rule"], row["mask_rule"]) == ("recipe's own", "nearest")
    assert (row["trained_on"], row["trained_on_this"]) == ([], False)
    vlmad_core.pipeline.PipelineSpec(**row["spec"])


def test_features_are_computed_once_an_image_and_backbone(run, data):
    methods = [
        "words",
        "remember",
        {"recipe": "remember", "extractor": {"use": "patches", "config": {"space": "raw", "layers": [1, 2]}}},
    ]
    backbones = [{"label": f"tiny {seed}", "use": "tiny", "config": {"seed": seed}} for seed in (0, 1)]
    results = run(
        methods=[*methods[:2], {**methods[2], "label": "two layers"}], backbones=backbones, shots=[0, 1, 2], seeds=3
    )
    assert len(results.done) == 2 * 2 * (1 + 3 * 2 * 3)
    counts = json.loads((results.folder / "summary.json").read_text())["passes"]
    assert counts.keys() == {"tiny 0 32 x 32", "tiny 1 32 x 32"}
    for message in counts.values():
        drawn = {(row["category"], path) for row in results.rows for path in row["references"]}
        assert message["images"] == message["passes"] == 2 * 6 + len(drawn)
        assert message["blocks"] == 3 * message["images"]  # three blocks, each once an image
        assert message["blocks_without_sharing"] > 2 * message["blocks"]


def test_what_does_not_fit_into_memory_goes_to_the_disk_and_away(run, monkeypatch):
    wanted = without_times(run("whole", shots=[0, 2]).rows)
    written = []
    monkeypatch.setattr(
        "vlmad_core.benchmark.feature_store.write_whole",
        lambda path, data: (written.append(path), path.write_bytes(data)),
    )
    results = run(shots=[0, 2], memory_gb=0)
    assert without_times(results.rows) == wanted
    assert written
    assert all(path.parent == results.folder / ".features" for path in written)
    assert not (results.folder / ".features").exists()


def test_a_full_disk_means_another_look_and_the_same_rows(run, monkeypatch):
    wanted = run("whole", shots=[0, 2])

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vlmad_core.benchmark.feature_store.write_whole", full)
    results = run(shots=[0, 2], memory_gb=0)
    assert without_times(results.rows) == without_times(wanted.rows)
    (before,), (after,) = wanted.passes.values(), results.passes.values()
    assert after["passes"] > after["images"] == before["passes"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_stopped_run_goes_on_and_ends_as_if_it_had_not_stopped(run, monkeypatch, stop):
    wanted = without_times(run("whole", shots=[0, 2], seeds=2).rows)
    real, calls = runner.evaluate_cell, []

    def judge(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise stop
        return real(*arguments)

    monkeypatch.setattr(runner, "evaluate_cell", judge)
    with pytest.raises(stop) as stopped:
        run(shots=[0, 2], seeds=2)
    if stop is KeyboardInterrupt:
        assert str(stopped.value).startswith("stopped. 5 of 12 cells are safe in ")
        assert str(stopped.value).endswith("run the same command again to go on.")
    results = run(shots=[0, 2], seeds=2)
    assert len(calls) == 4 + 10 - 3
    assert without_times(results.rows) == wanted
    assert len(read_rows(results.folder)) == len(wanted)


def test_a_line_that_was_cut_short_is_done_again(run, tmp_path):
    results = run()
    path = tmp_path / "out" / "rows.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert len(read_rows(tmp_path / "out")) == len(results.rows) - 1
    again = run()
    assert without_times(again.rows) == without_times(results.rows)
    lines = path.read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"\n") for line in lines)
    assert len(lines) == len(results.rows)


def test_a_file_that_is_not_of_rows_is_not_touched(run, tmp_path):
    run()
    path = tmp_path / "out" / "rows.jsonl"
    path.write_bytes(b"what?\n" + path.read_bytes())
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="line 1 is not a row"):
        run()
    assert path.read_bytes() == before


def test_another_plan_is_refused_unless_it_extends_or_overwrites(run):
    first = run(methods=["words"], shots=[0])
    with pytest.raises(ConfigError, match=r"another plan: plan.shots was \[0\] and is now \[0, 1\]"):
        run(methods=["words"], shots=[0, 1])
    both = run(methods=["words"], shots=[0, 1], options={"extend": True})
    assert without_times(both.rows)[0] == without_times(first.rows)[0]
    assert len(both.done) == 4
    assert sum(counts["images"] for counts in both.passes.values()) == 2 * (6 + 1)
    alone = run(methods=["remember"], shots=[1], options={"overwrite": True})
    assert len(read_rows(alone.folder)) == 2
    assert len(list((alone.folder / "scores").iterdir())) == 2


@pytest.mark.parametrize("what", ["test/good/000.png", "ground_truth/hole/001_mask.png", "train/good/*.png"])
def test_replaced_images_and_masks_are_evaluated_again_and_old_rows_go(run, data, what):
    first = run(methods=["remember"], shots=[2])
    for path in (data / "kind_0").glob(what):
        pixels = np.asarray(Image.open(path))
        Image.fromarray(pixels[:, ::-1] if "mask" in what else pixels // 2).save(path)
    messages = []
    again = run(methods=["remember"], shots=[2], options={"on_message": messages.append})
    assert "1 cell is run again: images, masks or labels have changed since." in messages
    fresh = run("fresh", methods=["remember"], shots=[2])
    assert without_times(again.rows) == without_times(fresh.rows)
    assert without_times(again.rows)[1] == without_times(first.rows)[1]
    assert again.rows[0]["cell"] != first.rows[0]["cell"]
    assert [row["cell"] for row in read_rows(again.folder)] == [first.rows[1]["cell"], again.rows[0]["cell"]]
    assert len(list((again.folder / "scores").iterdir())) == 2


def test_a_relabelled_image_is_evaluated_again(run, data):
    before = run(methods=["words"], shots=[0]).rows[0]
    (data / "kind_0/test/hole/000.png").rename(data / "kind_0/test/good/009.png")
    (data / "kind_0/ground_truth/hole/000_mask.png").unlink()
    after = run(methods=["words"], shots=[0]).rows[0]
    assert (before["good"], before["defective"], after["good"], after["defective"]) == (3, 3, 4, 2)


def test_problems_of_the_data_are_reported_and_recorded(run, data):
    mask = data / "kind_0/ground_truth/hole/000_mask.png"
    Image.open(mask).filter(ImageFilter.GaussianBlur(3)).save(mask)
    small = data / "kind_0/ground_truth/hole/001_mask.png"
    Image.open(small).resize((24, 20), 0).save(small)
    (data / "kind_1/ground_truth/hole/777_mask.png").write_bytes(mask.read_bytes())
    messages = []
    rows = run(methods=["words"], shots=[0], options={"on_message": messages.append}).rows
    grey, other = rows[0]["problems"]
    assert grey.startswith("1 mask with shades of grey") and "000_mask.png" in grey
    assert other.startswith("1 mask of another size than the image") and "24 x 20 pixels, the image 48 x 40" in other
    assert rows[1]["problems"] == []
    text = "\n".join(messages)
    assert f"things/kind_0: {grey}" in text
    assert "777_mask.png" in text


def test_batch_size_may_change_between_two_parts_of_a_run(run):
    wanted = run(batch_size=8)
    summary = (wanted.folder / "summary.json").read_text()
    again = run(batch_size=2, memory_gb=1)
    assert (again.rows, again.passes) == (wanted.rows, {})
    assert (wanted.folder / "summary.json").read_text() == summary  # with the passes of the run that made them


def test_two_runs_do_not_share_a_folder(run):
    pytest.importorskip("fcntl")

    def another(now):
        if not tried:
            with pytest.raises(ConfigError, match="another run is writing here"):
                run()
            tried.append(now)

    tried = []
    run(options={"progress": another})
    assert tried


def test_other_weights_of_the_same_name_are_refused(make_plan, registry, tmp_path):
    vlmad_core.run_benchmark(make_plan(methods=["words"]), tmp_path / "out", registry=registry, tables=False)
    path = tmp_path / "out" / "plan.json"
    record = json.loads(path.read_text())
    record["weights"] = dict.fromkeys(record["weights"], "0" * 64)
    path.write_text(json.dumps(record))
    rows = (tmp_path / "out" / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "out" / "rows.jsonl").write_bytes(rows[0])
    with pytest.raises(ConfigError, match="has rows of 'tiny' with other weights"):
        vlmad_core.run_benchmark(make_plan(methods=["words"]), tmp_path / "out", registry=registry, tables=False)


def test_a_cell_that_fails_is_a_row_and_the_others_go_on(run):
    results = run(
        methods=["words", {"label": "beyond", "recipe": "words", "overrides": {"extractor.config.layers": [99]}}]
    )
    assert [row["status"] for row in results.rows] == ["done", "failed"] * 2
    assert results.failed[0]["error"].startswith(
        "extractor 'patches' on backbone 'tiny': layers [99] is beyond this tower"
    )
    assert results.failed[0]["image_auroc"] is None
    assert results.passes["tiny 32 x 32"]["images"] == 12


def test_running_out_of_memory_is_a_row_and_other_extractors_go_on(make_plan, registry, tmp_path, monkeypatch):
    from vlmad_core.builtin.patches import Patches

    real = Patches.forward

    def forward(self, vision, images):
        if self.layers == (1,):
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(self, vision, images)

    big = {"label": "big", "recipe": "words", "overrides": {"extractor.config.layers": [1]}}
    with monkeypatch.context() as patch:
        patch.setattr(Patches, "forward", forward)
        results = vlmad_core.run_benchmark(
            make_plan(methods=["words", big]), tmp_path / "out", registry=registry, tables=False
        )
    assert [row["status"] for row in results.rows] == ["done", "failed"] * 2
    assert {row["error"] for row in results.failed} == {
        "out of memory; take a smaller batch_size, a smaller image_size, or another device."
    }
    assert (
        len(
            vlmad_core.run_benchmark(
                make_plan(methods=["words", big]), tmp_path / "out", registry=registry, tables=False
            ).failed
        )
        == 2
    )
    again = vlmad_core.run_benchmark(
        make_plan(methods=["words", big]), tmp_path / "out", registry=registry, tables=False, retry=True
    )
    assert [row["status"] for row in again.rows] == ["done"] * 4
    assert len(read_rows(tmp_path / "out")) == 4


def test_unreadable_images_are_left_out_and_told(run, data):
    (data / "kind_0/test/good/001.png").write_bytes(b"no picture")
    (data / "kind_0/ground_truth/hole/000_mask.png").write_bytes(b"no mask")
    row = run(methods=["words"], shots=[0], batch_size=2).rows[0]
    assert (row["status"], row["good"], row["defective"]) == ("done", 2, 2)
    assert [one["path"] for one in row["unreadable"]] == ["kind_0/test/good/001.png", "kind_0/test/hole/000.png"]
    assert "000_mask.png: is not an image that can be read" in row["unreadable"][1]["error"]


def test_an_unreadable_reference_fails_the_cells_that_drew_it(run, data):
    rows = run(methods=["remember"], shots=[1], seeds=6, categories=["kind_0"]).rows
    broken = rows[0]["references"][0]
    (data / broken).write_bytes(b"no picture")
    again = run("other", methods=["remember"], shots=[1], seeds=6, categories=["kind_0"]).rows
    assert {row["status"] for row in again if row["references"] == [broken]} == {"failed"}
    assert {row["status"] for row in again if row["references"] != [broken]} == {"done"}
    assert again[0]["error"].startswith("a normal image cannot be read: ")


def test_data_without_masks_or_without_defects_has_nulls(run, make_data):
    root = make_data(1, name="plain")
    shutil.rmtree(root / "kind_0/ground_truth")
    row = run(data=str(root)).rows[0]
    assert row["image_auroc"] is not None
    assert [row[name] for name in NUMBERS[3:]] == [None] * 5
    shutil.rmtree(root / "kind_0/test/hole")
    row = run("other", data=str(root)).rows[0]
    assert (row["good"], row["defective"], row["image_auroc"], row["image_auroc_low"]) == (3, 0, None, None)


def test_native_resolution_takes_each_mask_as_it_is(run):
    row = run(methods=["words"], resolution="native").rows[0]
    assert (row["resolution"], row["mask_rule"]) == (None, "as they are")
    assert 0 <= row["aupro"] <= 1


def test_the_200_step_variant_comes_when_asked_for(run):
    results = run(methods=["words"], aupro_200=True, options={"tables": True})
    assert 0 <= results.rows[0]["aupro_200"] <= 1
    assert "AUPRO, 200 steps" in (results.folder / "tables/aupro_200-by-category.md").read_text()


def test_a_detector_is_judged_and_marked_where_it_was_trained(registry, data, make_plan, tmp_path):
    words = {**build("words-few-shot", registry=registry).spec.model_dump(mode="json")}
    detector = build(words, registry=registry).fit(str(data / "kind_0/train/good"), "thing")
    detector.trained = {"data": {"name": "Things"}, "before": {"data": {"name": "visa"}}}
    detector.save(tmp_path / "trained")
    mine = {"label": "mine", "detector": str(tmp_path / "trained")}
    plan = make_plan(data={"path": str(data), "name": "renamed"}, methods=["words", mine], shots=[1])
    results = vlmad_core.run_benchmark(plan, tmp_path / "out", registry=registry, tables=False)
    message = {row["method"]: (row["status"], row["trained_on"], row["trained_on_this"]) for row in results.rows}
    assert message == {"words": ("done", [], False), "mine": ("done", ["Things", "visa"], None)}  # no hashes: unknown
    pairs = [[row for row in results.rows if row["category"] == kind] for kind in ("kind_0", "kind_1")]
    for words_row, mine in pairs:  # what it remembered before does not count: the same references, the same numbers
        assert [words_row[name] for name in NUMBERS] == pytest.approx([mine[name] for name in NUMBERS])


def test_what_a_detector_was_trained_on_is_known_by_content(registry, data, make_data, make_plan, tmp_path):
    """A renamed copy is recognised; other images under the same name are not."""
    known = vlmad_core.read_dataset(data, "mvtec-layout")
    copy = tmp_path / "copy" / "renamed"
    shutil.copytree(data / "kind_0", copy / "other")
    for path in sorted(copy.rglob("*.png"), reverse=True):
        path.rename(path.with_name(f"x{path.name}"))
    other = make_data(name="elsewhere/things")
    for path in other.rglob("test/*/*.png"):
        Image.fromarray(np.asarray(Image.open(path)) ^ 1).save(path)
    for path in other.rglob("train/*/*.png"):
        Image.fromarray(np.asarray(Image.open(path)) ^ 1).save(path)
    words = {**build("words-few-shot", registry=registry).spec.model_dump(mode="json")}
    detector = build(words, registry=registry).fit(str(data / "kind_0/train/good"), "thing")
    contents = contents_of(known.select(split="test"))
    detector.trained = {"data": {"name": "things", "contents": contents}}
    detector.save(tmp_path / "trained")
    method = {"label": "mine", "detector": str(tmp_path / "trained")}
    found = {}
    for name, root in (("same", data), ("copy", copy), ("other", other)):
        plan = make_plan(data={"path": str(root), "layout": "mvtec-layout"}, methods=[method], shots=[1])
        rows = vlmad_core.run_benchmark(plan, tmp_path / name, registry=registry, tables=False).rows
        found[name] = {row["trained_on_this"] for row in rows if row["status"] == "done"}
    assert found == {"same": {True}, "copy": {True}, "other": {False}}


def test_parts_that_have_learned_nothing_fail_with_what_to_do(run, registry, monkeypatch):
    from torch import nn

    from vlmad_core.builtin.patches import Patches

    real = Patches.__init__

    def init(self, config, backbone):
        real(self, config, backbone)
        self.anomaly_map = nn.Linear(2, 2)

    monkeypatch.setattr(Patches, "__init__", init)
    rows = run(methods=["words"]).rows
    assert {row["status"] for row in rows} == {"failed"}
    assert "'words' has parts that learn, and they are not trained yet. Train it with" in rows[0]["error"]


def test_a_backbone_that_cannot_be_built_fails_its_cells(run, monkeypatch):
    real = runner.make_backbone

    def make(part, **given):
        if part.config:
            raise ConfigError("backbone: no such file.")
        return real(part, **given)

    monkeypatch.setattr(runner, "make_backbone", make)
    backbones = ["tiny", {"label": "odd", "use": "tiny", "config": {"seed": 1}}]
    results = run(methods=["words"], backbones=backbones)
    assert {row["backbone"]: row["status"] for row in results.rows} == {"tiny": "done", "odd": "failed"}


def test_parquet_holds_the_same_rows(run):
    parquet = pytest.importorskip("pyarrow.parquet")
    results = run(shots=[0, 1])
    table = parquet.read_table(results.folder / "rows.parquet").to_pylist()
    assert [row["cell"] for row in table] == [row["cell"] for row in read_rows(results.folder)]
    done = {row["cell"]: row for row in table}
    for row in results.rows:
        assert done[row["cell"]]["image_auroc"] == row["image_auroc"]
        assert json.loads(done[row["cell"]]["spec"]) == row["spec"]


def test_without_pyarrow_there_is_a_note_and_no_failure(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    notes = []
    results = run(options={"on_message": notes.append})
    assert results.done
    assert any("pyarrow is not installed" in note for note in notes)
    assert not (results.folder / "rows.parquet").exists()


def test_tables_and_plots_are_written(run):
    results = run(shots=[0, 1], seeds=2, options={"tables": True})
    tables, plots = results.folder / "tables", results.folder / "plots"
    assert {path.suffix for path in tables.iterdir()} == {".md", ".tex", ".csv", ".html"}
    assert "words" in (tables / "means.md").read_text()
    assert {path.suffix for path in plots.iterdir()} == {".png", ".svg"}


def test_names_that_are_not_utf8_and_formulas_survive_to_the_last_file(run, data):
    try:
        (data / "kind_0").rename(data / os.fsdecode(b"=k\xff`<b>"))
    except OSError:
        pytest.skip("this file system has UTF-8 names alone")
    first = data / os.fsdecode(b"=k\xff`<b>") / "test/good/000.png"
    first.rename(first.with_name(os.fsdecode(b"\xfe.png")))
    results = run(methods=["words"], shots=[0], options={"tables": True})
    assert [row["status"] for row in results.rows] == ["done", "done"], results.failed
    assert {row["category"] for row in read_rows(results.folder)} == {os.fsdecode(b"=k\xff`<b>"), "kind_1"}
    for path in [*results.folder.glob("tables/*"), *results.folder.glob("plots/*.svg")]:
        text = path.read_bytes().decode("utf-8")
        assert "<b>" not in text or path.suffix in {".csv", ".tex"}
    assert (results.folder / "plots/image-auroc.png").is_file()
    text = (results.folder / "tables/image_auroc-by-category.csv").read_text()
    assert "\n'=k\\xff`<b>," in text
    again = run(methods=["words"], shots=[0], options={"tables": True})
    assert again.passes == {}


def test_a_disk_that_cannot_be_written_to_says_what_is_safe(run, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vlmad_core.benchmark.run.write_scores", full)
    with pytest.raises(VlmadError, match=r"No space left.*0 of 2 cells are safe in .* again to go on"):
        run(methods=["words"])


def test_every_number_of_a_row_is_finite_json(run):
    results = run(shots=[0, 1])
    for line in (results.folder / "rows.jsonl").read_text().splitlines():
        row = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} in a row"))
        assert all(math.isfinite(value) for value in row.values() if isinstance(value, float))


def test_pictures_are_read_once_a_backbone_and_category(run, monkeypatch):
    opened = []
    real = images.decode
    monkeypatch.setattr(images, "decode", lambda source, **options: opened.append(source) or real(source, **options))
    run(methods=["words"], shots=[0, 1, 2], seeds=2)
    assert len(opened) == len(set(opened))


def test_settings_of_a_detector_are_those_of_the_plan(registry, data, make_plan, tmp_path):
    detector = build("remember", registry=registry).fit(str(data / "kind_0/train/good"), "thing")
    detector.save(tmp_path / "fitted")
    folder = str(tmp_path / "fitted")
    plain, sharp = (
        {"label": "a", "detector": folder},
        {"label": "b", "detector": folder, "overrides": {"output.smooth": 2.0}},
    )
    rows = vlmad_core.run_benchmark(
        make_plan(methods=[plain, sharp], shots=[1]), tmp_path / "out", registry=registry, tables=False
    ).rows
    assert rows[0]["pixel_ap"] != rows[1]["pixel_ap"]
    assert rows[1]["spec"]["output"] == {"smooth": 2.0}


def test_the_estimate_counts_what_the_run_then_does(run, make_plan, registry):
    beyond = {"label": "beyond", "recipe": "words", "overrides": {"extractor.config.layers": [99]}}
    changes = {"methods": ["words", "remember", beyond], "shots": [0, 1, 2], "seeds": 2}
    message = estimate(vlmad_core.BenchmarkPlan(**make_plan(**changes)), registry=registry)
    results = run(**changes)
    assert message.cells == len(results.rows)
    assert message.images == sum(counts["passes"] for counts in results.passes.values())
    assert sum(message.failing.values()) == len(results.failed) > 0
    assert sum(message.skipped.values()) == len(results.rows) - len(results.done) - len(results.failed) > 0
    assert message.seconds > 0
    again = estimate(
        vlmad_core.BenchmarkPlan(**make_plan(**changes)), done={row["cell"] for row in results.rows}, registry=registry
    )
    assert (again.waiting, again.images, again.failing) == (0, 0, {})


def test_a_method_that_cannot_be_timed_is_told_and_the_others_are(run, monkeypatch, tmp_path):
    from vlmad_core.benchmark import timing
    from vlmad_core.benchmark.speed import measure
    from vlmad_core.report.speed import read_speed

    def broken(pipeline, images, **about):
        if about["method"] == "words":
            raise RuntimeError("too hot.")
        return measure(pipeline, images, **about)

    monkeypatch.setattr(timing, "_SECONDS", 0.01)
    monkeypatch.setattr(timing, "measure", broken)
    said = []
    run(shots=[0, 1], options={"speed": True, "on_message": said.append})
    assert [(one.method, one.shots, one.backbone) for one in read_speed(tmp_path / "out/speed.jsonl")] == [
        ("remember", 1, "tiny")
    ]
    assert said[0] == "no speed of words on tiny, things/kind_0: RuntimeError: too hot."


def test_speed_has_a_table_and_a_plot(run, monkeypatch):
    monkeypatch.setattr("vlmad_core.benchmark.timing._SECONDS", 0.01)
    folder = run(methods=["words"], options={"speed": True, "tables": True}).folder
    assert (folder / "plots/speed.png").is_file()
    head, _, line = (folder / "tables/speed.md").read_text().splitlines()[2:5]
    assert head.startswith("| method | backbone | size | shots | batch | p50 \\[ms\\] |")
    assert line.startswith("| words | tiny | 32 x 32 | 0 | 1 |")


def test_a_place_that_cannot_be_written_to_is_refused(run, monkeypatch):
    from pathlib import Path

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ConfigError, match=r"out: cannot be written to \(Permission denied\); choose another --out"):
        run()


def test_only_defective_images_have_no_image_metric(run, data):
    for path in data.glob("*/test/good/*"):
        path.unlink()
    row = run(methods=["words"]).done[0]
    assert (row["image_auroc"], row["image_ap"], row["image_f1max"]) == (None, None, None)
    assert row["pixel_ap"] is not None


def test_a_disk_that_is_full_when_tables_are_written_loses_no_row(run, monkeypatch, tmp_path):
    def full(rows, path):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("vlmad_core.benchmark.folder.write_parquet", full)
        with pytest.raises(VlmadError, match=r"No space left on device.* 4 of 4 cells are safe"):
            run()
    assert run().passes == {}  # nothing is done again
