"""Each image has exactly one line, whatever happens."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from vlmad_core.errors import ConfigError, ImageError, NotFittedError, VlmadError
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.run import Result, read_results, run
from vlmad_core.run import folder as folder_module
from vlmad_core.run.disk import file_name
from vlmad_core.run.results import ResultsFile


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def assert_once(out: Path, paths: list[Path]) -> None:
    assert Counter(line["path"] for line in lines(out)) == Counter(map(str, paths))
    with (out / "results.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [line["path"] for line in lines(out)]
    assert not list(out.rglob("*.part"))


def test_writes_everything_and_names_it(pipeline: Pipeline, pictures: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = run(pipeline, tmp_path / "pictures", out, batch_size=5)
    assert (summary.done, summary.failed, summary.skipped) == (12, 0, 0)
    assert summary.images_per_second > 0
    assert_once(out, pictures)
    for line in lines(out):
        assert line["error"] is None
        assert (line["height"], line["width"]) == (40, 48)
        assert (out / line["anomaly_map"]).is_file()
        assert (out / line["overlay"]).is_file()
    assert lines(out)[0]["score"] == pytest.approx(pipeline.predict(pictures[0]).score, abs=1e-5)


def test_goes_on_where_it_stopped(pipeline: Pipeline, pictures: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(pipeline, pictures[:5], out)
    seen: list[Result] = []
    summary = run(pipeline, pictures, out, progress=seen.append)
    assert (summary.done, summary.skipped) == (7, 5)
    assert [result.path for result in seen] == list(map(str, pictures))
    assert_once(out, pictures)


def test_other_spellings_of_a_path_are_the_same_image(
    pipeline: Pipeline, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(pipeline, "pictures", tmp_path / "out")
    assert run(pipeline, [*pictures, "pictures/../pictures/000.png"], tmp_path / "out").skipped == 12
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert run(pipeline, "../pictures", tmp_path / "out").done == 0
    assert len(lines(tmp_path / "out")) == 12


@pytest.mark.parametrize("tail", [b'{"path": "x', b"\x00\x00\x00\n", b'{"path": "whole but no end"}'])
def test_a_partial_last_line_is_cut_off(pipeline: Pipeline, pictures: list[Path], tmp_path: Path, tail: bytes) -> None:
    out = tmp_path / "out"
    run(pipeline, pictures[:4], out)
    with (out / "results.jsonl").open("ab") as file:
        file.write(tail)
    assert len(list(read_results(out))) == 4
    run(pipeline, pictures, out)
    assert_once(out, pictures)


def test_a_damaged_line_in_the_middle_is_refused(pipeline: Pipeline, pictures: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(pipeline, pictures[:2], out)
    whole = (out / "results.jsonl").read_bytes()
    (out / "results.jsonl").write_bytes(b"nonsense\n" + whole)
    with pytest.raises(ConfigError, match="line 1 is not a result"):
        run(pipeline, pictures, out)
    assert (out / "results.jsonl").read_bytes() == b"nonsense\n" + whole


def test_unreadable_images_are_recorded_and_the_rest_goes_on(
    pipeline: Pipeline, pictures: list[Path], tmp_path: Path
) -> None:
    pictures[3].write_bytes(b"no image")
    pictures[7].write_bytes(pictures[7].read_bytes()[:300])
    for done in (12, 0):
        summary = run(pipeline, pictures, tmp_path / "out", batch_size=1 + done // 4)
        assert (summary.done, summary.failed) == (done, 2)
    bad = [line for line in lines(tmp_path / "out") if line["error"]]
    assert [line["path"] for line in bad] == [str(pictures[3]), str(pictures[7])]
    assert all(line["score"] is None and line["anomaly_map"] is None for line in bad)


def test_full_disk_says_what_is_safe(
    pipeline: Pipeline, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, left = tmp_path / "out", [11]

    def write(path: Path, data: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        path.write_bytes(data)

    with monkeypatch.context() as patch:
        patch.setattr(folder_module, "write_whole", write)
        with pytest.raises(VlmadError, match=r"the disk is full. Free some space: \d+ of 12 images are safe") as caught:
            run(pipeline, pictures, out, batch_size=4)
    assert f": {len(lines(out))} of 12" in str(caught.value)
    assert 0 < len(lines(out)) < 12
    run(pipeline, pictures, out)
    assert_once(out, pictures)


def test_a_line_without_room_leaves_nothing(tmp_path: Path) -> None:
    results = ResultsFile(tmp_path)
    results.append(Result(path="a", score=1.0))
    real = results._file

    class Short:
        writes = 0

        def write(self, data: bytes) -> int:
            self.writes += 1
            if self.writes > 1:
                raise OSError(errno.ENOSPC, "full")
            return real.write(data[:7])

        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

    results._file = Short()  # type: ignore[assignment]
    with pytest.raises(OSError, match="full"):
        results.append(Result(path="b", score=1.0))
    assert (tmp_path / "results.jsonl").read_text() == Result(path="a", score=1.0).to_json() + "\n"
    results.close()


def test_interrupt_leaves_order(pipeline: Pipeline, pictures: list[Path], tmp_path: Path) -> None:
    def stop(result: Result) -> None:
        if result.path.endswith("005.png"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="6 of 12 images are safe"):
        run(pipeline, pictures, tmp_path / "out", batch_size=4, progress=stop)
    assert_once(tmp_path / "out", pictures[:6])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"maps": "npy"}, 'maps was "png16" and is now "npy"'),
        ({"scale": (0, 2)}, r"scale was not there and is now \[0, 2\]"),
        ({"about": {"normals": {"a": "1"}}}, "normals.a was not there"),
    ],
)
def test_other_options_are_refused(
    pipeline: Pipeline, pictures: list[Path], tmp_path: Path, options: dict, text: str
) -> None:
    run(pipeline, pictures[:1], tmp_path / "out")
    with pytest.raises(ConfigError, match=text):
        run(pipeline, pictures, tmp_path / "out", **options)
    assert run(pipeline, pictures, tmp_path / "out", resume=False, **options).done == 12


def test_another_detector_is_refused(
    make_pipeline: Callable[..., Pipeline], pictures: list[Path], tmp_path: Path
) -> None:
    run(make_pipeline(), pictures, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"spec.scorers.0.config.top was not there and is now 0.5"):
        run(make_pipeline(**{"scorers.0.config.top": 0.5}), pictures, tmp_path / "out")


def test_overwrite_removes_what_the_old_results_name_and_nothing_else(
    pipeline: Pipeline, pictures: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(pipeline, pictures, out)
    (out / "mine.txt").write_text("keep")
    (tmp_path / "precious").write_text("keep")
    with (out / "results.jsonl").open("a") as file:
        file.write(Result(path="evil", anomaly_map="../precious").to_json() + "\n")
    run(pipeline, pictures[:2], out, resume=False)
    assert len(list((out / "maps").iterdir())) == 2
    assert (out / "mine.txt").exists()
    assert (tmp_path / "precious").exists()


def test_two_at_once_are_refused(pipeline: Pipeline, pictures: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    first = ResultsFile(tmp_path / "out")
    with pytest.raises(ConfigError, match="another run is writing here"):
        run(pipeline, pictures, tmp_path / "out")
    first.close()
    assert run(pipeline, pictures, tmp_path / "out").done == 12


def test_equal_names_in_different_folders(pipeline: Pipeline, pictures: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for path in pictures:
        (other / path.name).write_bytes(path.read_bytes())
    run(pipeline, [tmp_path / "pictures", other], tmp_path / "out")
    for kind in ("anomaly_map", "overlay"):
        assert len({line[kind] for line in lines(tmp_path / "out")}) == 24


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "a/..png", "/x\n\t y/z\udcff.png", "ü" * 300 + ".png", "-", "CON/a:b"]
)
def test_file_names_are_safe(path: str) -> None:
    name = file_name(path)
    assert len(os.fsencode(name)) < 220
    assert not name.startswith((".", "-"))
    assert not set(name) & set('/\\:*?"<>| \n\t')


def test_does_not_judge_its_own_pictures(pipeline: Pipeline, pictures: list[Path], tmp_path: Path) -> None:
    out = pictures[0].parent / "out"
    run(pipeline, pictures[0].parent, out)
    assert run(pipeline, pictures[0].parent, out).done == 0
    assert len(lines(out)) == 12


def test_refused_before_an_image_is_read(
    make_pipeline: Callable[..., Pipeline], pictures: list[Path], tmp_path: Path
) -> None:
    pipeline = make_pipeline()
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        run(pipeline, pictures, tmp_path / "file")
    with pytest.raises(ImageError, match="no such file"):
        run(pipeline, tmp_path / "nowhere", tmp_path / "out")
    next(iter(pipeline.scorers)).forget()
    with pytest.raises(NotFittedError, match="was fitted on no normal image"):
        run(pipeline, pictures, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_scores_that_are_no_numbers_are_errors(
    pipeline: Pipeline, pictures: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.scorers[0].bank("raw3").fill_(float("nan"))
    assert run(pipeline, pictures, tmp_path / "out").failed == 12
    assert "not a number" in lines(tmp_path / "out")[0]["error"]
