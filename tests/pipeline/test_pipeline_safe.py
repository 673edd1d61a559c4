"""A detector is never silently wrong: parts that learned nothing, a fit that fails, a prediction beside a fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vlmad_core import Pipeline, build
from vlmad_core.builtin.memory import Memory
from vlmad_core.contracts.data import Scores, TextEmbeddings
from vlmad_core.contracts.ops import l2_normalize
from vlmad_core.contracts.parts import Prompts, Scorer
from vlmad_core.errors import ConfigError, ImageError, IncompatibleError, NotFittedError, VlmadError
from vlmad_core.pipeline import calibrating as module
from vlmad_core.registry import Component, Config
from vlmad_core.testing import memory_registry, tiny_backbone

IMAGES = [np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8) for i in range(4)]
MEMORY = {"backbone": "tiny", "extractor": "patches", "scorers": ["memory"]}


class Learned(Prompts):
    """Random until somebody trains them."""

    class_name_use = "ignored"

    def __init__(self, config, backbone) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(2, backbone.text.dim))

    def forward(self, text, names, features=None):
        return TextEmbeddings(l2_normalize(self.table).expand(len(names), -1, -1), torch.tensor([False, True]))


class LearnedMemory(Memory):
    """With a parameter beside its memory bank."""

    def __init__(self, config, levels, dim) -> None:
        super().__init__(config, levels, dim)
        self.weight = nn.Parameter(torch.ones(()))


@pytest.fixture
def registry(monkeypatch):
    learned = Component(name="learned", target="tests.here:Learned", config=Config, summary="Learns.")
    monkeypatch.setattr("vlmad_core.registry.entry.import_module", _import)
    return memory_registry(prompts=[learned])


def _import(name: str):
    import importlib
    import sys

    return sys.modules[__name__] if name == "tests.here" else importlib.import_module(name)


@pytest.fixture
def untrained(registry) -> Pipeline:
    spec = {"backbone": "tiny", "extractor": "patches", "prompts": "learned", "scorers": ["text-match"]}
    return build(spec, registry=registry)


@pytest.fixture
def memory() -> Pipeline:
    return build(MEMORY, registry=memory_registry())


# -- parts that learned nothing


def test_untrained_parts_do_not_predict(untrained):
    for call in (
        untrained.predict,
        lambda image: list(untrained.stream([image])),
        lambda image: untrained.check_ready(),
    ):
        with pytest.raises(NotFittedError, match=r"have learned nothing yet\. Train it with vlmad_core\.train"):
            call(IMAGES[0])


def test_untrained_parts_can_be_used_in_a_loop_of_ones_own(untrained):
    assert untrained(torch.rand(1, 3, 32, 32)).image.requires_grad
    untrained.trained = {"data": {"name": "mine"}}
    assert np.isfinite(untrained.predict(IMAGES[0]).score)


def test_parts_whose_parameters_are_frozen_ship_with_what_they_need(untrained):
    untrained.requires_grad_(False)
    assert np.isfinite(untrained.predict(IMAGES[0]).score)


# -- a fit that fails, and one that runs beside a prediction


def test_fit_that_fails_changes_nothing(memory, tmp_path):
    memory.fit(IMAGES[:2], "cell")
    before, bank = memory.predict(IMAGES[3]).score, memory.scorers[0].bank("block3")
    (tmp_path / "broken.png").write_bytes(b"no image")
    for images in ([*IMAGES[:1], tmp_path / "broken.png"], []):
        with pytest.raises(ImageError):
            memory.fit(images, "screw", keep=bool(images))
    assert memory.class_name == "cell"
    assert memory.scorers[0].bank("block3") is bank
    assert memory.predict(IMAGES[3]).score == before


def test_prediction_beside_a_fit_has_the_old_memory_or_the_new_one(memory):
    memory.fit(IMAGES[:1], "old")
    old, beside = memory.predict(IMAGES[3]).score, []
    memory.fit(IMAGES[1:3], "new", batch_size=1, progress=lambda _: beside.append(memory.predict(IMAGES[3]).score))
    assert beside == [old, old]
    assert memory.predict(IMAGES[3]).score != old


def test_parameters_of_a_scorer_that_is_fitted_stay_the_same_objects():
    backbone = tiny_backbone()
    parts = build(MEMORY, backbone=backbone, registry=memory_registry())
    scorer = LearnedMemory(parts.scorers[0].config, parts.extractor.levels, 16)
    pipeline = Pipeline(backbone, parts.extractor, [scorer])
    optimizer = torch.optim.SGD(pipeline.parameters(), 0.1)
    pipeline.fit(IMAGES[:2])
    assert [id(p) for p in pipeline.parameters()] == [
        id(p) for group in optimizer.param_groups for p in group["params"]
    ]


def test_range_of_normal_images_is_measured_without_copies_of_the_banks(memory, monkeypatch):
    given, measure = [], module.normal_range

    def watched(scorers, *rest):
        given.extend(len(scorer.bank("block3")) for of_scale in scorers for scorer in of_scale)
        return measure(scorers, *rest)

    monkeypatch.setattr(module, "normal_range", watched)
    memory.fit(IMAGES[:2]).fit(IMAGES[2:], keep=True)
    assert given == [0, 0]
    assert len(memory.scorers[0].bank("block3")) == 4 * 16


# -- what is refused


def test_pipeline_without_a_scorer_is_refused_before_anything_else():
    backbone = tiny_backbone()
    parts = build(MEMORY, backbone=backbone, registry=memory_registry())
    with pytest.raises(IncompatibleError, match="needs at least one scorer"):
        Pipeline(backbone, parts.extractor, [], spec=parts.spec)


class Odd(Scorer):
    """Gives numbers that are none."""

    def __init__(self, score: float, cell: float) -> None:
        super().__init__()
        self.score, self.cell = score, cell

    def forward(self, features, text_embeddings, size) -> Scores:
        anomaly_map: Tensor = torch.zeros(1, *size)
        anomaly_map[0, 3, 4] = self.cell
        return Scores(torch.tensor([self.score]), anomaly_map)


@pytest.mark.parametrize(("score", "cell"), [(float("nan"), 0), (0.0, float("inf")), (float("-inf"), float("nan"))])
def test_score_or_map_that_is_not_finite_is_refused_with_the_path(tmp_path, score, cell):
    backbone = tiny_backbone()
    parts = build(MEMORY, backbone=backbone, registry=memory_registry())
    pipeline = Pipeline(backbone, parts.extractor, [Odd(score, cell)])
    from PIL import Image

    path = tmp_path / "part.png"
    Image.fromarray(IMAGES[0]).save(path)
    with pytest.raises(VlmadError, match=r"part\.png: the detector gave a score or a map that is not a finite number"):
        pipeline.predict(path)


def test_class_names_of_another_number_than_images_are_refused(untrained):
    untrained.trained = {"data": {}}
    with pytest.raises(ConfigError, match="fewer names than images"):
        untrained.predict(IMAGES, ["a", "b"])
