"""From folders and patterns to files, and from files to batches: in order, ahead, and not too far ahead."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vlmad_core.contracts import Preprocess, find_images, images
from vlmad_core.contracts.images import Picture, read, view_batches
from vlmad_core.errors import ConfigError, ImageError

SMALL = Preprocess((8, 8))


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)


# -- folders and patterns


@pytest.fixture
def tree(tmp_path, noise):
    image = Image.fromarray(noise)
    for name in ("b.png", "a.JPG", "deep/er/c.tiff", ".git/d.png", "deep/.git/f.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def names(found: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in found]


def test_folder_is_searched_to_the_bottom_in_order(tree):
    assert names(find_images(tree), tree) == ["a.JPG", "b.png", "deep/er/c.tiff"]


def test_hidden_parents_of_the_folder_itself_do_not_count(tree):
    assert names(find_images(tree / ".git"), tree) == [".git/d.png"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.png", ["b.png"]),
        ("*", ["a.JPG", "b.png"]),
        ("**/*.tiff", ["deep/er/c.tiff"]),
        ("?.[pJ]*", ["a.JPG", "b.png"]),
    ],
)
def test_patterns(tree, pattern, found):
    assert names(find_images(f"{tree}/{pattern}"), tree) == found


def test_sources_keep_their_order_and_each_file_comes_once(tree):
    found = find_images([tree / "deep", str(tree / "b.png"), tree, tree / "b.png", f"{tree}/*.JPG"])
    assert names(found, tree) == ["deep/er/c.tiff", "b.png", "a.JPG"]


def test_file_with_magic_letters_in_its_name_is_that_file(tree):
    path = shutil.copy(tree / "b.png", tree / "b[1].png")
    assert find_images(str(path)) == [Path(path)]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("empty", r"no image in this folder \(looked for \.apng, "),
        ("nowhere", r"no such file or folder\.$"),
        ("nowhere/x.png", r"no such file or folder\.$"),
        ("*.xyz", r"\*\.xyz: matches no image\.$"),
        ("*.txt", r"matches no image\.$"),
    ],
)
def test_source_without_images_is_refused(tree, source, words):
    with pytest.raises(ImageError, match=words):
        find_images([tree / "b.png", f"{tree}/{source}"])


def test_no_sources_are_no_images():
    assert find_images([]) == []


# -- reading in batches


@pytest.fixture
def numbered(tmp_path):
    """30 pictures whose grey is their number."""
    paths = [tmp_path / f"{i:02}.png" for i in range(30)]
    for i, path in enumerate(paths):
        Image.new("L", (4, 4), i).save(path)
    return paths


PLAIN = Preprocess((2, 2), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


@pytest.mark.parametrize("batch_size", [1, 2, 7, 8, 29, 30, 31, 100])
@pytest.mark.parametrize("workers", [1, 4])
def test_order_and_batches(numbered, batch_size, workers):
    batches = list(read(numbered, PLAIN, batch_size=batch_size, workers=workers))
    assert [len(batch) for batch in batches[:-1]] == [batch_size] * (len(batches) - 1)
    assert 1 <= len(batches[-1]) <= batch_size
    pictures = [picture for batch in batches for picture in batch]
    assert [picture.path for picture in pictures] == [str(path) for path in numbered]
    assert [round(float(picture.pixels[0, 0, 0]) * 255) for picture in pictures] == list(range(30))


def test_order_is_kept_when_the_first_is_slow(numbered, monkeypatch):
    real = images.decode

    def slow(source, **options):
        time.sleep(0.05 if source == numbered[0] else 0)
        return real(source, **options)

    monkeypatch.setattr(images, "decode", slow)
    (batch,) = read(numbered[:6], PLAIN, workers=3)
    assert [picture.source for picture in batch] == numbered[:6]


def test_sources_of_every_kind_in_one_batch(numbered, noise):
    sources = [numbered[3], str(numbered[4]), noise, Image.fromarray(noise)]
    (batch,) = read(sources, PLAIN)
    assert [picture.path for picture in batch] == [str(numbered[3]), str(numbered[4]), None, None]
    assert [picture.size for picture in batch] == [(4, 4), (4, 4), (24, 20), (24, 20)]
    assert torch.equal(batch[2].pixels, batch[3].pixels)


def test_nothing_to_read():
    assert list(read([], SMALL)) == []


@pytest.mark.parametrize("batch_size", [0, -1])
def test_batch_of_nothing_is_refused(numbered, batch_size):
    with pytest.raises(ConfigError, match=rf"batch_size must be at least 1, got {batch_size}\."):
        next(read(numbered, SMALL, batch_size=batch_size))


@pytest.fixture
def opened(monkeypatch):
    """How many pictures were opened, counted under a lock."""
    seen, lock, real = [], threading.Lock(), images.decode

    def counting(source, **options):
        with lock:
            seen.append(source)
        return real(source, **options)

    monkeypatch.setattr(images, "decode", counting)
    return seen


@pytest.mark.parametrize("batch_size", [1, 4])
def test_reading_does_not_run_ahead(numbered, opened, batch_size):
    asked = []
    reader = read((asked.append(path) or path for path in numbered), PLAIN, batch_size=batch_size)
    next(reader)
    time.sleep(0.1)  # whoever would run ahead does it now
    ahead = 2 * max(batch_size, 2)  # two threads
    assert batch_size <= len(opened) <= batch_size + ahead
    assert len(asked) <= batch_size + ahead
    next(reader)
    time.sleep(0.05)
    assert len(opened) <= 2 * batch_size + ahead
    reader.close()


def reading_threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("vlmad-read")}


def test_reading_stops_with_its_consumer(numbered, opened):
    before = reading_threads()
    reader = read(numbered, PLAIN, batch_size=4)
    next(reader)
    reader.close()
    count = len(opened)
    assert count < len(numbered)
    time.sleep(0.05)
    assert len(opened) == count
    assert reading_threads() == before


def test_pictures_that_wait_are_not_opened_after_the_consumer_stopped(numbered, monkeypatch):
    seen, real = [], images.decode

    def slow(source, **options):
        seen.append(source)
        time.sleep(0.03)
        return real(source, **options)

    monkeypatch.setattr(images, "decode", slow)
    reader = read(numbered, PLAIN, batch_size=4)
    next(reader)
    reader.close()
    assert 4 <= len(seen) < 12


def test_error_in_the_source_itself_is_passed_on(numbered):
    before = reading_threads()

    def broken():
        yield numbered[0]
        raise RuntimeError("the camera fell")

    with pytest.raises(RuntimeError, match="the camera fell"):
        list(read(broken(), PLAIN))
    assert reading_threads() == before


def test_picture_knows_its_path(tmp_path, noise):
    photo = tmp_path / "a.png"
    assert Picture(photo).path == str(photo)
    assert Picture(str(photo)).path == str(photo)
    assert Picture(noise).path is None


@pytest.mark.parametrize(("batch_size", "workers", "ahead"), [(4, 2, 8), (1, 5, 10)])
def test_every_thread_has_a_second_image_to_go_on_with(noise, batch_size, workers, ahead):
    asked = []

    def sources():
        for number in range(40):
            asked.append(number)
            yield noise

    batches = read(sources(), SMALL, batch_size=batch_size, workers=workers)
    next(batches)
    assert len(asked) == ahead + batch_size
    batches.close()


def test_the_channels_of_a_pixel_lie_side_by_side(noise):
    ((pictures),) = read([noise, noise], SMALL, batch_size=2)
    ((_, _, batch),) = view_batches(pictures)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch[1], pictures[1].pixels)
