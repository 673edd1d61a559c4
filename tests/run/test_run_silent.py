"""A run repeats no old verdict, judges none of its own files, deletes none of the user's, and survives odd images."""

from __future__ import annotations

import csv
import json
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vlmad_core.errors import ConfigError, ImageError
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.run import read_map, read_results, run
from vlmad_core.run.results import Result


@pytest.fixture
def line(tmp_path: Path) -> Path:
    (tmp_path / "line").mkdir()
    for i in range(3):
        paint(tmp_path / f"line/{i}.bmp", i)
    return tmp_path / "line"


def paint(path: Path, seed: int) -> Path:
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (24, 20, 3), np.uint8)).save(path)
    return path


def scores(out: Path) -> dict[str, float | None]:
    return {Path(result.path).name: result.score for result in read_results(out)}


# -- what is judged again


@pytest.mark.parametrize("keep_times", [False, True])
def test_replaced_image_is_judged_again(pipeline: Pipeline, line: Path, tmp_path: Path, keep_times: bool) -> None:
    run(pipeline, line, tmp_path / "out")
    before, times = scores(tmp_path / "out"), (line / "1.bmp").stat()
    paint(line / "1.bmp", 77)  # of the same size
    if keep_times:
        os.utime(line / "1.bmp", ns=(times.st_atime_ns, times.st_mtime_ns))
    summary = run(pipeline, line, tmp_path / "out")
    assert (summary.done, summary.skipped, summary.changed) == (1, 2, 1)
    after = scores(tmp_path / "out")
    assert after["1.bmp"] == pytest.approx(pipeline.predict(line / "1.bmp").score)
    assert after["1.bmp"] != before["1.bmp"]
    assert {name: after[name] for name in ("0.bmp", "2.bmp")} == {name: before[name] for name in ("0.bmp", "2.bmp")}
    assert len(list(read_results(tmp_path / "out"))) == 3
    assert len((tmp_path / "out/results.csv").read_text().splitlines()) == 4


def test_same_content_with_other_times_is_not_judged_again(pipeline: Pipeline, line: Path, tmp_path: Path) -> None:
    run(pipeline, line, tmp_path / "out")
    for path in line.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    assert run(pipeline, line, tmp_path / "out").done == 0


def test_image_that_could_not_be_read_is_judged_once_it_is_mended(
    pipeline: Pipeline, line: Path, tmp_path: Path
) -> None:
    (line / "1.bmp").write_bytes(b"half")
    assert run(pipeline, line, tmp_path / "out").failed == 1
    assert run(pipeline, line, tmp_path / "out").done == 0
    paint(line / "1.bmp", 1)
    summary = run(pipeline, line, tmp_path / "out")
    assert (summary.done, summary.failed, summary.changed) == (1, 0, 1)


def test_stop_after_the_old_line_was_taken_out_loses_nothing(
    pipeline: Pipeline, line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(pipeline, line, tmp_path / "out")
    paint(line / "1.bmp", 77)
    monkeypatch.setattr(Pipeline, "predict_batch", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt, match="2 of 3 images are safe"):
        run(pipeline, line, tmp_path / "out")
    monkeypatch.undo()
    assert run(pipeline, line, tmp_path / "out").done == 1
    assert sorted(scores(tmp_path / "out")) == ["0.bmp", "1.bmp", "2.bmp"]


def test_detector_fitted_on_other_normals_is_refused(
    make_pipeline: Callable[..., Pipeline], line: Path, tmp_path: Path
) -> None:
    run(make_pipeline(), line, tmp_path / "out")
    other = make_pipeline().fit([np.full((30, 30, 3), 99, np.uint8)])
    with pytest.raises(ConfigError, match=r"normals\.(count|sha256) was"):
        run(other, line, tmp_path / "out")


def test_rate_counts_what_was_judged_now(pipeline: Pipeline, line: Path, tmp_path: Path) -> None:
    (line / "1.bmp").write_bytes(b"half")
    first = run(pipeline, line, tmp_path / "out")
    assert (first.done, first.failed, first.failed_now) == (3, 1, 1)
    assert first.images_per_second == pytest.approx(2 / first.seconds)
    second = run(pipeline, line, tmp_path / "out")
    assert (second.done, second.failed, second.failed_now, second.images_per_second) == (0, 1, 0, 0)


# -- own files


def test_no_run_judges_the_files_of_any_run(pipeline: Pipeline, line: Path) -> None:
    for name in ("first", "second", "deep/third"):
        assert run(pipeline, line, line / name).done == 3
    assert run(pipeline, line, line).done == 3
    assert run(pipeline, line, line.parent / "out").done == 3
    with pytest.raises(ImageError, match="that vlmad wrote"):
        run(pipeline, line / "first/overlays", line.parent / "other")


@pytest.mark.parametrize(
    "name", ["results.csv", "results.jsonl", "run.json", "maps/own.png", "overlays/own.jpg", "sheet.jpg"]
)
@pytest.mark.parametrize("resume", [True, False])
def test_files_of_somebody_else_are_never_replaced(
    pipeline: Pipeline, line: Path, tmp_path: Path, name: str, resume: bool
) -> None:
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_text("of the user")
    with pytest.raises(ConfigError, match="was not written by vlmad"):
        run(pipeline, line, tmp_path / "out", resume=resume)
    assert path.read_text() == "of the user"


def test_overwrite_deletes_no_file_that_a_line_names_otherwise(pipeline: Pipeline, line: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(pipeline, line, out)
    for name in ("mine.png", "maps/mine.png"):
        (out / name).write_text("keep")
    with (out / "results.jsonl").open("a") as file:
        file.write(Result(path="x", anomaly_map="mine.png", overlay="maps/mine.png").to_json() + "\n")
    run(pipeline, line, out, resume=False)
    assert (out / "mine.png").read_text() == (out / "maps/mine.png").read_text() == "keep"


# -- odd names and odd images


ODD = ["new\nline.png", "bell\a.png", "tab\t.png", "\x1b[31mred.png", "=cmd|calc.png", "+1.png", "@x.png", "-a.png"]


def test_odd_names_end_no_run_and_are_no_formulas(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    broken = os.fsdecode(b"gr\xf6.png")
    for name in [*ODD, broken]:
        paint(tmp_path / "in" / name, 1)
    run(pipeline, [Path(name) for name in [*ODD, broken]], tmp_path / "out")
    found = list(read_results(tmp_path / "out"))
    assert [result.path for result in found] == [*ODD, broken]
    assert all(result.score is not None and Path(result.path).exists() for result in found)
    table = (tmp_path / "out/results.csv").read_bytes().decode("utf-8")
    rows = list(csv.reader(table.splitlines(keepends=True)))[1:]
    assert not any(re.match(r"[=+\-@\t\r\n]", cell) for row in rows for cell in row if not _is_number(cell))
    assert rows[ODD.index("=cmd|calc.png")][0] == "./=cmd|calc.png"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_error_of_an_odd_name_is_no_formula(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("=1+1.png").write_bytes(b"x")
    run(pipeline, [Path("=1+1.png")], tmp_path / "out")
    (row,) = csv.DictReader((tmp_path / "out/results.csv").read_text().splitlines())
    assert row["path"] == "./=1+1.png"
    assert row["error"].startswith("'=1+1.png")


@pytest.mark.parametrize("error", [ValueError("x"), RuntimeError("y"), MemoryError(), KeyError("z")])
def test_failure_of_one_image_is_its_own(
    pipeline: Pipeline, line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    real = Pipeline.predict_batch

    def fail(self: Pipeline, pictures: list, *more: object) -> object:
        if any(str(picture.source).endswith("1.bmp") for picture in pictures):
            raise error
        return real(self, pictures, *more)

    monkeypatch.setattr(Pipeline, "predict_batch", fail)
    assert run(pipeline, line, tmp_path / "out").failed == 1
    report = {Path(result.path).name: result.error for result in read_results(tmp_path / "out")}
    assert report["0.bmp"] is report["2.bmp"] is None
    assert type(error).__name__ in str(report["1.bmp"])


@pytest.mark.parametrize("place", ["vlmad_core.run.folder.encode", "vlmad_core.run.folder.draw_jpeg"])
def test_failure_while_the_files_of_one_image_are_made_is_its_own(
    pipeline: Pipeline, line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    from vlmad_core.run import folder

    real, calls = getattr(folder, place.rpartition(".")[2]), []

    def fail(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("no")
        return real(*arguments)

    monkeypatch.setattr(place, fail)
    assert run(pipeline, line, tmp_path / "out").failed == 1
    assert "its files cannot be made (ValueError: no)" in "".join(str(r.error) for r in read_results(tmp_path / "out"))


def test_image_replaced_while_it_is_judged_is_told(
    pipeline: Pipeline, line: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Pipeline.predict_batch

    def replacing(self: Pipeline, pictures: list, *more: object) -> object:
        paint(line / "1.bmp", 5)
        return real(self, pictures, *more)

    monkeypatch.setattr(Pipeline, "predict_batch", replacing)
    run(pipeline, line, tmp_path / "out")
    monkeypatch.undo()
    assert "changed while it was judged" in "".join(str(r.error) for r in read_results(tmp_path / "out"))
    assert run(pipeline, line, tmp_path / "out").failed == 0


def test_cut_maps_are_counted_whole_from_many_threads(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    for i in range(40):
        paint(tmp_path / f"in/{i:02}.png", i)
    monkeypatch.setattr("vlmad_core.run.folder.highest", lambda _: 1e-3)
    with pytest.warns(UserWarning, match="^40 maps left 0 to 0.001"):
        run(pipeline, tmp_path / "in", tmp_path / "out", overlays=False)


@pytest.mark.parametrize("values", [[[np.nan]], [[np.inf]], [1.0], [[1]]])
def test_map_that_is_none_is_refused(tmp_path: Path, values: list) -> None:
    np.save(tmp_path / "a.npy", np.array(values))
    with pytest.raises(ConfigError, match="is not a map written by vlmad"):
        read_map(tmp_path / "a.npy")


def test_python_refuses_what_is_not_finite(pipeline: Pipeline, line: Path) -> None:
    pipeline.scorers[0].bank("raw3").fill_(float("nan"))
    with pytest.raises(ConfigError, match=r"0\.bmp: the detector gave a score or a map that is not a finite number"):
        pipeline.predict(sorted(line.iterdir()))


def test_fit_refuses_features_that_are_not_finite(
    make_pipeline: Callable[..., Pipeline], line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = make_pipeline()
    before = {name: t.clone() for name, t in pipeline.state_dict().items()}
    real = type(pipeline.extractor).forward

    def broken(*arguments: object) -> object:
        features = real(*arguments)
        features.levels[0].vectors[0, 0, 0] = float("nan")
        return features

    monkeypatch.setattr(type(pipeline.extractor), "forward", broken)
    with pytest.raises(ConfigError, match="features that are not finite"):
        pipeline.fit(sorted(line.iterdir()))
    after = pipeline.state_dict()
    assert all(torch.equal(before[n], after[n]) for n in before if not n.startswith("normal_range"))


def test_side_of_maps_has_a_limit(pipeline: Pipeline, line: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_side must be at most 12000, got 12001"):
        run(pipeline, line, tmp_path / "out", max_side=12_001)


def test_passed_over_is_in_the_summary_and_a_warning(pipeline: Pipeline, line: Path, tmp_path: Path) -> None:
    (line / "a.heic").write_bytes(b"x")
    with pytest.warns(UserWarning, match="1 x file with an unknown ending"):
        summary = run(pipeline, line, tmp_path / "out")
    assert "a.heic" in summary.passed_over


def test_note_of_an_image_is_in_its_line(pipeline: Pipeline, tmp_path: Path) -> None:
    page = Image.fromarray(np.full((24, 20), 200, np.uint8))
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(pipeline, tmp_path / "a.tif", tmp_path / "out")
    assert "2 pages" in str(caught[0].message)
    (line,) = (json.loads(text) for text in (tmp_path / "out/results.jsonl").read_text().splitlines())
    assert "holds 2 pages or frames" in line["note"]
