"""Everything that the checker can tell, one fault at a time in a data set that was whole."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vlmad_core import Dataset, Sample, read_dataset
from vlmad_core.datasets.check import check
from vlmad_core.datasets.published import MVTEC_AD
from vlmad_core.testing import memory_registry

REGISTRY = memory_registry()


@pytest.fixture
def root(tree):
    return tree("mvtec-layout") / "own_part"


def problems(root, *, fast=False):
    return check(read_dataset(root.parent, registry=REGISTRY), fast=fast)


def only(root, *, fast=False):
    (problem,) = problems(root, fast=fast)
    assert problem.startswith(f"{root}")
    assert problem.endswith(".")
    return problem.removeprefix(f"{root}/")


def test_whole(root):
    assert problems(root) == []


# -- names and counts


def test_missing_category_and_wrong_counts(tree):
    root = tree("mvtec-ad")
    found = check(read_dataset(root, registry=REGISTRY), fast=True)
    missing = [problem for problem in found if "is missing" in problem]
    assert len(missing) == 13
    assert f"{root}: category cable is missing; MVTec AD" in missing[0]
    assert f"{root}: bottle has 3 images in train/good, published are 209; unpack it again." in found


def test_too_many_images(tree):
    dataset = read_dataset(tree("mvtec-ad") / "bottle", registry=REGISTRY)
    counts = {"bottle": {"train/good": 2, "test": 4, "defective": 2, "all": 7}}
    (problem,) = check(replace(dataset, facts=replace(MVTEC_AD, counts=counts)))
    assert problem.endswith("bottle has 3 images in train/good, published are 2; remove what was added.")


def test_category_that_nobody_published(tree, tmp_path, paint):
    root = tree("mvtec-ad")
    paint(root / "spoon/train/good/0.png")
    paint(root / "spoon/test/good/0.png")
    found = check(read_dataset(root, registry=REGISTRY), fast=True)
    assert any(f"{root}: spoon is no category of MVTec AD" in problem for problem in found)


def test_what_the_reader_found_comes_first(root, paint):
    loose = paint(root / "train/loose.png")
    assert problems(root)[0].startswith(f"{loose}: lies outside the folder of its kind")


# -- masks


@pytest.mark.parametrize("fast", [False, True])
def test_defective_without_a_mask(root, fast):
    (root / "ground_truth/scratch/001_mask.png").unlink()
    assert only(root, fast=fast).startswith("test/scratch/001.png: is defective and has no mask; add one")


def test_no_masks_at_all_is_no_fault(root):
    shutil.rmtree(root / "ground_truth")
    assert problems(root) == []


@pytest.mark.parametrize("fast", [False, True])
def test_mask_without_an_image(root, mask, fast):
    mask(root / "ground_truth/scratch/077_mask.png")
    assert only(root, fast=fast).startswith("ground_truth/scratch/077_mask.png: is a mask without an image in")


def test_mask_of_another_size(root, mask):
    mask(root / "ground_truth/scratch/000_mask.png", size=(8, 16))
    message = only(root)
    assert message.startswith("ground_truth/scratch/000_mask.png: is 16 x 8 pixels, but ")
    assert message.endswith("test/scratch/000.png is 8 x 8; make it the same size.")


def test_mask_that_is_all_zero(root, mask):
    mask(root / "ground_truth/scratch/000_mask.png", 0)
    assert only(root).startswith("ground_truth/scratch/000_mask.png: is all zero, but")


def test_one_of_several_masks_may_be_zero(tree, mask):
    root = tree("mvtec-loco")
    mask(root / "pushpins/ground_truth/logical_anomalies/000/001.png", 0)
    assert [p for p in check(read_dataset(root, registry=REGISTRY)) if "zero" in p] == []


def test_normal_image_with_a_mask_that_marks(root, mask):
    mask(root / "ground_truth/good/000_mask.png", 0)
    assert problems(root) == []
    mask(root / "ground_truth/good/000_mask.png", 1)
    assert only(root).startswith("ground_truth/good/000_mask.png: marks a defect, but")


def test_mask_in_colour(root):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:2] = (255, 0, 0)
    Image.fromarray(pixels).save(root / "ground_truth/scratch/000_mask.png")
    assert only(root).startswith("ground_truth/scratch/000_mask.png: is a picture in colour and not a mask")


def test_grey_mask_stored_in_colour_is_no_fault(root):
    path = root / "ground_truth/scratch/000_mask.png"
    Image.open(path).convert("RGB").save(path)
    assert problems(root) == []


def test_mask_stored_with_losses(root):
    path = root / "ground_truth/scratch/000_mask.png"
    Image.open(path).save(path.with_suffix(".jpg"))
    path.unlink()
    assert only(root).startswith("ground_truth/scratch/000_mask.jpg: 1 mask is stored with losses")


# -- files


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", ["train/good/000.png", "ground_truth/scratch/000_mask.png"])
def test_empty_file(root, name, fast):
    (root / name).write_bytes(b"")
    assert only(root, fast=fast) == f"{name}: the file is empty; copy it again."


@pytest.mark.parametrize("name", ["train/good/000.png", "ground_truth/scratch/000_mask.png"])
def test_file_that_is_cut_short(root, name):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(root / name)
    (root / name).write_bytes((root / name).read_bytes()[:2000])
    assert only(root).startswith(f"{name}: is damaged or cut short")
    assert problems(root, fast=True) == []


@pytest.mark.parametrize("name", ["test/good/000.png", "ground_truth/scratch/000_mask.png"])
def test_file_that_is_no_image(root, name):
    (root / name).write_text("<html>not found</html>")
    assert only(root).startswith(f"{name}: is not an image that can be read.")


def test_image_of_a_mode_without_a_scale(root):
    Image.fromarray(np.full((8, 8), 1e6, np.float32)).save(root / "test/good/000.tif")
    (root / "test/good/000.png").unlink()
    assert "must be finite and in [0, 1]" in only(root)


@pytest.mark.parametrize("fast", [False, True])
def test_file_that_a_table_names_and_nobody_has(tree, fast):
    root = tree("manifest")
    (root / "b.png").unlink()
    (root / "c.png").unlink()
    found = check(read_dataset(root, registry=REGISTRY), fast=fast)
    assert [problem.partition(": ")[0] for problem in found] == [str(root / "b.png"), str(root / "c.png")]
    assert all("no such file; copy it there" in problem for problem in found)


# -- the same picture twice


def test_test_image_that_is_in_train_too(root):
    shutil.copy(root / "train/good/001.png", root / "test/good/009.png")
    message = only(root)
    assert message.startswith("test/good/009.png: is the same picture as")
    assert message.endswith("train/good/001.png, so test repeats train; remove one of them.")
    assert problems(root, fast=True) == []


def test_same_picture_with_two_labels(root):
    shutil.copy(root / "test/good/001.png", root / "test/scratch/000.png")
    assert "which has another label; remove one of them." in only(root)


def test_same_picture_twice_in_one_place_is_no_fault(root):
    shutil.copy(root / "train/good/001.png", root / "train/good/009.png")
    assert problems(root) == []


# -- how it works


def test_pictures_in_memory():
    picture, marked, unmarked = np.zeros((4, 4, 3), np.uint8), np.eye(4) > 0, np.zeros((4, 4), bool)
    samples = (
        Sample(picture, True, "a", "test", masks=(marked,)),
        Sample(picture, True, "a", "test", masks=(unmarked,)),
        Sample(np.zeros((4, 4, 7)), False, "a", "test"),
        Sample(picture, True, "a", "test", masks=(np.zeros((4, 4, 3)),)),
    )
    zero, strange, mask = check(Dataset("memory", samples))
    assert zero.startswith("a mask in memory: is all zero, but a picture in memory is defective")
    assert strange.startswith("an array must be [height, width]")
    assert mask.startswith("a mask must be an array [height, width]")


def test_problems_keep_the_order_of_the_samples(root):
    for i in (2, 0, 1):
        (root / f"train/good/00{i}.png").write_bytes(b"")
    assert [problem.partition(": ")[0][-7:] for problem in problems(root)] == ["000.png", "001.png", "002.png"]


def test_progress_counts_every_sample_and_threads_end(root):
    seen: list[int] = []
    dataset = read_dataset(root.parent, registry=REGISTRY)
    check(dataset, progress=seen.append)
    assert sum(seen) == len(dataset)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vlmad-check")]


def test_a_stop_ends_the_threads(root):
    def stop(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(read_dataset(root.parent, registry=REGISTRY), progress=stop)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("vlmad-check")]


def test_nothing_is_changed(root):
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    problems(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
