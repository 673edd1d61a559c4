"""Every way into the core reads one file in the same way: the same pixels, the same notes, or the same refusal."""

from __future__ import annotations

import copy
import json
import os
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from vlmad_core import build
from vlmad_core.benchmark import BenchmarkPlan, run_benchmark
from vlmad_core.benchmark.features import SharedFeatures
from vlmad_core.benchmark.tower import RememberingTower
from vlmad_core.cli.choice import Choice
from vlmad_core.cli.detector import build_unfitted
from vlmad_core.contracts.decode import decode
from vlmad_core.contracts.images import Preprocess, to_pixels
from vlmad_core.datasets.base import Dataset, Sample
from vlmad_core.datasets.check import check
from vlmad_core.errors import ImageError
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.pipeline.resolve import resolve
from vlmad_core.registry.registry import Registry
from vlmad_core.run.predict import judge, run
from vlmad_core.testing import memory_registry
from vlmad_core.training.cache import FeatureCache
from vlmad_core.training.data import Item, Mosaics
from vlmad_core.training.data_loader import DataLoader
from vlmad_core.training.model import TrainableModel

MEMORY = {"backbone": "tiny", "extractor": {"use": "patches", "config": {"space": "raw"}}, "scorers": ["memory"]}
BOTH = {
    "backbone": "tiny",
    "extractor": {"use": "patches", "config": {"space": "both"}},
    "prompts": "templates",
    "scorers": [
        {"use": "text-match", "config": {"levels": ["block*"]}},
        {"use": "memory", "config": {"levels": ["raw*"]}},
    ],
}
RAMP = np.linspace(0, 1, 40 * 48).reshape(40, 48)
COLOUR = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], -1)


# -- kinds of files


def tiff(path: Path, array: np.ndarray, *, photometric: int = 1, bits: int = 0, width: int = 0) -> Path:
    """A baseline TIFF of one channel in one strip."""
    data, start = array.tobytes(), 8 + 2 + 12 * 10 + 4
    kind, height, width = {"u": 1, "f": 3}[array.dtype.kind], len(array), width or array.shape[1]
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits or 8 * array.itemsize), (259, 3, 1), (262, 3, photometric)]
    tags += [(273, 4, start), (277, 3, 1), (278, 4, height), (279, 4, len(data)), (339, 3, kind)]
    head = b"II*\0" + struct.pack("<IH", 8, len(tags))
    head += b"".join(struct.pack("<HHII", tag, type_, 1, value) for tag, type_, value in tags)
    path.write_bytes(head + b"\0\0\0\0" + data)
    return path


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    image.save(path, **options)
    return path


def colour(size: tuple[int, int] = (48, 40)) -> Image.Image:
    return Image.fromarray((COLOUR * 255).astype(np.uint8)).resize(size)


def rotated_jpeg(folder: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(folder / "a.jpg", colour(), exif=exif)


def grey_12(folder: Path, name: str = "a.png") -> Path:
    return saved(folder / name, Image.fromarray((RAMP * 4095).astype(np.uint16)))


def packed_12(folder: Path) -> Path:
    values = (RAMP * 4095).astype(np.uint16)
    a, b = values[:, ::2], values[:, 1::2]
    packed = np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], -1).astype(np.uint8).reshape(40, -1)
    return tiff(folder / "a.tif", packed, bits=12, width=48)


def palette_alpha(folder: Path) -> Path:
    return saved(folder / "a.png", colour().quantize(16), transparency=3)


def alpha(folder: Path) -> Path:
    image = colour().convert("RGBA")
    image.putalpha(Image.fromarray((RAMP * 255).astype(np.uint8)))
    return saved(folder / "a.png", image)


def pages(folder: Path) -> Path:
    return saved(folder / "a.tif", colour(), save_all=True, append_images=[Image.new("RGB", (48, 40))])


def truncated(folder: Path) -> Path:
    path = saved(
        folder / "whole.jpg", Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8))
    )
    path.write_bytes(path.read_bytes()[:2000])
    return path.rename(folder / "a.jpg")


def nan_tiff(folder: Path) -> Path:
    values = RAMP.astype(np.float32)
    values[3, 4] = np.nan
    return tiff(folder / "a.tif", values)


def eps(folder: Path) -> Path:
    return saved(folder / "a.eps", colour()).rename(folder / "a.png")


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "a.png")
    return folder / "a.png"


def written(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


GOOD: dict[str, Callable[[Path], Path]] = {
    "8-bit PNG": lambda folder: saved(folder / "a.png", colour()),
    "1-bit PNG": lambda folder: saved(folder / "a.png", colour().convert("1")),
    "JPEG, EXIF rotation": rotated_jpeg,
    "CMYK JPEG": lambda folder: saved(folder / "a.jpg", colour().convert("CMYK")),
    "16-bit grey PNG": lambda folder: saved(folder / "a.png", Image.fromarray((RAMP * 65535).astype(np.uint16))),
    "12 bits in a 16-bit PNG": grey_12,
    "12-bit TIFF": packed_12,
    "white-is-zero TIFF": lambda folder: tiff(folder / "a.tif", (RAMP * 255).astype(np.uint8), photometric=0),
    "float TIFF": lambda folder: tiff(folder / "a.tif", RAMP.astype(np.float32)),
    "palette PNG, transparent": palette_alpha,
    "RGBA PNG": alpha,
    "multi-page TIFF": pages,
    "WebP": lambda folder: saved(folder / "a.webp", colour()),
    "JPEG named .png": lambda folder: saved(folder / "a.jpg", colour()).rename(folder / "a.png"),
}
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "float TIFF, not finite": (nan_tiff, "must be finite"),
    "EPS named .png": (eps, "is PostScript or PDF"),
    "FIFO": (fifo, "is a pipe, not a file"),
    "truncated JPEG": (truncated, "is damaged or cut short"),
    "empty file": (written("a.png", b""), "the file is empty"),
    "text named .jpg": (written("a.jpg", b"hello"), "is not an image that can be read"),
    "no file": (lambda folder: folder / "a.png", "no such file"),
}


# -- ways to read them


@dataclass
class Answer:
    """What one way makes of a file: the pixels that reach the backbone, or an error; and what was noted."""

    pixels: Tensor | None
    error: str
    notes: set[str]


Way = Callable[[Pipeline, Path, Path], str | None]
"""Reads the file, and gives its error where that is not raised. Takes a pipeline, the file, and an empty folder."""


def by_fit(pipeline: Pipeline, path: Path, out: Path) -> None:
    pipeline.fit([path])


def by_calibrate(pipeline: Pipeline, path: Path, out: Path) -> None:
    pipeline.calibrate([path])


def by_predict(pipeline: Pipeline, path: Path, out: Path) -> None:
    pipeline.predict(path)


def by_judge(pipeline: Pipeline, path: Path, out: Path) -> str | None:
    (((result, _),),) = judge(pipeline, [path])
    if result.note:
        warnings.warn(result.note, UserWarning, stacklevel=1)
    return result.error


def by_run(pipeline: Pipeline, path: Path, out: Path) -> str | None:
    run(pipeline, [path], out / "run", maps="none", overlays=False)
    return json.loads((out / "run" / "results.jsonl").read_text(encoding="utf-8"))["error"]


def by_benchmark(pipeline: Pipeline, path: Path, out: Path) -> str | None:
    backbone, extractors = pipeline.backbone, {"one": pipeline.extractor}
    tower = RememberingTower(backbone.vision)
    features = SharedFeatures(tower, backbone, [path], [], extractors, out, bits=pipeline.bits)
    features.extract()
    assert not features.failed
    return features.unreadable.get(0)


def by_training(pipeline: Pipeline, path: Path, out: Path) -> None:
    pipeline.extractor.register_parameter("learns", nn.Parameter(torch.ones(1)))
    model, samples = TrainableModel(pipeline), [Sample(path, False, "a", "train", "good")]
    with torch.no_grad():
        template = model.pipeline.extractor(pipeline.backbone.vision, torch.zeros(1, 3, 32, 32))
    cache = FeatureCache("off", template, out, limit=0)
    next(DataLoader(samples, model, cache, Mosaics(samples), masks=False, autocast=nullcontext)([[Item(0)]]))


WAYS: dict[str, Way] = {
    "fit": by_fit,
    "calibrate": by_calibrate,
    "predict": by_predict,
    "judge": by_judge,
    "run": by_run,
    "benchmark": by_benchmark,
    "training": by_training,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Handing such small work to threads takes longer than the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return memory_registry()


@pytest.fixture(scope="module")
def fitted(registry: Registry) -> Pipeline:
    return build(BOTH, registry=registry).fit([np.zeros((32, 32, 3), np.uint8)], "thing")


@pytest.fixture
def answer(fitted: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Runs one way with a detector that records what reaches its backbone."""

    def ask(way: Way, path: Path, bits: int | None = None) -> Answer:
        pipeline = copy.deepcopy(fitted)
        pipeline.bits = bits
        vision, seen, error = pipeline.backbone.vision, list[Tensor](), None
        embed = vision.embed

        def record(images: Tensor) -> tuple[Tensor, tuple[int, int]]:
            seen.append(images.clone())
            return embed(images)

        monkeypatch.setattr(vision, "embed", record)
        (tmp_path / "out").mkdir(exist_ok=True)
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            try:
                error = way(pipeline, path, tmp_path / "out")
            except ImageError as refusal:
                error = str(refusal)
        notes = {str(warning.message).removesuffix(" Others may be like it.") for warning in raised}
        if error is None:  # the data loader's template is zeros
            assert len(seen[-1]) == 1
        return Answer(None if error is not None else seen[-1][0], error or "", notes)

    return ask


def expected(path: Path, pipeline_bits: int | None = None) -> tuple[Tensor, set[str]]:
    decoded = decode(path, bits=pipeline_bits)
    return to_pixels(decoded.image, Preprocess((32, 32))), set(decoded.notes)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", GOOD)
def test_every_way_gives_the_backbone_the_same_pixels_and_the_user_the_same_note(kind, way, answer, tmp_path):
    path = GOOD[kind](tmp_path)
    pixels, notes = expected(path)
    found = answer(WAYS[way], path)
    assert found.error == ""
    assert torch.equal(found.pixels, pixels)
    assert pixels.std() > 0.1
    assert found.notes == notes


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", REFUSED)
def test_every_way_refuses_the_same_files_with_the_same_reason(kind, way, answer, tmp_path):
    make, reason = REFUSED[kind]
    path = make(tmp_path)
    found = answer(WAYS[way], path)
    assert found.pixels is None
    assert str(path) in found.error
    assert reason in found.error


@pytest.mark.parametrize("way", WAYS)
def test_every_way_reads_with_the_bits_of_the_detector(way, answer, tmp_path):
    path = grey_12(tmp_path)
    found, (pixels, _) = answer(WAYS[way], path, bits=12), expected(path, 12)
    assert torch.equal(found.pixels, pixels)
    assert found.notes == set()
    assert pixels.max() > expected(path)[0].max() + 3  # without them it is nearly black


@pytest.mark.parametrize("kind", GOOD)
def test_a_mosaic_is_made_of_the_pixels_that_are_read_elsewhere(kind, tmp_path):
    path = GOOD[kind](tmp_path)
    for bits in (None, 12, "window=0:4095", "window=0:2000") if kind == "12 bits in a 16-bit PNG" else (None,):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mosaic = Mosaics([Sample(path, False, "a", "train", "good")], bits=bits).make(0, seed=0)
        tile = np.asarray(decode(path, bits=bits).image)
        np.testing.assert_array_equal(np.asarray(mosaic.image), np.tile(tile, (2, 2, 1)))
        read_again = decode(mosaic.image, bits=bits)  # as a training does
        np.testing.assert_array_equal(np.asarray(read_again.image), np.asarray(mosaic.image))
        assert read_again.notes == ()


@pytest.mark.parametrize("kind", [*GOOD, *REFUSED])
def test_check_of_a_data_set_finds_what_a_prediction_would_refuse_or_note(kind, tmp_path):
    path = (GOOD[kind] if kind in GOOD else REFUSED[kind][0])(tmp_path)
    problems = check(Dataset("a", (Sample(path, False, "a", "train", "good"),)))
    about = [problem for problem in problems if problem.startswith(str(path))]
    if kind in GOOD:
        assert set(about) == set(decode(path).notes)
    else:
        assert len(about) == 1


@pytest.mark.parametrize("way", [way for way in WAYS if way not in ("predict", "training")])
def test_every_way_counts_the_pages_that_it_does_not_read(way, fitted, tmp_path, monkeypatch):
    """Three files with 3, 1 and 5 pages: 6 pages are not read; the same total, and once."""
    (tmp_path / "in").mkdir()
    for name, more in (("a.tif", 2), ("b.png", 0), ("c.gif", 4)):
        others = [colour().rotate(90 * i) for i in range(1, more + 1)]
        saved(tmp_path / "in" / name, colour(), **({"save_all": True, "append_images": others} if more else {}))
    paths = sorted((tmp_path / "in").iterdir())
    several: dict[str, Callable[[Pipeline], object]] = {
        "fit": lambda pipeline: pipeline.fit(paths),
        "calibrate": lambda pipeline: pipeline.calibrate(paths),
        "judge": lambda pipeline: list(judge(pipeline, paths)),
        "run": lambda pipeline: run(pipeline, paths, tmp_path / "out", maps="none", overlays=False),
        "benchmark": lambda pipeline: SharedFeatures(
            RememberingTower(pipeline.backbone.vision),
            pipeline.backbone,
            paths,
            [],
            {"one": pipeline.extractor},
            tmp_path / "out",
        ).extract(),
    }
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        several[way](copy.deepcopy(fitted))
    report = [str(warning.message) for warning in raised]
    assert report.count("2 files hold more than one page or frame: 6 pages after the first are not read.") == 1
    assert sum("holds 3 pages or frames" in text for text in report) == 1


def test_check_of_a_data_set_counts_the_pages_that_nobody_reads(tmp_path):
    for name, pages in (("a.tif", 3), ("b.tif", 5)):
        saved(tmp_path / name, colour(), save_all=True, append_images=[colour()] * (pages - 1))
    samples = [Sample(tmp_path / name, False, "a", "train", "good") for name in ("a.tif", "b.tif")]
    assert "a: 2 files hold more than one page or frame: 6 pages after the first are not read." in check(
        Dataset("a", tuple(samples))
    )


def test_check_of_a_data_set_reads_with_the_bits_that_are_given(tmp_path):
    path = grey_12(tmp_path)
    dataset = Dataset("a", (Sample(path, False, "a", "train", "good"),))
    assert "fits in 12 of its 16 bits" in "\n".join(check(dataset))
    assert check(dataset, bits=12) == []
    (refused,) = check(dataset, bits=10)
    assert "has a value of 4095, and 10 bits end at 1023" in refused


def test_a_benchmark_of_a_detector_scores_as_the_detector_itself_does(registry, tmp_path):
    """The same image under a detector for 12 bits, one without, and both in one plan: their features are not shared."""
    for number, name in enumerate(("train/good", "test/good", "test/hole")):
        (tmp_path / "data/a" / name).mkdir(parents=True)
        for i in range(2):
            values = np.random.default_rng([number, i]).integers(0, 4095 - 900 * i, (5, 6)).astype(np.uint16)
            values = values.repeat(8, 0).repeat(8, 1)  # coarse, so that much of it is left after the resize
            saved(tmp_path / "data/a" / name / f"{i}.png", Image.fromarray(values))
    (tmp_path / "data/a/ground_truth/hole").mkdir(parents=True)
    for i in range(2):
        mask = np.zeros((40, 48), np.uint8)
        mask[5:20, 5:20] = 255
        saved(tmp_path / f"data/a/ground_truth/hole/{i}_mask.png", Image.fromarray(mask))
    tests = sorted((tmp_path / "data/a/test").rglob("*.png"))
    alone: dict[str, list[float]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the values fit in 12 bits
        for bits in (None, 12):
            detector = build(MEMORY, registry=registry)
            detector.bits = bits
            detector.fit(tmp_path / "data/a/train/good", "a").save(tmp_path / f"bits-{bits}")
            alone[f"bits-{bits}"] = [one.score for one in detector.predict(tests)]
        methods = [{"detector": str(tmp_path / name)} for name in alone]
        plan = BenchmarkPlan(data=str(tmp_path / "data"), methods=methods, shots=[2], resolution=32)
        results = run_benchmark(plan, tmp_path / "out", registry=registry)
        plan_12 = BenchmarkPlan(data=str(tmp_path / "data"), methods=methods[:1], shots=[2], resolution=32, bits=12)
        given = run_benchmark(plan_12, tmp_path / "given", registry=registry)
    assert [row["error"] for row in (*results.rows, *given.rows)] == ["", "", ""]
    assert given.rows[0]["cell"] not in {row["cell"] for row in results.rows}
    for row, bits in zip((*results.rows, *given.rows), (None, 12, 12), strict=True):
        folder = results.folder if row in results.rows else given.folder
        lines = (folder / f"scores/{row['cell']}.jsonl").read_text(encoding="utf-8").splitlines()
        found = {Path(line["path"]).relative_to(Path(line["path"]).parents[1]): line for line in map(json.loads, lines)}
        scores = [found[path.relative_to(path.parents[1])]["score"] for path in tests]
        assert scores == pytest.approx(alone[f"bits-{bits}"], abs=1e-6)
    assert (np.abs(np.subtract(alone["bits-None"], alone["bits-12"])) > 1e-4).all()


def test_bits_given_to_a_training_command_are_those_of_its_detector(registry, monkeypatch):
    monkeypatch.setattr("vlmad_core.cli.detector.resolve_choice", lambda choice: resolve(BOTH, registry=registry))
    monkeypatch.setattr("vlmad_core.pipeline.construct.default_registry", lambda: registry)
    assert build_unfitted(Choice(bits=12)).preprocess.bits == 12
