"""Every installed extractor, prompts and scorer together: what fits runs, and what does not is refused while building.

Plugins that are installed later are in here without a line of change. All parts have their default options. Tiny
backbones take every mix; 'pocket', which ships with weights, those of one scorer. Pairs of scorers are taken on one
tiny backbone, and on all where slow tests run too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from vlmad_core import Pipeline, build
from vlmad_core.contracts import Backbone
from vlmad_core.errors import IncompatibleError
from vlmad_core.registry.registry import default_registry
from vlmad_core.testing import memory_registry, tiny_backbone

REGISTRY = memory_registry(base=default_registry(), plugin="vlmad-tests")


def installed(kind: str) -> list[str]:
    return [entry.full_name for entry in default_registry().entries(kind)]


SCORERS = [*itertools.combinations(installed("scorer"), 1), *itertools.combinations(installed("scorer"), 2)]
BACKBONES = {
    "with text": {},
    "without text": {"text": False},
    "registers, oblong": {"registers": 2, "image_size": (24, 40)},
    "no class token": {"class_pool": False},
}
PICTURES = [np.random.default_rng(i).integers(0, 256, (20, 28, 3), dtype=np.uint8) for i in range(3)]


@pytest.fixture(scope="module")
def pocket() -> Backbone:
    """The real thing, at the least size at which every extractor finds its windows."""
    spec = {"backbone": {"use": "pocket", "config": {"image_size": 56}}, "extractor": "patches", "scorers": "memory"}
    return build(spec).backbone


@pytest.fixture(scope="module", params=BACKBONES)
def backbone(request) -> Backbone:
    return tiny_backbone(**BACKBONES[request.param])


def build_or_refuse(
    backbone: Backbone, extractor: str, prompts: str | None, scorers: tuple[str, ...]
) -> Pipeline | None:
    spec = {"backbone": "tiny", "extractor": extractor, "prompts": prompts, "scorers": list(scorers)}
    try:
        return build(spec, backbone=backbone, registry=REGISTRY)
    except IncompatibleError as error:
        text = str(error)
        assert text.endswith("."), text
        assert len(text.split()) > 6, text
        return None


def everywhere() -> Iterator[object]:
    """Mixes of scorers on each tiny backbone."""
    for name, mix in itertools.product(BACKBONES, SCORERS):
        slow = [pytest.mark.slow] * (len(mix) > 1 and name != "with text")
        yield pytest.param(name, mix, marks=slow, id=f"{name}-{' + '.join(mix)}")


@pytest.mark.parametrize(("backbone", "scorers"), list(everywhere()), indirect=["backbone"])
@pytest.mark.parametrize("prompts", [None, *installed("prompts")])
@pytest.mark.parametrize("extractor", installed("extractor"))
def test_mix_runs_or_is_refused_while_building(backbone, extractor, prompts, scorers):
    detector = build_or_refuse(backbone, extractor, prompts, scorers)
    if detector is not None:
        check_it_runs(detector)


@pytest.mark.parametrize(
    "scorers",
    [pytest.param(mix, marks=[pytest.mark.slow] * (len(mix) > 1), id=" + ".join(mix)) for mix in SCORERS],
)
@pytest.mark.parametrize("prompts", [None, *installed("prompts")])
@pytest.mark.parametrize("extractor", installed("extractor"))
def test_every_mix_runs_on_pocket(pocket, extractor, prompts, scorers):
    """Pocket sees and reads, so nothing is refused but words without prompts."""
    detector = build_or_refuse(pocket, extractor, prompts, scorers)
    loaded = [default_registry().get("scorer", name).load() for name in scorers]
    assert (detector is None) == (prompts is None and any(scorer.needs_text for scorer in loaded))
    if detector is not None:
        check_it_runs(detector)


def check_it_runs(detector: Pipeline) -> None:
    """It fits, judges and explains; scores and maps are numbers in range, of the right shape."""
    detector.trained = {"data": {"name": "random parameters"}}  # numbers in range are all that is asked of them
    if any(scorer.needs_fit for scorer in detector.scorers):
        detector.fit(PICTURES[:2], class_name="metal nut")
    height, width = detector.backbone.preprocess.size
    found = detector.predict(PICTURES, "metal nut")
    assert [prediction.raw_map.shape for prediction in found] == [(height, width)] * 3
    for prediction in found:
        assert np.isfinite(prediction.score)
        assert np.isfinite(prediction.raw_map).all()
        assert 0 <= prediction.raw_map.min() <= prediction.raw_map.max() <= 1 + 1e-6
        assert prediction.anomaly_map.shape == (20, 28)
    with torch.no_grad():
        scores = detector(torch.zeros(2, 3, height, width), ["metal nut"] * 2)
    assert scores.image.shape == (2,)
    assert scores.anomaly_map.shape == (2, height, width)
    assert all(level.shape == (2, height, width) for level in scores.levels.values())
    assert "scorer" in detector.summary()


@pytest.mark.parametrize("extractor", installed("extractor"))
def test_a_memory_fits_every_extractor(backbone, extractor):
    assert build_or_refuse(backbone, extractor, None, ("vlmad-core:memory",)) is not None


@pytest.mark.parametrize("prompts", installed("prompts"))
@pytest.mark.parametrize("extractor", installed("extractor"))
def test_words_fit_what_can_be_compared_with_them_and_nothing_else(backbone, extractor, prompts):
    levels = build_or_refuse(backbone, extractor, None, ("vlmad-core:memory",)).extractor.levels
    detector = build_or_refuse(backbone, extractor, prompts, ("vlmad-core:text-match",))
    assert (detector is not None) == (backbone.text is not None and any(level.joint for level in levels))


@pytest.mark.parametrize("extractor", installed("extractor"))
def test_words_without_prompts_are_refused(backbone, extractor):
    assert build_or_refuse(backbone, extractor, None, ("vlmad-core:text-match",)) is None


def test_no_plugin_failed_to_load():
    assert [str(problem) for problem in default_registry().problems] == []
