"""Memory of readers and writers together is bounded, whatever mix of files is judged."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlmad_core.contracts import open_image
from vlmad_core.contracts.decode import decode
from vlmad_core.contracts.memory import MemoryBudget
from vlmad_core.errors import ImageError

JUDGE = """
import resource, sys, warnings
warnings.simplefilter("ignore")
from vlmad_core.run import run
from vlmad_core.pipeline.build import build
from vlmad_core.testing import memory_registry
import numpy as np
spec = {"backbone": "tiny", "extractor": {"use": "patches", "config": {"space": "raw"}}, "scorers": ["memory"]}
pipeline = build(spec, registry=memory_registry()).fit([np.full((30, 30, 3), i, np.uint8) for i in (90, 120)])
summary = run(pipeline, sys.argv[2:], sys.argv[1], workers=4, max_side=4000)
print(summary.done, summary.failed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_who_needs_more_than_is_free_waits() -> None:
    budget, most, used = MemoryBudget(100), [0], [0]
    lock = threading.Lock()

    def work(size: int) -> None:
        with budget.reserve(size):
            with lock:
                used[0] += min(size, 100)
                most[0] = max(most[0], used[0])
            time.sleep(0.002)
            with lock:
                used[0] -= min(size, 100)

    threads = [threading.Thread(target=work, args=(size,)) for size in (60, 30, 50, 100, 10, 250, 70) * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    assert most[0] <= 100


@pytest.mark.parametrize(("mode", "name"), [("L", "a.png"), ("RGB", "a.jpg"), ("RGBA", "a.png"), ("RGB", "a.jp2")])
def test_large_picture_is_decoded_smaller_where_no_more_is_needed(
    tmp_path: Path, mode: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vlmad_core.contracts.decode._LARGE", 1_000_000)
    values = np.zeros((900, 1200, len(mode)), np.uint8)
    values[:, :600, :] = 200
    if mode == "RGBA":
        values[..., 3] = 255
    Image.fromarray(values.squeeze()).save(tmp_path / name)
    decoded = decode(tmp_path / name, smallest=(100, 100))
    assert decoded.size == (900, 1200)
    assert 200 <= min(decoded.image.size) < 900
    shown = np.asarray(decoded.image).astype(int)
    assert np.abs(shown[:, : shown.shape[1] // 2 - 8] - 200).max() < 6
    assert shown[:, shown.shape[1] // 2 + 8 :].max() < 6


def test_turned_picture_is_turned_when_decoded_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.zeros((600, 900, 3), np.uint8)
    stored[:300] = 255
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    whole = open_image(tmp_path / "a.png")
    monkeypatch.setattr("vlmad_core.contracts.decode._LARGE", 1_000)
    decoded = decode(tmp_path / "a.png", smallest=(100, 100))
    assert decoded.size == (900, 600)
    small = np.asarray(decoded.image.resize((60, 90))).astype(int)
    assert np.abs(small - np.asarray(whole.resize((60, 90))).astype(int)).mean() < 3


def test_strips_give_the_same_pixels_as_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (70, 50, 4), np.uint8)
    deep = np.random.default_rng(0).integers(0, 65535, (70, 50)).astype(np.uint16)
    sources = {"a.png": noise, "b.png": noise[..., 0], "c.tif": deep}
    for name, values in sources.items():
        Image.fromarray(values).save(tmp_path / name)
    Image.fromarray(noise[..., :3]).convert("P").save(tmp_path / "d.gif")
    Image.fromarray(noise[..., :3]).convert("CMYK").save(tmp_path / "e.tif")
    names = [*sources, "d.gif", "e.tif"]
    whole = [np.asarray(open_image(tmp_path / name)) for name in names]
    monkeypatch.setattr("vlmad_core.contracts.pixels._STRIP", 300)
    for name, wanted in zip(names, whole, strict=True):
        np.testing.assert_array_equal(np.asarray(open_image(tmp_path / name)), wanted)


@pytest.mark.parametrize("size", [(30_000, 30_000), (200_000, 5_000)])
def test_bomb_is_called_by_its_name(tmp_path: Path, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    Image.new("1", size).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 2_000_000
    with pytest.raises(ImageError, match=r"need \d\.\d GB of memory, .* may be a decompression bomb"):
        open_image(tmp_path / "a.png")


@pytest.mark.slow
def test_peak_of_a_mix_of_bombs(tmp_path: Path) -> None:
    """The largest of each kind that the limit admits, four readers at once, with maps and overlays."""
    Image.MAX_IMAGE_PIXELS = None
    makers = {
        "a.png": ("RGB", 20_000, {}),
        "b.png": ("L", 24_000, {}),
        "c.png": ("RGBA", 14_000, {}),
        "d.jpg": ("RGB", 20_000, {}),
        "e.jpg": ("RGB", 10_000, {"progressive": True}),
        "f.webp": ("RGB", 9_000, {}),
        "g.tif": ("RGB", 14_000, {"compression": "tiff_lzw"}),
        "h.gif": ("L", 12_000, {}),
        "i.jp2": ("RGB", 6_000, {}),
    }
    for name, (mode, side, options) in makers.items():
        Image.new(mode, (side, side), 90 if mode == "L" else "teal").save(tmp_path / name, **options)
    paths = [str(tmp_path / name) for name in makers]
    done = subprocess.run(
        [sys.executable, "-c", JUDGE, str(tmp_path / "out"), *paths], capture_output=True, text=True, timeout=900
    )
    count, failed, peak = map(int, done.stdout.split())
    assert (count, failed) == (len(makers), 0), (tmp_path / "out/results.csv").read_text()
    assert peak < 2.5e9, f"{peak / 1e9:.2f} GB"
