"""Each layout in miniature: found by itself, read whole, with labels, kinds, splits and masks."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from vlmad_core import read_dataset
from vlmad_core.datasets.check import check
from vlmad_core.datasets.masks import mask_of
from vlmad_core.errors import ConfigError
from vlmad_core.registry.registry import Registry
from vlmad_core.testing import memory_registry

GOOD, BAD = {"train/good": 3, "test/good": 2}, {"test/defective": 2}

# layout: name, counts, kinds
EXPECTED = {
    "mvtec-ad": ("mvtec-ad", {"bottle": GOOD | BAD, "metal_nut": GOOD | BAD}, {"good", "scratch", "bent"}),
    "mvtec-ad-2": (
        "mvtec-ad-2",
        {"vial": {"train/good": 1, "validation/good": 1, "test/good": 1, "test/defective": 1}},
        {"good", "bad"},
    ),
    "mvtec-loco": (
        "mvtec-loco",
        {"pushpins": {"train/good": 2, "validation/good": 2, "test/good": 2, "test/defective": 3}},
        {"good", "logical_anomalies", "structural_anomalies"},
    ),
    "visa": (
        "visa",
        {"candle": {"train/good": 2, "test/good": 1, "test/defective": 1}},
        {"good", "wax melted out,other"},
    ),
    "visa-converted": ("visa-converted", {"pcb1": GOOD | BAD}, {"good", "bad"}),
    "btad": ("btad", {"01": GOOD | BAD, "03": GOOD | BAD}, {"good", "ko"}),
    "mpdd": ("mpdd", {"bracket_black": GOOD | BAD}, {"good", "hole"}),
    "real-iad": ("real-iad", {"audiojack": {"train/good": 2, "test/good": 1, "test/defective": 1}}, {"good", "BX"}),
    "kolektor-sdd": ("kolektor-sdd", {"commutator": {"test/good": 3, "test/defective": 1}}, {"good", "defective"}),
    "kolektor-sdd2": (
        "kolektor-sdd2",
        {"surface": {"train/good": 2, "train/defective": 1, "test/good": 2, "test/defective": 1}},
        {"good", "defective"},
    ),
    "dagm": (
        "dagm",
        {
            name: {"train/good": 2, "train/defective": 1, "test/good": 2, "test/defective": 1}
            for name in ("Class1", "Class2", "Class10")
        },
        {"good", "defective"},
    ),
    "elpv": (
        "elpv",
        {"mono": {"test/good": 2}, "poly": {"test/good": 1, "test/defective": 2}},
        {"good", "probability 0.67", "probability 1"},
    ),
    "mvtec-layout": ("mvtec-layout", {"own_part": GOOD | BAD}, {"good", "scratch"}),
    "folders": ("folders", {"folders": {"test/good": 4, "test/defective": 2}}, {"good", "defective", "crack"}),
    "manifest": ("manifest", {"cap": {"train/good": 1, "test/defective": 1}}, {"good", "dent"}),
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return memory_registry()


def test_every_layout_is_tested(registry, layouts):
    offered = {entry.name for entry in registry.entries("dataset")}
    assert offered == set(EXPECTED) == set(layouts)


@pytest.mark.parametrize("layout", EXPECTED)
def test_found_by_itself_and_read_whole(tree, registry, layout):
    name, counts, kinds = EXPECTED[layout]
    dataset = read_dataset(tree(layout), registry=registry)
    assert dataset.name == name
    assert dataset.count() == counts
    assert list(dataset.categories) == list(counts)
    assert {sample.kind for sample in dataset} == kinds
    assert dataset.problems == ()
    assert {sample.kind for sample in dataset if sample.label is False} == {"good"}


@pytest.mark.parametrize("layout", EXPECTED)
def test_masks_are_those_of_their_images(tree, registry, layout):
    for sample in read_dataset(tree(layout), registry=registry):
        assert bool(sample.masks) == bool(sample.label and layout != "elpv") or "kolektor" in layout
        assert mask_of(sample).any() == bool(sample.masks and sample.label)


@pytest.mark.parametrize("layout", EXPECTED)
def test_one_that_is_as_published_has_no_problems(tree, registry, layout):
    dataset = read_dataset(tree(layout), registry=registry)
    if dataset.facts is not None:
        dataset = replace(dataset, facts=replace(dataset.facts, counts=dataset.count()))
    assert check(dataset) == []
    assert check(dataset, fast=True) == []


@pytest.mark.parametrize("layout", EXPECTED)
def test_an_empty_folder_is_refused_in_a_sentence(tmp_path, registry, layout):
    with pytest.raises(ConfigError) as refused:
        read_dataset(tmp_path, layout, registry=registry)
    assert str(refused.value).startswith(str(tmp_path))
    assert str(refused.value).endswith(".")


def test_samples_keep_their_order(tree, registry):
    root = tree("mvtec-ad")
    first, second = (read_dataset(root, registry=registry).samples for _ in range(2))
    assert first == second
    train = [str(sample.image) for sample in first if sample.category == "bottle" and sample.split == "train"]
    assert train == sorted(train)


def test_select_and_names(tree, registry):
    dataset = read_dataset(tree("mvtec-ad"), registry=registry)
    bent = dataset.select(category="metal_nut", split="test", label=True)
    assert len(bent) == 2
    assert {sample.class_name for sample in bent} == {"metal nut"}
    assert bent.facts is None


def test_root_may_be_one_category(tree, registry):
    dataset = read_dataset(tree("mvtec-ad") / "bottle", registry=registry)
    assert dataset.name == "mvtec-ad"
    assert dataset.categories == ("bottle",)
    assert not [problem for problem in check(dataset) if "is missing" in problem]


# -- options


def test_private_sets_of_ad_2_have_no_labels(tree, registry):
    dataset = read_dataset(tree("mvtec-ad-2"), registry=registry, config={"private": True})
    unknown = [sample for sample in dataset if sample.label is None]
    assert [sample.kind for sample in unknown] == ["test_private", "test_private_mixed"]
    assert dataset.count()["vial"]["test/unknown"] == 2


def test_private_sets_that_are_not_there_are_told(tree, registry):
    root = tree("mvtec-ad-2")
    for image in (root / "vial/test_private").iterdir():
        image.unlink()
    (problem,) = read_dataset(root, registry=registry, config={"private": True}).problems
    assert problem.startswith(f"{root / 'vial/test_private'}: has no images")


def test_visa_with_another_split_expects_no_counts(tree, registry):
    dataset = read_dataset(tree("visa"), registry=registry, config={"split": "2cls_fewshot"})
    assert "2cls_fewshot" in dataset.facts.title
    assert not [problem for problem in check(dataset, fast=True) if "candle" in problem]


def test_elpv_threshold_and_uncertain_cells(tree, registry):
    root = tree("elpv")
    low = read_dataset(root, registry=registry, config={"threshold": 0.3})
    assert sum(bool(sample.label) for sample in low) == 3
    sure = read_dataset(root, registry=registry, config={"skip_uncertain": True})
    assert [sample.label for sample in sure] == [False, True, False]


@pytest.mark.parametrize("place", ["data", "src/elpv_dataset/data"])
def test_elpv_inside_its_package_or_repository(tree, tmp_path, registry, place):
    (tmp_path / "outer" / place).parent.mkdir(parents=True)
    tree("elpv").rename(tmp_path / "outer" / place)
    assert len(read_dataset(tmp_path / "outer", registry=registry)) == 5


def test_elpv_from_the_installed_package(tree, tmp_path, registry, monkeypatch):
    package = tmp_path / "site/elpv_dataset"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('is not imported')")
    tree("elpv").rename(package / "data")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    assert len(read_dataset("elpv_dataset", registry=registry)) == 5


@pytest.mark.parametrize("layout", ["kolektor-sdd", "elpv", "folders"])
def test_share_for_training_is_the_same_each_time_and_normal(tree, registry, layout):
    root = tree(layout)
    dataset = read_dataset(root, registry=registry, config={"train": 0.6})
    train = dataset.select(split="train")
    assert len(train) > 0
    assert all(sample.label is False for sample in train)
    assert dataset == read_dataset(root, registry=registry, config={"train": 0.6})


def test_kolektor_items_are_in_one_split_alone(tree, registry):
    dataset = read_dataset(tree("kolektor-sdd"), registry=registry, config={"train": 0.5})
    by_split = {split: {s.image.parent for s in dataset.select(split=split)} for split in ("train", "test")}
    assert by_split["train"].isdisjoint(by_split["test"])


def test_real_iad_as_the_archive_unpacks_and_with_a_size(tree, registry):
    root = tree("real-iad")
    (root / "realiad_jsons").rename(root / "inner")
    (root / "realiad_jsons").mkdir()
    (root / "inner").rename(root / "realiad_jsons/realiad_jsons")
    assert len(read_dataset(root, registry=registry)) == 4
    with pytest.raises(ConfigError, match=r"no folder of images; looked for realiad_256\."):
        read_dataset(root, "real-iad", registry=registry, config={"images": "realiad_256"})


def test_folders_with_other_names_anywhere(tmp_path, paint, mask, registry):
    paint(tmp_path / "line 3/fine/x.png")
    paint(tmp_path / "elsewhere/rejects/y.png")
    mask(tmp_path / "drawn/y.png")
    options = {
        "good": ["line 3/fine"],
        "defects": [str(tmp_path / "elsewhere/rejects")],
        "masks": ["drawn"],
        "category": "cap",
    }
    dataset = read_dataset(tmp_path, "folders", registry=registry, config=options)
    assert dataset.count() == {"cap": {"test/good": 1, "test/defective": 1}}
    assert dataset.samples[1].masks == (tmp_path / "drawn/y.png",)
    with pytest.raises(ConfigError, match=r"nowhere: is no folder\."):
        read_dataset(tmp_path, "folders", registry=registry, config={"good": ["nowhere"]})


def test_hidden_files_are_passed_over(tree, paint, registry):
    root = tree("mvtec-ad")
    paint(root / "bottle/train/good/._000.png".replace("._000", ".hidden"))
    paint(root / ".trash/train/good/000.png")
    dataset = read_dataset(root, registry=registry)
    assert dataset.count()["bottle"]["train/good"] == 3
    assert dataset.problems == ()


# -- what is odd, and what is refused


def test_visa_without_its_split(tree, registry):
    root = tree("visa")
    (root / "split_csv/1cls.csv").unlink()
    with pytest.raises(ConfigError, match=r"1cls\.csv: is missing; it comes with VisA"):
        read_dataset(root, registry=registry)


def test_visa_with_another_table(tree, registry):
    root = tree("visa")
    (root / "split_csv/1cls.csv").write_text("object,split,label,image\n")
    with pytest.raises(ConfigError, match=r"has no column mask; it needs object, split, label, image, mask\."):
        read_dataset(root, registry=registry)
    (root / "split_csv/1cls.csv").write_text("object,split,label,image,mask\ncandle,dev,normal,a.JPG,\n")
    with pytest.raises(ConfigError, match=r"1cls\.csv, line 2: split must be train or test"):
        read_dataset(root, registry=registry)


def test_visa_image_in_no_row(tree, paint, registry):
    root = tree("visa")
    extra = paint(root / "candle/Data/Images/Normal/9999.JPG")
    (problem,) = read_dataset(root, registry=registry).problems
    assert problem.startswith(f"{extra}: is in no row of")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a split of Real-IAD"),
        (json.dumps({"meta": {"normal_class": "OK"}, "train": [{}], "test": []}), "anomaly_class"),
    ],
)
def test_real_iad_with_a_broken_split(tree, registry, text, words):
    root = tree("real-iad")
    (root / "realiad_jsons/audiojack.json").write_text(text)
    with pytest.raises(ConfigError, match=words) as refused:
        read_dataset(root, registry=registry)
    assert str(root / "realiad_jsons/audiojack.json") in str(refused.value)


def test_real_iad_where_one_side_is_missing(tree, registry):
    root = tree("real-iad")
    (root / "realiad_1024/zipper").mkdir()
    (root / "realiad_jsons/usb.json").write_text(json.dumps({"meta": {"normal_class": "OK"}, "train": [], "test": []}))
    first, second = read_dataset(root, registry=registry).problems
    assert first.startswith(f"{root / 'realiad_1024/usb'}: is missing; unpack usb.zip")
    assert second.startswith(f"{root / 'realiad_1024/zipper'}: has no zipper.json")


def test_kolektor_without_a_mask_is_unknown(tree, registry):
    root = tree("kolektor-sdd2")
    (root / "train/10001_GT.png").unlink()
    (root / "train/10002_GT.png").write_bytes(b"")
    (root / "test/20000.png").unlink()
    dataset = read_dataset(root, registry=registry)
    assert dataset.count()["surface"]["train/unknown"] == 2
    missing, empty, lonely = dataset.problems
    assert missing.startswith(f"{root / 'train/10001.png'}: has no mask 10001_GT")
    assert "10002_GT.png: the file is empty. So nobody knows" in empty
    assert lonely.startswith(f"{root / 'test/20000_GT.png'}: is a mask without an image")


def test_dagm_in_its_older_form_is_named(tmp_path, paint, registry):
    paint(tmp_path / "Class1/1.png")
    paint(tmp_path / "Class1_def/1.png")
    with pytest.raises(ConfigError, match=r"Class1_def is of the older form"):
        read_dataset(tmp_path, "dagm", registry=registry)


def test_dagm_with_half_of_a_class(tree, registry):
    root = tree("dagm")
    for path in sorted((root / "Class1/Test").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (root / "Class1/Test").rmdir()
    (root / "Class2/Train/0002.PNG").unlink()
    missing, lonely = read_dataset(root, registry=registry).problems
    assert missing == f"{root / 'Class1/Test'}: is missing; unpack Class1.zip again."
    assert "0002_label.PNG: is a mask without an image" in lonely


def test_elpv_with_a_broken_line(tree, registry):
    root = tree("elpv")
    (root / "labels.csv").write_text("images/cell0001.png,1.0,mono\n")
    with pytest.raises(ConfigError, match=r"labels\.csv, line 1: must read 'images/cell0001\.png 1\.0 mono'"):
        read_dataset(root, registry=registry)


def test_mvtec_tells_what_it_leaves_out(tree, paint, mask, registry):
    root = tree("mvtec-ad")
    paint(root / "bottle/train/loose.png")
    paint(root / "bottle/test/scratch/deep/000.png")
    mask(root / "bottle/ground_truth/scratch/999_mask.png")
    mask(root / "bottle/ground_truth/dent/000_mask.png")
    (root / "notes").mkdir()
    message = {problem.split(": ")[0].removeprefix(f"{root}/"): problem for problem in read_dataset(root).problems}
    assert set(message) == {
        "notes",
        "bottle/train/loose.png",
        "bottle/test/scratch/deep",
        "bottle/ground_truth/scratch/999_mask.png",
        "bottle/ground_truth/dent",
    }
    assert "is no category" in message["notes"]
    assert "move it to one" in message["bottle/train/loose.png"]
    assert "is a mask without an image" in message["bottle/ground_truth/scratch/999_mask.png"]


def test_mvtec_without_a_part(tree, registry):
    root = tree("mvtec-layout")
    (root / "own_part/test").rename(root / "own_part/tset")
    missing, *left_out = read_dataset(root, registry=registry).problems
    assert missing == f"{root / 'own_part/test'}: is missing; put the images of this part there."
    assert any(problem.startswith(f"{root / 'own_part/tset/good'}: holds 2 images") for problem in left_out)


def test_loco_without_its_saturation(tree, registry):
    root = tree("mvtec-loco")
    (root / "pushpins/defects_config.json").unlink()
    (problem,) = read_dataset(root, registry=registry).problems
    assert "defects_config.json: is missing" in problem
