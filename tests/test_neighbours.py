"""Neighbours of faults that were found once: the same cause in another file, format, command or option."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core import build
from vlmad_core.benchmark import BenchmarkPlan, run_benchmark
from vlmad_core.benchmark.plan import read_plan
from vlmad_core.cli.planned import value
from vlmad_core.cli.unquoted import QuotedCommand
from vlmad_core.contracts.decode import decode
from vlmad_core.contracts.find import search
from vlmad_core.errors import ConfigError
from vlmad_core.registry.registry import default_registry
from vlmad_core.report.rows import read_rows
from vlmad_core.report.speed import read_speed
from vlmad_core.run import read_results, run
from vlmad_core.testing import memory_registry
from vlmad_core.training.curves import Curves
from vlmad_core.training.options import TrainingOptions
from vlmad_core.training.published import read_published
from vlmad_core.training.state import read_state

MEMORY = {"backbone": "tiny", "extractor": {"use": "patches", "config": {"space": "raw"}}, "scorers": ["memory"]}


def noise(path: Path, seed: int = 0, size: int = 32) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)).save(path)
    return path


# -- pipes in the place of files

READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "plan": ("plan.yaml", read_plan),
    "plan in JSON": ("plan.json", read_plan),
    "results": ("results.jsonl", lambda path: list(read_results(path.parent))),
    "rows": ("rows.jsonl", read_rows),
    "speed": ("speed.jsonl", read_speed),
    "published checkpoint": ("a.pth", read_published),
    "state of a training": ("training.json", lambda path: read_state(path.parent, {})),
    "recipe": ("a.yaml", build),
}


@pytest.mark.parametrize("what", READERS)
def test_a_pipe_in_the_place_of_a_file_is_refused_and_never_waited_for(what, tmp_path):
    name, read = READERS[what]
    os.mkfifo(tmp_path / name)
    with pytest.raises(ConfigError, match="regular file"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["results.jsonl", "run.json"])
def test_a_pipe_in_the_folder_of_results_is_refused_before_anything_is_judged(name, tmp_path):
    detector = build(MEMORY, registry=memory_registry()).fit([noise(tmp_path / "a.png")])
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / name)
    with pytest.raises(ConfigError):
        run(detector, [tmp_path / "a.png"], tmp_path / "out", maps="none", overlays=False)


# -- YAML

BOMB = (
    "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\ndata: [*b, *b, *b]\nmethods: [c]\n"
)


def test_anchors_are_refused_in_a_plan_and_in_its_options(tmp_path):
    (tmp_path / "plan.yaml").write_text(BOMB)
    with pytest.raises(ConfigError, match="anchors"):
        read_plan(tmp_path / "plan.yaml")
    with pytest.raises(Exception, match="anchors"):
        value("--seeds", "[&a [1], *a]")


def test_a_plan_that_is_nested_too_deeply_is_refused(tmp_path):
    (tmp_path / "plan.json").write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        read_plan(tmp_path / "plan.json")


def test_lists_of_states_in_a_file_have_no_anchors_and_are_no_pipe(tmp_path):
    lists = pytest.importorskip("vlmad_compositional.lists")
    (tmp_path / "a.yaml").write_text("normal: &a ['good {}']\nabnormal: *a\n")
    with pytest.raises(ValueError, match="anchors"):
        lists.read_states(str(tmp_path / "a.yaml"))
    os.mkfifo(tmp_path / "b.yaml")
    with pytest.raises(ValueError, match="regular file"):
        lists.read_states(str(tmp_path / "b.yaml"))


# -- numbers that are none


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_no_option_of_any_part_takes_a_number_that_is_not_finite(number):
    taken = []
    configs = {e.full_name: e.component.config for e in default_registry().entries() if hasattr(e.item, "config")}
    for name, config in {**configs, "training": TrainingOptions, "plan": BenchmarkPlan}.items():
        for field, about in config.model_fields.items():
            if "float" in str(about.annotation):
                given = {"data": "x", "methods": ["a"]} if name == "plan" else {}
                try:
                    config(**given, **{field: number})
                except (ValueError, ConfigError):
                    continue
                taken.append(f"{name} {field}")
    assert len(configs) > 5
    assert taken == []


# -- bits


def test_bits_are_not_applied_twice_to_a_file_that_says_its_own_scale(tmp_path):
    """A PGM of 12 bits names its highest value, so that its decoder has brought it to 16 bits already."""
    values = (np.arange(48 * 40).reshape(40, 48) % 200).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 48 40 4095\n" + values.tobytes())
    with_bits, without = (np.asarray(decode(tmp_path / "a.pgm", bits=bits).image)[..., 0] for bits in (12, None))
    np.testing.assert_array_equal(with_bits, without)
    assert with_bits.max() == round(199 * 255 / 4095)
    (tmp_path / "b.pgm").write_bytes(b"P5 48 40 65535\n" + values.tobytes())  # it says no more than 16 bits
    assert np.asarray(decode(tmp_path / "b.pgm", bits=12).image).max() == round(199 * 255 / 4095)


# -- what vlmad wrote


def data_set(root: Path) -> Path:
    for number, name in enumerate(("train/good", "test/good", "test/hole")):
        for i in range(3):
            noise(root / "a" / name / f"{i}.png", 10 * number + i)
    return root


def test_plots_of_a_benchmark_are_never_judged(tmp_path):
    plan = BenchmarkPlan(data=str(data_set(tmp_path / "data")), methods=[{"recipe": MEMORY, "label": "m"}], shots=[2])
    run_benchmark(plan, tmp_path / "bench", registry=memory_registry())
    assert list((tmp_path / "bench").rglob("*.png"))
    assert all(path.is_relative_to(tmp_path / "data") for path in search(tmp_path).images)
    with pytest.raises(Exception, match="folder that vlmad wrote"):
        search(tmp_path / "bench" / "plots")


def test_the_curves_of_a_training_are_never_judged(tmp_path):
    noise(tmp_path / "mine.png")
    curves = Curves(tmp_path)
    curves.step(1, {"loss": 1.0})
    curves.write()
    curves.draw()
    assert (tmp_path / "curves.png").exists()
    assert [path.name for path in search(tmp_path).images] == ["mine.png"]


# -- patterns that the shell took apart


@pytest.mark.parametrize("typed", [["--normal", "1", "2"], ["-n", "1", "2", "3"], ["x", "--normal", "1", "2", "-q"]])
def test_an_option_of_one_file_with_more_behind_it_is_refused(typed, tmp_path, monkeypatch):
    from vlmad_core.cli.unquoted import _refuse_unquoted

    monkeypatch.chdir(tmp_path)
    for name in "123":
        (tmp_path / name).touch()
    with pytest.raises(Exception, match="If the shell took a pattern apart, quote it"):
        _refuse_unquoted(("--normal", "-n"), typed)
    _refuse_unquoted(("--normal", "-n"), ["1", "2", "--normal", "3", "--quiet"])


@pytest.mark.parametrize(
    ("command", "option"), [("predict", "--normal"), ("speed", "--normal"), ("calibrate", "--defects")]
)
def test_every_command_with_an_option_of_files_beside_files_knows_such_a_pattern(command, option):
    import typer

    from vlmad_core.cli.__main__ import app

    group = typer.main.get_command(app)
    found = group.get_command(typer.Context(group), command)
    assert isinstance(found, QuotedCommand)
    assert option in {name for names in found.one_value for name in names}


# -- exit codes and content


def test_the_python_way_judges_again_or_refuses_after_another_fit(tmp_path):
    first, second, image = (noise(tmp_path / f"{i}.png", i) for i in range(3))
    detector = build(MEMORY, registry=memory_registry()).fit([first])
    run(detector, [image], tmp_path / "out", maps="none", overlays=False)
    detector.fit([second])
    with pytest.raises(ConfigError, match="was made with other settings: normals"):
        run(detector, [image], tmp_path / "out", maps="none", overlays=False)


def test_a_calibration_of_another_detector_is_stale_whatever_way_it_comes(tmp_path):
    """Copied from one detector's folder into another's."""
    images = [noise(tmp_path / f"{i}.png", i) for i in range(6)]
    registry = memory_registry()
    from vlmad_core import load

    for name, some in (("a", images[:3]), ("b", images[3:])):
        build(MEMORY, registry=registry).fit(some, calibrate=True).save(tmp_path / name)
    for path in (tmp_path / "a").glob("*"):
        if path.name == "calibration.json" or path.name.startswith("state-"):
            (tmp_path / "b" / path.name).write_bytes(path.read_bytes())
    loaded = load(tmp_path / "b", registry=registry)
    with pytest.raises(ConfigError):
        loaded.decision_rule()


def test_a_row_of_a_benchmark_with_an_unread_image_is_not_a_clean_exit(tmp_path):
    from vlmad_core.benchmark.run import BenchmarkResults
    from vlmad_core.cli.benchmark import _report

    plan = BenchmarkPlan(data=str(data_set(tmp_path / "data")), methods=[{"recipe": MEMORY, "label": "m"}], shots=[2])
    (tmp_path / "data/a/test/good/0.png").write_bytes(b"not an image")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results: BenchmarkResults = run_benchmark(plan, tmp_path / "out", registry=memory_registry(), tables=False)
    assert json.dumps(results.rows[0]["unreadable"]).count("0.png") > 0
    with pytest.raises(Exception) as left:
        _report(results, as_json=False, quiet=True)
    assert getattr(left.value, "exit_code", None) == 3


def test_a_picture_of_a_result_shows_the_pixels_that_were_scored(tmp_path):
    """A 12-bit image is bright in the scores and must not be nearly black in the overlay of Python or in a report."""
    values = np.random.default_rng(0).integers(2000, 4096, (48, 48)).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    detector = build(MEMORY, registry=memory_registry())
    detector.bits = 12
    detector.fit([tmp_path / "a.png"])
    prediction = detector.predict(tmp_path / "a.png")
    assert prediction.bits == 12
    expected = np.asarray(decode(tmp_path / "a.png", bits=12).image).mean()
    shown = np.asarray(prediction.overlay().convert("L"))
    assert shown.max() > 100 and expected > 180
    dark = np.asarray(Image.fromarray(values).point(lambda v: v / 257).convert("L")).mean()
    assert abs(np.median(shown[: shown.shape[0] // 3]) - dark) > 40
    report = pytest.importorskip("vlmad_report.report")
    run(detector, [tmp_path / "a.png"], tmp_path / "out", overlays=False)
    report.write_report(tmp_path / "out")
    photos = [Image.open(path).convert("L") for path in (tmp_path / "out/report-files").rglob("*.jpg")]
    assert max(float(np.asarray(photo).mean()) for photo in photos) > 150
