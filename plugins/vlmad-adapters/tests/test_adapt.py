"""What is compared, on which images, when a detector is saved and when training is refused."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import vlmad_adapters.adapt as run
import vlmad_core
from vlmad_adapters.adapt import adapt, not_helpful
from vlmad_adapters.generate import KINDS
from vlmad_adapters.held_out import assign_folds, compare, fold_auroc
from vlmad_adapters.images import find_given, generated
from vlmad_adapters.methods import Method, Setting, methods_of
from vlmad_adapters.plugin import ProbeConfig
from vlmad_core.contracts.decode import decode
from vlmad_core.errors import ConfigError
from vlmad_core.metrics import auroc
from vlmad_core.registry import Component
from vlmad_core.testing import memory_registry

PROBE = Component(name="probe", target="vlmad_adapters.probe:Probe", config=ProbeConfig, summary="A probe.")


def spec(scorer):
    return {"backbone": {"use": "tiny"}, "extractor": {"use": "patches"}, "scorers": [{"use": scorer}]}


METHODS = [Method("memory", spec("memory"), command="vlmad fit"), Method("probe", spec("probe"), trained=True)]


@pytest.fixture
def images(tmp_path):
    """Noise on grey; a bright square where an image is defective, with a mask."""
    rng, found = np.random.default_rng(0), {"good": [], "bad": [], "masks": []}
    for kind, count in (("good", 6), ("bad", 4)):
        for i in range(count):
            pixels = rng.integers(100, 140, (40, 48, 3), np.uint8)
            path = tmp_path / kind / f"{kind}{i}.png"
            path.parent.mkdir(exist_ok=True)
            if kind == "bad":
                mask = np.zeros((40, 48), np.uint8)
                mask[8 + i : 24 + i, 10:30] = 255
                pixels[mask > 0] = 250
                where = tmp_path / "masks" / f"{path.stem}_mask.png"
                where.parent.mkdir(exist_ok=True)
                Image.fromarray(mask).save(where)
                found["masks"].append(where)
            Image.fromarray(pixels).save(path)
            found[kind].append(path)
    return found


@pytest.fixture
def given(images):
    return find_given(images["good"], images["bad"], images["masks"], class_name="plate")


@pytest.fixture
def setting():
    return Setting("plate", registry=memory_registry(scorers=[PROBE]))


class Fake:
    """A detector whose scores are made: how well it ranks depends on its method."""

    def __init__(self, method, quality):
        self.quality = quality[method.name]

    def stream(self, images, batch_size):
        for image in images:
            truth = float("bad" in str(image)) if not isinstance(image, Image.Image) else 1.0
            noise = (hash(str(image)) % 1000) / 1000 if self.quality is None else 0.0
            yield type("Prediction", (), {"score": truth * (self.quality or 0.0) + noise})()


@pytest.fixture
def fake(monkeypatch):
    """Replaces detectors; notes what each was made from."""

    def install(**quality):
        made = []

        def make(method, normals, defects, setting, folder):
            made.append((method.name, {str(s.image) for s in normals}, {str(s.image) for s in defects}))
            return Fake(method, quality)

        monkeypatch.setattr(run, "make", make)
        return made

    return install


def test_only_pairs_of_one_fold_are_compared():
    scores, labels, folds = [0.1, 0.2, 5.0, 6.0], [0, 1, 0, 1], [0, 0, 1, 1]
    assert fold_auroc(scores, labels, folds) == 1.0
    assert fold_auroc(scores, labels, [0] * 4) == auroc(np.array(scores), np.array(labels)) == 0.75


def test_folds_divide_each_label_evenly():
    labels = [0] * 9 + [1] * 6
    folds = assign_folds(labels, 3, seed=1)
    assert np.bincount(folds[:9]).tolist() == [3, 3, 3]
    assert np.bincount(folds[9:]).tolist() == [2, 2, 2]
    assert (folds != assign_folds(labels, 3, seed=2)).any()


def test_a_method_that_is_better_on_every_image_is_better_in_every_draw():
    labels, folds = [0] * 8 + [1] * 8, np.arange(16) % 4
    found = compare(labels, [1 - label for label in labels], labels, folds)
    assert (found.difference, found.low, found.high, found.better) == (1.0, 1.0, 1.0, 1.0)
    same = compare(labels, labels, labels, folds)
    assert (same.difference, same.better) == (0.0, 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_generated_defect_changes_the_image_inside_its_mask_alone(kind):
    image = Image.fromarray(np.random.default_rng(0).integers(90, 160, (50, 70, 3), np.uint8))
    for seed in range(5):
        changed, mask = KINDS[kind](image, seed)
        differs = (np.asarray(changed) != np.asarray(image)).any(-1)
        assert changed.size == image.size
        assert 0.005 < mask.mean() < 0.15
        assert not differs[~mask].any()
        assert differs[mask].mean() > 0.8
        assert np.array_equal(np.asarray(KINDS[kind](image, seed)[0]), np.asarray(changed))
    assert not np.array_equal(KINDS[kind](image, 0)[1], KINDS[kind](image, 1)[1])


def test_masks_belong_to_the_image_of_their_name(given, images):
    assert [sample.masks for sample in given.defects] == [(mask,) for mask in images["masks"]]
    assert given.has_masks


def test_what_would_spoil_the_comparison_is_refused(images, tmp_path):
    good, bad = images["good"], images["bad"]
    with pytest.raises(ConfigError, match="at least 4"):
        find_given(good[:3], bad, [], class_name=None)
    with pytest.raises(ConfigError, match="mask without a defective image"):
        find_given(good, bad[1:], images["masks"], class_name=None)
    empty = tmp_path / "bad0.png"
    Image.new("L", (48, 40)).save(empty)
    with pytest.raises(ConfigError, match=r"bad0.png: marks no pixel"):
        find_given(good, bad, [empty], class_name=None)
    copy = tmp_path / "copy.png"
    shutil.copy(good[0], copy)
    with pytest.raises(ConfigError, match=r"copy.png: has the content of .*good0.png"):
        find_given(good, [*bad, copy], [], class_name=None)
    with pytest.raises(ConfigError, match="probe learns from defective images"):
        methods_of(["probe"], has_defects=False, untrained=())


def test_no_method_learns_from_an_image_that_it_is_scored_on(given, setting, fake, tmp_path):
    made = fake(memory=1.0, probe=0.0)
    adapt(given, METHODS, tmp_path / "nut", setting=setting, folds=2)
    everything = {str(s.image) for s in (*given.normals, *given.defects)}
    for method in ("memory", "probe"):
        first, second = (normals | defects for name, normals, defects in made if name == method)
        assert first.isdisjoint(second), "with two folds, what one learns from is what the other is scored on"
        assert first | second == everything


def test_training_that_does_not_help_is_refused_and_writes_no_detector(given, setting, fake, tmp_path):
    fake(memory=1.0, probe=0.0)
    outcome = adapt(given, METHODS, tmp_path / "nut", setting=setting, folds=2)
    assert not outcome.helps
    assert outcome.saved is None
    assert not (tmp_path / "nut").exists()
    text = not_helpful(outcome)
    assert "'memory', which needs no training, 1.000" in text
    assert "`vlmad fit`" in text


def test_the_same_command_goes_on_after_a_stop(given, setting, fake, tmp_path):
    made = fake(memory=1.0, probe=0.0)

    def stop(done, total, now):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        adapt(given, METHODS, tmp_path / "nut", setting=setting, folds=2, progress=stop)
    assert len(made) == 3
    adapt(given, METHODS, tmp_path / "nut", setting=setting, folds=2)
    assert len(made) == 4
    with pytest.raises(ConfigError, match="seed was 0 and is now 1"):
        adapt(given, METHODS, tmp_path / "nut", setting=Setting("plate", seed=1), folds=2)


def test_a_forced_detector_predicts_and_says_what_it_learned_from(given, images, setting, tmp_path):
    outcome = adapt(given, METHODS, tmp_path / "nut", setting=setting, folds=2, force=True)
    assert outcome.saved == tmp_path / "nut"
    detector = vlmad_core.load(tmp_path / "nut", registry=setting.registry)
    record = json.loads((tmp_path / "nut/detector.json").read_text())["trained"]["adapted"]
    assert record["images"] == given.hashes
    assert record["helps"] == outcome.helps
    assert {row["name"] for row in record["held_out"]} == {"memory", "probe"}
    bad, good = (detector.predict(images[kind][0]) for kind in ("bad", "good"))
    assert bad.score > good.score
    mask = np.asarray(Image.open(images["masks"][0])) > 0
    assert bad.anomaly_map[mask].mean() > bad.anomaly_map[~mask].mean()
    assert detector.was_trained_on(contents=[given.hashes["defects"][0][:16]])


def test_without_defects_the_held_out_ones_are_of_another_generator(images, setting, fake, tmp_path):
    given = find_given(images["good"], [], [], class_name=None)
    made = fake(memory=1.0, prompts=0.0)
    methods = [METHODS[0], Method("prompts", spec("memory"), trained=True)]
    outcome = adapt(given, methods, tmp_path / "nut", setting=setting, folds=2)
    assert not outcome.real_defects
    assert all(defects == set() for _, _, defects in made), "held-out kinds are not learned from"


def test_every_method_is_a_pipeline_of_parts_that_are_there():
    pytest.importorskip("vlmad_pocket")
    from vlmad_core.pipeline.resolve import resolve

    methods = methods_of(["probe", "prompts", "adapters", "both"], states="textile", has_defects=True)
    for method in methods:
        resolve(method.spec if isinstance(method.spec, str) else dict(method.spec))
        assert bool(method.command) != method.trained
    assert "pocket, field textile" in [method.name for method in methods]


@pytest.mark.slow
def test_prompts_and_adapters_learn_and_are_saved(images, tmp_path):
    pytest.importorskip("vlmad_pocket")
    given = find_given(images["good"][:4], images["bad"][:2], [], class_name="plate")
    for what in ("prompts", "adapters", "both"):
        methods = methods_of([what], has_defects=True, untrained=("pocket",))
        setting = Setting("plate", epochs=1)
        outcome = adapt(given, methods, tmp_path / what, setting=setting, folds=2, force=True)
        detector = vlmad_core.load(outcome.saved)
        assert detector.trained["epochs"] == 1
        assert detector.trained["adapted"]["method"] == what
        assert np.isfinite(detector.predict(images["bad"][3]).score)


def test_the_command_refuses_before_anything_is_computed(vlmad, images, tmp_path):
    done = vlmad("adapt", *images["good"][:3], "--out", tmp_path / "nut")
    assert done.code == 1
    assert "adapting needs at least 4" in done.err
    assert not (tmp_path / "nut.adapt").exists()


def test_an_unknown_field_is_refused_before_anything_is_written(vlmad, images, tmp_path):
    done = vlmad("adapt", *images["good"], "--field", "nope", "--out", tmp_path / "nut")
    assert done.code == 1
    assert "no list of states is called 'nope'; there are: " in " ".join(done.err.split())
    assert list(tmp_path.glob("nut*")) == []


def radiograph(path, seed, *, defective):
    """12-bit, low values bright: a smooth body with ribs and noise, and a dense spot where it is defective."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset

    rng, (rows, columns) = np.random.default_rng(seed), np.mgrid[:48, :48]
    values = 2500 - 700 * np.exp(-((columns - 24) ** 2) / 200) + 150 * np.sin(rows / 2.5) + rng.normal(0, 20, (48, 48))
    if defective:
        values -= 900 * (((rows - 20 - seed) ** 2 + (columns - 30) ** 2) < 30)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", f"1.2.{seed + 1}"
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 48, 48, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME1", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    dataset.PixelData = values.clip(0, 4095).astype(np.uint16).tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.mark.filterwarnings("ignore:.*DICOM")
def test_dicom_goes_all_the_way(setting, tmp_path):
    """The plumbing alone: files are found, read by their window, generated upon, compared, and scored."""
    good = [radiograph(tmp_path / f"good{i}.dcm", i, defective=False) for i in range(4)]
    bad = [radiograph(tmp_path / f"bad{i}.dcm", i + 4, defective=True) for i in range(3)]
    outcome = adapt(
        find_given(good, bad[:2], [], class_name="chest"),
        METHODS,
        tmp_path / "nut",
        setting=setting,
        folds=2,
        force=True,
    )
    detector = vlmad_core.load(outcome.saved, registry=setting.registry)
    found = detector.predict(bad[2])
    assert found.size == (48, 48)
    assert found.score > detector.predict(good[0]).score


def test_generated_defects_are_read_once_with_the_window(given):
    """They are made of pictures that were read with it, so a training reads them as they are."""
    window = "window=0:500"
    (first, *_) = generated(given.normals, "cut-paste", seed=0, bits=window)
    normal = np.asarray(decode(given.normals[0].image, bits=window).image)
    found = np.asarray(decode(first.image, bits=window).image)
    np.testing.assert_array_equal(found, np.asarray(first.image))
    outside = ~np.asarray(first.masks[0]).astype(bool)
    np.testing.assert_array_equal(found[outside], normal[outside])
