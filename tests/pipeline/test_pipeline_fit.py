"""fit: normal images are remembered, forgotten and measured, and a memory says so when it has seen none."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from PIL import Image

from vlmad_core import Pipeline, build
from vlmad_core.contracts import images, nearest_distance
from vlmad_core.errors import ConfigError, ImageError, IncompatibleError, NotFittedError
from vlmad_core.testing import memory_registry, tiny_backbone

REGISTRY = memory_registry()
MEMORY = {"backbone": "tiny", "extractor": "patches", "scorers": ["memory"]}
WORDS = {"backbone": "tiny", "extractor": "patches", "prompts": "templates", "scorers": ["text-match"]}
BOTH = {**WORDS, "scorers": ["text-match", "memory"]}
CELLS = 16


@pytest.fixture
def memory() -> Pipeline:
    return build(MEMORY, backbone=tiny_backbone(), registry=REGISTRY)


@pytest.fixture
def photos(tmp_path):
    draws = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for path in paths:
        Image.fromarray(draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    return paths


def bank(detector: Pipeline) -> torch.Tensor:
    return detector.scorers[-1].bank("block3")


@pytest.mark.parametrize(
    "given",
    [
        lambda paths: paths[0].parent,
        lambda paths: str(paths[0].parent),
        lambda paths: f"{paths[0].parent}/*.png",
        list,
        lambda paths: (path for path in paths),
        lambda paths: [Image.open(path) for path in paths],
        lambda paths: [np.asarray(Image.open(path)) for path in paths],
    ],
    ids=["folder", "string", "pattern", "list", "generator", "images", "arrays"],
)
def test_normals_of_every_kind(memory, photos, given):
    assert memory.fit(given(photos), batch_size=2) is memory
    assert bank(memory).shape == (5 * CELLS, 16)
    torch.testing.assert_close(bank(memory).norm(dim=1), torch.ones(5 * CELLS))


@pytest.mark.parametrize("given", [lambda path: path, Image.open, lambda path: np.asarray(Image.open(path))])
def test_single_normal(memory, photos, given):
    memory.fit(given(photos[0]))
    assert len(bank(memory)) == CELLS


def test_remembered_image_scores_lowest(memory, photos):
    memory.fit(photos[:2])
    scores = [prediction.score for prediction in memory.predict(photos)]
    assert max(scores[:2]) < 1e-6
    assert min(scores[2:]) > 1e-3


def test_fitting_again_starts_afresh(memory, photos):
    memory.fit(photos[:3]).fit(photos[3:])
    fresh = build(MEMORY, backbone=memory.backbone, registry=REGISTRY).fit(photos[3:])
    assert torch.equal(bank(memory), bank(fresh))


def test_keep_adds_to_what_is_remembered(memory, photos):
    memory.fit(photos[:3]).fit(photos[3:], keep=True)
    whole = build(MEMORY, backbone=memory.backbone, registry=REGISTRY).fit(photos)
    torch.testing.assert_close(bank(memory), bank(whole))


def test_batches_do_not_matter(memory, photos):
    one = bank(memory.fit(photos, batch_size=1)).clone()
    torch.testing.assert_close(bank(memory.fit(photos, batch_size=4)), one)


def test_progress_counts_images(memory, photos):
    seen = []
    memory.fit(photos, batch_size=2, progress=seen.append)
    assert seen == [2, 4, 5]


def test_unreadable_normal_is_refused_with_its_path(memory, photos, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"a normal image cannot be read: .*broken\.png: the file is empty\."):
        memory.fit([*photos, tmp_path / "broken.png"])


@pytest.mark.parametrize("nothing", [[], (), iter(())])
def test_no_normals_are_refused(memory, nothing):
    with pytest.raises(ImageError, match="no normal images were given"):
        memory.fit(nothing)
    assert not memory.scorers[0].is_fitted


def test_empty_folder_is_refused(memory, tmp_path):
    with pytest.raises(ImageError, match="no image in this folder"):
        memory.fit(tmp_path)


def test_failed_source_does_not_cost_the_memory(memory, photos, tmp_path):
    memory.fit(photos[:2])
    with pytest.raises(ImageError):
        memory.fit(tmp_path / "nowhere")
    assert len(bank(memory)) == 2 * CELLS


def test_nothing_to_fit_is_refused(photos, monkeypatch):
    words = build(WORDS, backbone=tiny_backbone(), registry=REGISTRY)
    monkeypatch.setattr(images, "decode", lambda _, **options: pytest.fail("read an image"))
    with pytest.raises(IncompatibleError, match=r"no scorer compares with normal images.*Add scorer 'memory'"):
        words.fit(photos)


def test_missing_name_is_refused_before_an_image_is_read(photos, monkeypatch):
    both = build(BOTH, backbone=tiny_backbone(), registry=REGISTRY)
    monkeypatch.setattr(images, "decode", lambda _, **options: pytest.fail("read an image"))
    with pytest.raises(ConfigError, match="none was given"):
        both.fit(photos)


def test_empty_memory_is_told_in_forward_too(memory):
    with pytest.raises(NotFittedError, match=r"the memory bank is empty\. Call detector\.fit\("):
        memory(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(("top", "count"), [(0, 1), (0.01, 1), (0.25, 4), (0.5, 8), (1, 16)])
def test_score_is_the_mean_of_the_highest_cells(photos, top, count):
    detector = build(MEMORY, backbone=tiny_backbone(), registry=REGISTRY, overrides={"scorers.0.config.top": top})
    detector.fit(photos[:2])
    with torch.no_grad():
        features = detector.extractor(detector.backbone.vision, pixels(detector, photos[2:])[0])
        cells = nearest_distance(features["block3"].vectors, bank(detector))
        wanted = cells.sort(dim=1, descending=True).values[:, :count].mean(1)
        torch.testing.assert_close(detector.score_features(features, None, (32, 32)).image, wanted)


def test_only_the_chosen_levels_are_remembered(photos):
    spec = {
        **MEMORY,
        "extractor": {"use": "patches", "config": {"layers": [1, 3], "space": "both"}},
        "scorers": [{"use": "memory", "config": {"levels": ["raw*"]}}],
    }
    detector = build(spec, backbone=tiny_backbone(), registry=REGISTRY).fit(photos)
    held = {f"scorers.0.{what}_raw{layer}" for what in ("bank", "origins") for layer in (1, 3)}
    assert set(detector.state_dict()) == {"normal_range"} | held


# -- how high normal ones score


def test_normal_range_is_unknown_before_and_with_one_image(memory, photos):
    assert memory.normal_range.isnan().all()
    assert memory.fit(photos[:1]).normal_range.isnan().all()


def test_normal_range_is_what_each_scores_against_the_others(memory, photos):
    memory.fit(photos[:3])
    maps = []
    for i in range(3):
        others = [path for j, path in enumerate(photos[:3]) if j != i]
        rest = build(MEMORY, backbone=memory.backbone, registry=REGISTRY).fit(others)
        maps.append(rest.predict(photos[i]).raw_map)
    wanted = torch.from_numpy(np.quantile(maps, [0.5, 0.995]).astype(np.float32))
    torch.testing.assert_close(memory.normal_range, wanted)
    assert 0 < memory.normal_range[0] < memory.normal_range[1] < 1


def test_measuring_leaves_the_memory_as_it_was(memory, photos):
    memory.fit(photos)
    features = [memory.extractor(memory.backbone.vision, batch) for batch in pixels(memory, photos)]
    wanted = torch.cat([one["block3"].vectors.flatten(0, 1) for one in features])
    torch.testing.assert_close(bank(memory), torch.nn.functional.normalize(wanted, dim=-1))


def pixels(detector: Pipeline, photos) -> list[torch.Tensor]:
    return [images.stack(batch) for batch in images.read(photos, detector.backbone.preprocess)]


def test_normal_range_with_words(photos):
    both = build(BOTH, backbone=tiny_backbone(), registry=REGISTRY).fit(photos, class_name="nut")
    assert both.normal_range.isfinite().all()


def test_normal_range_is_forgotten_with_the_images(memory, photos):
    memory.fit(photos)
    memory.fit(photos[:1])
    assert memory.normal_range.isnan().all()


# -- the graph


def test_fit_keeps_no_graph(memory, photos):
    memory.fit(photos)
    assert not bank(memory).requires_grad
    assert not bank(memory).is_inference()


def test_memory_stands_in_a_graph_that_is_trained(memory, photos):
    memory.fit(photos[:2])
    pictures = torch.rand(2, 3, 32, 32, requires_grad=True)
    scores = memory(pictures)
    (scores.image.sum() + scores.anomaly_map.sum()).backward()
    assert pictures.grad.abs().sum() > 0


def test_an_unreadable_normal_leaves_the_memory_as_it_was(memory, photos, tmp_path):
    memory.fit(photos[:2])
    before = {name: tensor.clone() for name, tensor in memory.state_dict().items()}
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    for keep in (False, True):
        with pytest.raises(ImageError, match="a normal image cannot be read"):
            memory.fit([*photos, broken], keep=keep, batch_size=1)
        after = memory.state_dict()
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_an_error_that_is_kept_keeps_no_thread(memory, photos, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    before = set(threading.enumerate())
    with pytest.raises(ImageError) as fitted:
        memory.fit([photos[0], broken, *photos], batch_size=1)
    memory.fit(photos)
    with pytest.raises(ImageError) as judged:
        memory.predict([photos[0], broken, *photos], batch_size=1)
    assert fitted.value and judged.value
    assert set(threading.enumerate()) <= before
