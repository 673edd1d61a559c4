"""predict and stream: what may be given, what comes back, and what is refused before a picture is read."""

from __future__ import annotations

from types import GeneratorType

import numpy as np
import pytest
import torch
from PIL import Image

from vlmad_core import Pipeline, Prediction, build
from vlmad_core.contracts import Backbone, images
from vlmad_core.errors import ConfigError, ImageError, IncompatibleError, NotFittedError
from vlmad_core.testing import memory_registry, tiny_backbone

REGISTRY = memory_registry()
WORDS = {"backbone": "tiny", "extractor": "patches", "prompts": "templates", "scorers": ["text-match"]}
MEMORY = {"backbone": "tiny", "extractor": "patches", "scorers": ["memory"]}
BOTH = {**WORDS, "scorers": ["text-match", "memory"]}


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return tiny_backbone()


@pytest.fixture
def words(backbone) -> Pipeline:
    return build(WORDS, backbone=backbone, registry=REGISTRY)


@pytest.fixture
def memory(backbone) -> Pipeline:
    return build(MEMORY, backbone=backbone, registry=REGISTRY)


@pytest.fixture
def photos(tmp_path):
    """Five pictures of different sizes."""
    draws = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for i, path in enumerate(paths):
        Image.fromarray(draws.integers(0, 256, (20 + i, 30, 3), dtype=np.uint8)).save(path)
    return paths


@pytest.fixture
def opened(monkeypatch):
    """The pictures that were opened."""
    seen, real = [], images.decode
    monkeypatch.setattr(images, "decode", lambda source, **options: seen.append(source) or real(source, **options))
    return seen


def same(one: Prediction, other: Prediction) -> None:
    assert one.score == pytest.approx(other.score, abs=1e-6)
    np.testing.assert_allclose(one.raw_map, other.raw_map, atol=1e-6)


# -- what may be given


@pytest.mark.parametrize(
    "given",
    [lambda path: path, str, Image.open, lambda path: Image.open(path).convert("RGB"), lambda path: as_array(path)],
    ids=["path", "string", "lazy image", "image", "array"],
)
def test_one_image_gives_one_prediction(words, photos, given):
    source = given(photos[0])
    found = words.predict(source, "nut")
    assert isinstance(found, Prediction)
    same(found, words.predict(photos[0], "nut"))
    assert found.size == (20, 30)
    assert found.raw_map.shape == (32, 32)
    assert found.anomaly_map.shape == (20, 30)
    assert found.anomaly_map.dtype == np.float32
    assert isinstance(found.score, float)
    assert found.path == (str(photos[0]) if isinstance(source, str | type(photos[0])) else None)


def as_array(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 8])
@pytest.mark.parametrize("kind", [list, tuple, iter, lambda paths: (path for path in paths)])
def test_several_images_give_a_list_in_order(words, photos, kind, batch_size):
    found = words.predict(kind(photos), "nut", batch_size=batch_size)
    assert isinstance(found, list)
    assert [prediction.path for prediction in found] == [str(path) for path in photos]
    for prediction, path in zip(found, photos, strict=True):
        same(prediction, words.predict(path, "nut"))


def test_mixed_list(words, photos):
    found = words.predict([photos[0], str(photos[0]), as_array(photos[0])], "nut")
    same(found[0], found[1])
    same(found[0], found[2])


def test_list_of_one_stays_a_list(words, photos):
    assert len(words.predict([photos[0]], "nut")) == 1


def test_no_images_give_no_predictions(words):
    assert words.predict([], "nut") == []


def test_stream_takes_a_folder_in_order_of_names(words, photos):
    found = words.stream(photos[0].parent, "nut", batch_size=2)
    assert isinstance(found, GeneratorType)
    assert [prediction.path for prediction in found] == [str(path) for path in photos]


def test_stream_takes_a_pattern(words, photos):
    found = words.stream(f"{photos[0].parent}/[12].png", "nut")
    assert [prediction.path for prediction in found] == [str(photos[1]), str(photos[2])]


@pytest.mark.parametrize("given", [Image.open, as_array, str])
def test_stream_takes_a_single_image(words, photos, given):
    (found,) = words.stream(given(photos[0]), "nut")
    same(found, words.predict(photos[0], "nut"))


def test_stream_gives_predictions_before_all_images_are_read(words, photos, opened):
    first = next(words.stream(photos * 20, "nut", batch_size=2))
    assert first.path == str(photos[0])
    assert len(opened) <= 6


def test_folder_given_to_predict_is_told_about_stream(words, photos, opened):
    folder = photos[0].parent
    with pytest.raises(ImageError, match=r"is a folder; list\(detector\.stream\('.*'\)\) judges each image in it\."):
        words.predict(folder, "nut")
    assert opened == []


def test_unreadable_image_is_told(words, photos, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"broken\.png: is not an image that can be read\."):
        words.predict([photos[0], tmp_path / "broken.png"], "nut")


def test_one_image_does_not_depend_on_its_batch(memory, photos):
    memory.fit(photos[:2])
    together = memory.predict(photos)
    for prediction, path in zip(together, photos, strict=True):
        same(prediction, memory.predict(path))


# -- names


def test_name_matters(words, photos):
    assert words.predict(photos[0], "nut").score != words.predict(photos[0], "cable").score


def test_one_name_for_each(words, photos):
    names = ["nut", "cable", "nut", "wood", "cable"]
    for kind in (list, tuple, iter):
        found = words.predict(photos, kind(names), batch_size=2)
        for prediction, path, name in zip(found, photos, names, strict=True):
            same(prediction, words.predict(path, name))


def test_too_few_names_are_refused(words, photos):
    with pytest.raises(ConfigError, match="fewer names than images were given"):
        words.predict(photos, ["nut", "cable"])


@pytest.mark.parametrize("names", [["nut"], ["nut"] * 3])
def test_forward_wants_as_many_names_as_images(words, names):
    with pytest.raises(ConfigError, match=rf"2 images and {len(names)} names; give one name for each\."):
        words(torch.zeros(2, 3, 32, 32), names)


def test_name_given_to_fit_is_the_default(backbone, photos):
    both = build(BOTH, backbone=backbone, registry=REGISTRY)
    both.fit(photos[:2], class_name="nut")
    assert both.class_name == "nut"
    same(both.predict(photos[3]), both.predict(photos[3], "nut"))
    assert both.predict(photos[3]).score != both.predict(photos[3], "cable").score


def test_sentences_without_a_place_for_the_name_need_none(backbone, photos):
    plain = {"use": "templates", "config": {"normal": ["a flawless object"], "abnormal": ["a damaged object"]}}
    words = build(WORDS, prompts=plain, backbone=backbone, registry=REGISTRY)
    same(words.predict(photos[0]), words.predict(photos[0], "nut"))


def test_memory_needs_no_name(memory, photos):
    same(memory.fit(photos[:2]).predict(photos[3]), memory.predict(photos[3], "nut"))


# -- refused before an image is read


REFUSED = [
    (WORDS, ConfigError, "the prompts need a class name.*none was given.*--class-name"),
    (MEMORY, NotFittedError, r"scorer 'memory' was fitted on no normal image\. Call detector\.fit\(.*--normal DIR"),
    (BOTH, NotFittedError, "scorer 'memory' was fitted on no normal image"),
]


@pytest.mark.parametrize(("spec", "error", "text"), REFUSED)
@pytest.mark.parametrize("way", ["predict one", "predict many", "stream", "check"])
def test_detector_that_is_not_ready_reads_no_image(backbone, photos, opened, spec, error, text, way):
    detector = build(spec, backbone=backbone, registry=REGISTRY)
    ways = {
        "predict one": lambda: detector.predict(photos[0]),
        "predict many": lambda: detector.predict(photos),
        "stream": lambda: next(detector.stream(photos[0].parent)),
        "check": detector.check_ready,
    }
    with pytest.raises(error, match=text):
        ways[way]()
    assert opened == []


def test_detector_that_is_ready_passes_the_check(words, memory, photos):
    words.check_ready(has_class_name=True)
    memory.fit(photos[:1]).check_ready()


def test_not_ready_does_not_even_ask_the_generator(words):
    with pytest.raises(ConfigError, match="none was given"):
        words.predict(pytest.fail("asked") for _ in range(1))


@pytest.mark.parametrize("give", ["prompts", "text"])
def test_pipeline_put_together_by_hand_needs_words_for_a_text_scorer(words, give):
    backbone = words.backbone if give == "text" else tiny_backbone(text=False)
    prompts = None if give == "text" else words.prompts
    lack = "no prompts were given" if give == "text" else "the backbone has no text encoder"
    with pytest.raises(IncompatibleError, match=f"scorer 'TextMatch' compares with text, but {lack}"):
        Pipeline(backbone, words.extractor, list(words.scorers), prompts)


def test_pipeline_needs_a_scorer(words):
    with pytest.raises(IncompatibleError, match="a pipeline needs at least one scorer"):
        Pipeline(words.backbone, words.extractor, [])


# -- in words


def test_explain_names_parts_levels_sizes_and_what_is_learned(backbone, photos):
    both = build(BOTH, backbone=backbone, registry=REGISTRY)
    text = both.summary()
    for words in (
        "backbone   tiny: 32 x 32 pixels, 4 x 4 patches, 3 blocks, width 32, with text, float32",
        "extractor  patches: block3 (joint, 16)",
        "prompts    templates: no class name yet",
        "scorer     text-match: compares with text",
        "scorer     memory: compares with normal images (none yet)",
        "fuse       image mean, map mean, smooth 0 px",
        "learns     0 numbers; the backbone's ",
    ):
        assert words in text
    text = both.fit(photos[:2], class_name="metal nut").summary()
    assert "prompts    templates: class name 'metal nut'" in text
    assert "scorer     memory: compares with normal images\n" in text


def test_explain_without_a_spec_and_without_text():
    blind = tiny_backbone(text=False)
    built = build(MEMORY, backbone=blind, registry=REGISTRY)
    text = Pipeline(blind, built.extractor, list(built.scorers)).summary()
    assert "backbone   Backbone: " in text
    assert "no text" in text
    assert "scorer     Memory: " in text
    assert "prompts" not in text
