"""Pictures: whole files, nothing lost, nothing on top of something else, no global state."""

from __future__ import annotations

import itertools
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from PIL import Image

from vlmad_core.errors import ConfigError
from vlmad_core.report import plots
from vlmad_core.report.canvas import setting_colour, shorten, styles
from vlmad_core.report.labels import place
from vlmad_core.report.speed import Speed


def fast(method, rate=10.0, **changes):
    own = {"backbone": "pocket", "image_size": (224, 224), "device": "cpu", "machine": "M", "dtype": "float32"}
    numbers = {"threads": 1, "batch": 1, "images": 9, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "parameters": 1}
    rest = {"images_per_second": rate, "peak_memory_mb": 1.0, "memory": "resident", "learned": 0, "flops": 1}
    return Speed(method=method, **{**own, **numbers, **rest, **changes})


def words(path):
    """What an SVG says: matplotlib writes each text as a comment before its outlines."""
    text = path.read_text(encoding="utf-8")
    ElementTree.fromstring(text)  # well formed
    return [part.partition("-->")[0].strip() for part in text.split("<!--")[1:]]


def test_both_files_are_whole_and_the_same_each_time(row, tmp_path):
    rows = [row("a", c) for c in "xy"]
    png, svg = plots.bars(rows, tmp_path / "sub" / "v1.2 bars")
    assert (png.name, svg.name) == ("v1.2 bars.png", "v1.2 bars.svg")
    with Image.open(png) as image:
        assert image.getpixel((0, 0))[:3] == (255, 255, 255)  # a white card, also on a dark page
        assert image.width == 1350
    before = png.read_bytes(), svg.read_bytes()
    plots.bars(rows, tmp_path / "sub" / "v1.2 bars")
    assert (png.read_bytes(), svg.read_bytes()) == before
    assert sorted(p.name for p in png.parent.iterdir()) == [png.name, svg.name]


def test_bars_say_value_interval_and_what_is_not_like_the_others(row, tmp_path):
    rows = [row("whole", c, value=0.8) for c in "xyz"]
    rows += [row("part", c, value=0.9) for c in "xy"]
    rows += [row("cheat", c, value=0.95, trained_on_this=True) for c in "xyz"]
    rows += [row("nothing", c, value=None) for c in "xyz"]
    rows += [row("skipped", c, status="skipped", shots=0) for c in "xyz"]
    said = words(plots.bars(rows, tmp_path / "b")[1])
    message = "image AUROC [%]. Lines: 95 % over images. The axis starts at 70. Left out, without a value: 1."
    assert {"80.0", "90.0", "95.0", "zero-shot", message} <= set(said)
    for label, why in (("part", "2 of 3 categories"), ("cheat", "trained on this data set")):
        assert said[said.index(label) + 1] == f"({why})"
    assert not any("skipped" in word or "nothing" in word for word in said)


def test_bars_of_metrics_without_interval_show_the_spread_over_seeds(row, tmp_path):
    rows = [row("a", shots=1, seed=s, value=0.7 + s / 50) for s in range(3)]
    said = words(plots.bars(rows, tmp_path / "b", metric="aupro")[1])
    assert "AUPRO [%]. Lines: standard deviation over seeds. The axis starts at 60." in said
    assert "chance" not in said


def test_shots_have_a_place_each_and_leave_out_what_is_not_whole(row, tmp_path):
    rows = [row(m, c, shots=k, seed=s) for m in "ab" for c in "xy" for k in (0, 1, 8) for s in range(2 if k else 1)]
    rows = [r for r in rows if (r["method"], r["category"], r["shots"]) != ("b", "y", 8)]
    said = words(plots.shots(rows, tmp_path / "s")[1])
    assert {"0", "1", "8", "normal images", "a", "b"} <= set(said)
    assert any("Left out, without all categories: 1." in word for word in said)


def test_one_number_of_shots_and_no_curve_at_all_still_make_a_picture(row, tmp_path):
    assert "0" in words(plots.shots([row("a")], tmp_path / "one")[1])
    said = words(plots.shots([row("a", value=None)], tmp_path / "none")[1])
    assert any("Left out, without all categories: 1." in word for word in said)


def test_speed_takes_the_fastest_batch_of_the_same_method_size_and_shots(row, tmp_path):
    rows = [row("a", shots=k) for k in (0, 4)] + [row("b", shots=0)]
    speeds = [fast("a", 5.0), fast("a", 9.0, batch=8), fast("a", 99.0, image_size=(448, 448)), fast("b", 30.0, shots=4)]
    said = words(plots.speed(rows, speeds, tmp_path / "s")[1])
    assert {"5", "10"} <= set(said)  # the scale has numbers, however close the points are
    assert {"a, 0 shots", "a, 4 shots", "On M, cpu, 1 thread."} <= set(said)
    assert "b, 0 shots" not in said  # its speed is that of four
    with pytest.raises(ConfigError, match="several machines"):
        plots.speed(rows, [fast("a"), fast("a", machine="N")], tmp_path / "s")
    with pytest.raises(ConfigError, match="no method has both"):
        plots.speed(rows, [fast("c")], tmp_path / "s")


def test_labels_lie_neither_on_each_other_nor_on_points():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    crowd = [(1 + i % 3 / 40, 80 + i / 9, f"a method called {i}, 4 shots", "#000000") for i in range(9)]
    corners = [(0.5, 60, "in the corner", "#000000"), (3.0, 95, "a long label at the right edge", "#000000")]
    for x, y, *_ in [*crowd, *corners]:
        axes.plot(x, y, "o", markersize=10)
    axes.set(xlim=(0.49, 3.05), ylim=(58, 96))
    place(axes, [*crowd, *corners], ink="#000000")
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) == 11
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    frame = axes.get_window_extent(renderer)
    for box in boxes:
        assert frame.x0 <= box.x0 + 1 and box.x1 <= frame.x1 + 1
        for x, y, *_ in crowd:
            across, up = axes.transData.transform((x, y))
            assert not (box.x0 < across < box.x1 and box.y0 < up < box.y1)


def test_known_methods_keep_their_look_and_no_two_share_one():
    everyone = styles([*(f"m{i}" for i in range(40)), "winclip", "pocket"])
    assert len(set(everyone.values())) == 42
    assert styles(["winclip"])["winclip"] == everyone["winclip"]
    assert styles(["pocket", "zzz"])["pocket"] == everyone["pocket"]
    assert styles(["m0", "m1"]) == styles(["m1", "m0"])
    assert len({style.colour for style in styles("abcdefghij").values()}) == 10


def test_signs_of_formulas_are_letters(row, tmp_path):
    label = r"50% \frac $x_ $ {"
    assert label in words(plots.bars([row(label)], tmp_path / "b")[1])


def test_long_labels_keep_both_ends():
    short = shorten("x" * 80 + ", 4 shots")
    assert len(short) <= 44 and short.startswith("xxx") and short.endswith(", 4 shots")
    assert shorten("short") == "short"


def test_refusals_name_the_cure(row, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="no rows to draw"):
        plots.bars([], tmp_path / "b")
    with pytest.raises(ConfigError, match="no rows to draw"):
        plots.shots([], tmp_path / "b")
    with pytest.raises(ConfigError, match="is no metric"):
        plots.bars([row()], tmp_path / "b", metric="seconds")
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    for draw in (plots.bars, plots.shots):
        with pytest.raises(ConfigError, match=r"pip install 'vlmad-core\[evaluation\]'"):
            draw([row()], tmp_path / "b")


def test_matplotlib_waits_until_something_is_drawn_and_pyplot_for_ever(tmp_path):
    code = """
import sys
from vlmad_core.report import plots
assert "matplotlib" not in sys.modules
metrics = {"image_auroc": 0.5}
row = {"status": "done", "dataset": "d", "category": "c", "method": "m", "shots": 0, "seed": 0, **metrics}
import matplotlib
settings = lambda: [(name, matplotlib.rcParams[name]) for name in matplotlib.rcParams if name != "backend"]
before = settings()
plots.bars([row], sys.argv[1])
assert "matplotlib.pyplot" not in sys.modules
assert settings() == before
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code, str(tmp_path / "b")], check=True, timeout=120)


def test_the_rules_stand_below_every_picture(row, tmp_path):
    rows = [row("a", shots=k) for k in (0, 1)]
    judged = "Maps scored at 256 x 256 pixels, masks: nearest. Pixel metrics are exact."
    for draw in (plots.bars, plots.shots):
        assert judged in words(draw(rows, tmp_path / "p", metric="aupro")[1])
        assert "Image score: recipe's own." in words(draw(rows, tmp_path / "p")[1])
    rows[1]["resolution"] = [512, 512]
    assert any("Rules differ" in word for word in words(plots.bars(rows, tmp_path / "p", metric="aupro")[1]))


@pytest.mark.parametrize(
    ("values", "start"), [((0.97, 0.99), 95), ((0.8, 0.9), 75), ((0.45, 0.9), 0), ((0.999, 0.9999), 95)]
)
def test_bars_start_where_differences_can_be_seen_and_say_so(row, tmp_path, values, start):
    rows = [row(f"m{i}", value=value, image_auroc_low=value, image_auroc_high=value) for i, value in enumerate(values)]
    said = words(plots.bars(rows, tmp_path / "b")[1])
    assert any(f"The axis starts at {start}." in word for word in said) is bool(start)
    assert str(start) in said
    assert ("chance" in said) is (start == 0)


def test_the_colour_of_a_bar_is_its_setting(row, tmp_path):
    rows = [row("a"), row("b", shots=4), row("c", shots=1), row("d", trained_on=["visa"])]
    said = words(plots.bars(rows, tmp_path / "b", by=["method", "shots"])[1])
    assert {"zero-shot", "4 normal images", "1 normal image", "trained, zero-shot"} <= set(said)
    text = (tmp_path / "b.svg").read_text().lower()
    settings = [(0, False), (4, False), (1, False), (0, True)]
    colours = {setting_colour(shots, trained=trained).lower() for shots, trained in settings}
    assert len(colours) == 4
    assert all(f"fill: {colour}" in text for colour in colours)


def test_labels_that_are_not_utf8_are_drawn(row, tmp_path):
    assert r"a\xff" in words(plots.bars([row("a\udcff")], tmp_path / "b")[1])
