"""Nothing of a data set is left out or misread without a word: it is read right, or it is a problem."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from vlmad_core import read_dataset
from vlmad_core.datasets.base import Dataset, Sample
from vlmad_core.datasets.check import check
from vlmad_core.datasets.masks import mask_of, open_mask
from vlmad_core.errors import ConfigError, ImageError
from vlmad_core.testing import memory_registry

from .conftest import draw, mark, mvtec  # noqa: TID252

REGISTRY = memory_registry()


def own(root: Path, layout: str = "auto", **config: object) -> Dataset:
    return read_dataset(root, layout, config=config, registry=REGISTRY)


def problems(root: Path, layout: str = "auto") -> str:
    return "\n".join(own(root, layout).problems)


def masks_of(dataset: Dataset) -> dict[str, list[str]]:
    return {Path(s.image).name: [Path(m).name for m in s.masks] for s in dataset if s.label}


# -- folders


def test_folders_of_unknown_name_beside_good_are_named_and_can_be_given(tmp_path: Path) -> None:
    draw(tmp_path / "good/0.png")
    for kind in ("crack", "colour"):
        draw(tmp_path / f"{kind}/0.png")
    text = problems(tmp_path)
    assert f"{tmp_path / 'crack'}: holds 1 images and is left out" in text
    assert f"{tmp_path / 'colour'}: holds 1 images" in text
    found = own(tmp_path, "folders", defects=["crack", "colour"])
    assert found.count()[tmp_path.name] == {"test/good": 1, "test/defective": 2}
    assert found.problems == ()


@pytest.mark.parametrize("good", ["OK", "Good", "NORMAL"])
@pytest.mark.parametrize(
    ("train", "test", "truth"), [("train", "test", "ground_truth"), ("Train", "TEST", "Ground_Truth")]
)
def test_capitals_in_names_of_folders(tmp_path: Path, good: str, train: str, test: str, truth: str) -> None:
    for place in (f"{train}/{good}", f"{test}/{good}", f"{test}/NG"):
        draw(tmp_path / f"part/{place}/0.png")
    mark(tmp_path / f"part/{truth}/ng/0_Mask.png")
    found = own(tmp_path)
    assert found.count() == {"part": {"train/good": 1, "test/good": 1, "test/defective": 1}}
    assert masks_of(found) == {"0.png": ["0_Mask.png"]}
    assert found.problems == ()


def test_images_one_folder_too_deep_are_refused_where_nothing_else_is_read(tmp_path: Path) -> None:
    for place in ("train/good/rgb", "test/good/rgb", "test/hole/rgb"):
        draw(tmp_path / f"bagel/{place}/0.png")
    with pytest.raises(ConfigError, match=r"no image was read as .*\n  .*lies too deep"):
        own(tmp_path)


def test_images_in_no_sample_are_counted_by_folder(tmp_path: Path) -> None:
    mvtec(tmp_path)
    for i in range(3):
        draw(tmp_path / f"bottle/extra/{i}.png")
    assert f"{tmp_path / 'bottle/extra'}: holds 3 images that are in no sample" in problems(tmp_path, "mvtec-layout")


def test_what_a_search_passes_over_is_a_problem(tmp_path: Path) -> None:
    mvtec(tmp_path)
    (tmp_path / "bottle/train/good/9.heic").write_bytes(b"x")
    os.mkfifo(tmp_path / "bottle/train/good/8.png")
    text = problems(tmp_path, "mvtec-layout")
    assert "9.heic: is a file with an unknown ending, so it is left out." in text
    assert "8.png: is a pipe, so it is left out." in text


def test_link_in_a_circle_counts_each_image_once(tmp_path: Path) -> None:
    draw(tmp_path / "set/good/0.png")
    (tmp_path / "set/good/sub").mkdir()
    (tmp_path / "set/good/sub/back").symlink_to("..")
    assert len(own(tmp_path / "set")) == 1


# -- which mask is whose


def test_mask_goes_to_the_image_with_its_own_ending(tmp_path: Path) -> None:
    mvtec(tmp_path)
    draw(tmp_path / "bottle/test/scratch/000.jpg")
    found = own(tmp_path, "mvtec-layout")
    assert masks_of(found)["000.png"] == ["000_mask.png"]
    assert masks_of(found)["000.jpg"] == []
    assert "000.jpg: shares its stem, so it is not clear whether 000_mask.png is its mask" in "\n".join(found.problems)
    mark(tmp_path / "bottle/ground_truth/scratch/000_mask.jpg")
    assert masks_of(own(tmp_path, "mvtec-layout"))["000.jpg"] == ["000_mask.jpg"]


def test_two_masks_of_one_image_are_told(tmp_path: Path) -> None:
    mvtec(tmp_path)
    mark(tmp_path / "bottle/ground_truth/scratch/000_mask.bmp")
    found = own(tmp_path, "mvtec-layout")
    assert masks_of(found)["000.png"] == ["000_mask.png"]
    assert "000_mask.bmp: is a mask without an image" in "\n".join(found.problems)


@pytest.mark.parametrize("name", ["ground_truth", "GT", "masks", "Mask"])
def test_masks_among_the_tests_are_no_defective_images(tmp_path: Path, name: str) -> None:
    mvtec(tmp_path)
    (tmp_path / "bottle/ground_truth/scratch").rename(tmp_path / f"bottle/test/{name}")
    found = own(tmp_path, "mvtec-layout")
    assert found.count()["bottle"]["test/defective"] == 2
    assert f"bottle/test/{name}: holds masks and not images" in "\n".join(found.problems)


@pytest.mark.parametrize("ending", ["_mask", "-mask", "_gt", "_label", "_GT"])
def test_mask_beside_its_image_is_its_mask(tmp_path: Path, ending: str) -> None:
    mvtec(tmp_path)
    mark(tmp_path / "bottle/ground_truth/scratch/000_mask.png").rename(
        tmp_path / f"bottle/test/scratch/000{ending}.png"
    )
    found = own(tmp_path, "mvtec-layout")
    assert masks_of(found) == {"000.png": [f"000{ending}.png"], "001.png": ["001_mask.png"]}


def test_masks_of_label_tools_are_joined_by_folder_and_told_by_any_other_name(tmp_path: Path) -> None:
    draw(tmp_path / "good/0.png")
    draw(tmp_path / "defects/000.png")
    mark(tmp_path / "masks/task-1-annotation-1-by-1-tag-stain-0.png")
    assert "task-1-annotation-1-by-1-tag-stain-0.png: is a mask without an image" in problems(tmp_path)
    mark(tmp_path / "masks/000/a.png")
    assert masks_of(own(tmp_path)) == {"000.png": ["a.png"]}


@pytest.mark.parametrize("name", ["defects/000.json", "defects/000.xml", "_annotations.coco.json", "annotations.json"])
def test_annotations_that_are_no_masks_are_told(tmp_path: Path, name: str) -> None:
    draw(tmp_path / "good/0.png")
    draw(tmp_path / "defects/000.png")
    (tmp_path / name).write_text("{}")
    assert f"{tmp_path / name}: 1 file of annotations" in problems(tmp_path)


# -- what a mask says


def blob(size: int = 64) -> Image.Image:
    values = np.zeros((size, size), np.uint8)
    values[20:44, 16:40] = 255
    return Image.fromarray(values)


TRUE = float((np.asarray(blob()) > 0).mean())


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.png"])
def test_lossy_and_soft_masks_mark_the_true_area(tmp_path: Path, name: str) -> None:
    soft = blob().filter(ImageFilter.GaussianBlur(2)) if name == "a.png" else blob()
    soft.save(tmp_path / name, quality=75)
    assert open_mask(tmp_path / name).mean() == pytest.approx(TRUE, rel=0.1)
    draw(tmp_path / "image.png", (64, 64))
    sample = Sample(tmp_path / "image.png", True, "x", "test", "stain", (tmp_path / name,))
    (problem,) = check(Dataset.of("x", [sample]))
    assert "is stored with losses" in problem or "grey values, not two" in problem


@pytest.mark.parametrize("value", [1, 2, 120, 236, 255])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_numbered_masks_are_whole(tmp_path: Path, value: int, dtype: type) -> None:
    Image.fromarray((np.asarray(blob()) > 0).astype(dtype) * dtype(value)).save(tmp_path / "a.png")
    assert open_mask(tmp_path / "a.png").mean() == TRUE


def test_many_numbered_defects_are_all_marked() -> None:
    values = np.zeros((20, 20), np.uint8)
    values[::2, ::2] = np.arange(100).reshape(10, 10) + 1
    assert open_mask(values).sum() == 100


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_mask_that_is_not_finite_is_refused(tmp_path: Path, bad: float) -> None:
    values = np.zeros((4, 4), np.float32)
    values[1, 1] = bad
    Image.fromarray(values).save(tmp_path / "a.tif")
    for source in (values, tmp_path / "a.tif"):
        with pytest.raises(ImageError, match="not finite"):
            open_mask(source)


def test_negatives_are_told(tmp_path: Path) -> None:
    mvtec(tmp_path)
    for path in (tmp_path / "bottle/ground_truth/scratch").iterdir():
        ImageOps.invert(Image.open(path)).save(path)
    text = "\n".join(check(own(tmp_path, "mvtec-layout")))
    assert "2 of 2 masks mark more than half of their image; if they are white where nothing is wrong" in text


def test_mask_of_several_pages_is_told(tmp_path: Path) -> None:
    draw(tmp_path / "image.png", (64, 64))
    blob().save(tmp_path / "a.tif", save_all=True, append_images=[blob()])
    sample = Sample(tmp_path / "image.png", True, "x", "test", "stain", (tmp_path / "a.tif",))
    assert "a.tif: holds several pages" in "\n".join(check(Dataset.of("x", [sample])))


def test_dark_16_bit_image_and_its_pages_are_told(tmp_path: Path) -> None:
    page = Image.fromarray(np.full((8, 8), 4000, np.uint16))
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    text = "\n".join(check(Dataset.of("x", [Sample(tmp_path / "a.tif", False, "x", "test")])))
    assert "holds 2 pages" in text
    assert "fits in 12 of its 16 bits" in text


# -- tables


@pytest.fixture
def caps(tmp_path: Path) -> Path:
    for i in range(2):
        draw(tmp_path / f"caps/{i}.png")
    mark(tmp_path / "caps/masks/1.png")
    return tmp_path


def counted(path: Path) -> dict[str, int]:
    (cells,) = own(path).count().values()
    return cells


BOTH = {"test/good": 1, "test/defective": 1}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_encodings_of_tables(caps: Path, encoding: str, suffix: str) -> None:
    rows = [{"image": "caps/0.png", "label": "good"}, {"image": "caps/1.png", "label": "defective"}]
    text = "image,label\n" + "".join(f"{row['image']},{row['label']}\n" for row in rows)
    if suffix == "jsonl":
        text = "".join(json.dumps(row) + "\n" for row in rows)
    (caps / f"list.{suffix}").write_text(text, encoding=encoding)
    assert counted(caps / f"list.{suffix}") == BOTH


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("head", ["", "sep={}\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_separators_of_tables(caps: Path, separator: str, head: str, end: str) -> None:
    rows = ["Image {} LABEL", '"caps/0.png"{}good', "caps/1.png {} defective "]
    text = head.format(separator) + "".join(row.format(separator) + end for row in rows)
    (caps / "list.csv").write_bytes(text.encode())
    assert counted(caps / "list.csv") == BOTH


def test_several_masks_in_any_separator(caps: Path) -> None:
    mark(caps / "caps/masks/2.png")
    for separator, masks in ((",", "caps/masks/1.png;caps/masks/2.png"), (";", '"caps/masks/1.png;caps/masks/2.png"')):
        (caps / "list.csv").write_text(f"image{separator}mask\ncaps/1.png{separator}{masks}\n")
        (sample,) = own(caps / "list.csv")
        assert [Path(mask).name for mask in sample.masks] == ["1.png", "2.png"]


def test_backslashes_are_slashes(caps: Path) -> None:
    (caps / "list.csv").write_text("image,label,mask\ncaps\\0.png,good,\ncaps\\1.png,defective,caps\\masks\\1.png\n")
    found = own(caps / "list.csv")
    assert check(found) == []
    assert mask_of(found.samples[1]).any()


def test_drive_of_another_computer_is_told(caps: Path) -> None:
    (caps / "list.csv").write_text("image,label\nC:\\photos\\0.png,good\n")
    assert "'C:\\photos\\0.png' is a path with a drive, of another computer" in problems(caps / "list.csv")


def test_separator_inside_a_cell_without_quotes_is_refused(caps: Path) -> None:
    (caps / "list.csv").write_text("image,label\ncaps/0,1.png,good\n")
    with pytest.raises(ConfigError, match=r"line 2: has more cells than the header.*double quotes"):
        own(caps / "list.csv")


def test_pipe_in_place_of_a_table_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.csv")
    with pytest.raises(ConfigError, match="no manifest"):
        own(tmp_path / "list.csv", "manifest")


def test_no_mask_is_taken_twice(tmp_path: Path, paint: Callable[..., object]) -> None:
    mvtec(tmp_path)
    draw(tmp_path / "bottle/test/scratch/000.bmp")
    used = [mask for sample in own(tmp_path, "mvtec-layout") for mask in sample.masks]
    assert len(used) == len(set(used))
