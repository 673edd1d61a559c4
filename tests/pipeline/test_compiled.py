"""torch.compile is an option that is tried: what fails, changes features or brings nothing is not used."""

from __future__ import annotations

import time

import pytest
import torch

from vlmad_core import build
from vlmad_core.errors import ConfigError
from vlmad_core.testing import memory_registry

SPEC = {"backbone": "tiny", "extractor": "patches", "prompts": "templates", "scorers": ["text-match"]}
IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Compiler:
    """Stands for torch.compile: after a delay the same function, perhaps with another result."""

    def __init__(self, *, delay=0.0, change=None, error=None):
        self.delay, self.change, self.error, self.calls, self.modes = delay, change, error, 0, []

    def __call__(self, forward, *, mode, dynamic):
        self.modes.append((mode, dynamic))

        def compiled(vision, images):
            self.calls += 1
            if self.error is not None:
                raise self.error
            time.sleep(self.delay)
            features = forward(vision, images)
            if self.change is None:
                return features
            return features.with_tensors({name: self.change(t) for name, t in features.tensors().items()})

        return compiled


@pytest.fixture
def started(monkeypatch):
    """A detector whose extractor takes 5 ms as it is and none compiled, and its messages."""

    def start(compiler, mode="default"):
        pipeline = build(SPEC, registry=memory_registry())
        pipeline.class_name = "nut"
        extractor, message = pipeline.extractor, []
        monkeypatch.setattr(torch, "compile", compiler)
        monkeypatch.setattr(type(extractor), "__call__", _slower(type(extractor).forward))
        return pipeline.compile_extractor(mode, message.append), message

    return start


def _slower(forward):
    def call(self, vision, images):
        time.sleep(0.005)
        return forward(self, vision, images)

    return call


@torch.no_grad()
def test_the_same_features_in_less_time_are_used_from_the_second_batch_on(started):
    compiler = Compiler()
    pipeline, message = started(compiler, "max-autotune")
    first = pipeline(IMAGES)
    assert compiler.calls == 0
    second = pipeline(IMAGES)
    assert pipeline.compiled.kept == {(2, 3, 32, 32): True}
    assert compiler.modes == [("max-autotune", False)]
    assert message[0].startswith("compiled; 2 images of 32 x 32 take ")
    before = compiler.calls
    third = pipeline(IMAGES)
    assert compiler.calls == before + 1
    for one in (second, third):
        assert torch.equal(one.image, first.image) and torch.equal(one.anomaly_map, first.anomaly_map)


@pytest.mark.parametrize(
    ("compiler", "text"),
    [
        (Compiler(error=RuntimeError("no C++ compiler")), "the compiler failed (RuntimeError: no C++ compiler)"),
        (Compiler(change=lambda t: t + 0.1), "features would differ by a cosine of"),
        (Compiler(change=lambda t: t * float("nan")), "features would differ by a cosine of nan"),
        (Compiler(delay=0.02), "no gain"),
    ],
    ids=["fails", "other features", "not finite", "slower"],
)
@torch.no_grad()
def test_what_brings_nothing_is_named_and_not_used(started, compiler, text):
    pipeline, message = started(compiler)
    first = pipeline(IMAGES)
    scores = [pipeline(IMAGES) for _ in range(3)]
    assert all(torch.equal(one.image, first.image) for one in scores)
    assert len(message) == 1 and message[0].startswith("not compiled") and text in message[0]
    used = compiler.calls
    pipeline(IMAGES)
    assert compiler.calls == used


@torch.no_grad()
def test_a_last_batch_with_fewer_images_is_not_compiled_for(started):
    compiler = Compiler()
    pipeline, _ = started(compiler)
    for count in (2, 2, 1):
        pipeline(IMAGES[:count])
    assert list(pipeline.compiled.kept) == [(2, 3, 32, 32)]


def test_gradients_take_the_extractor_as_it_is(started):
    compiler = Compiler()
    pipeline, _ = started(compiler)
    for _ in range(3):
        images = IMAGES.clone().requires_grad_()
        pipeline(images).image.sum().backward()
        assert images.grad.abs().sum() > 0
    assert compiler.calls == 0


def test_a_compiled_detector_saves_what_it_saved_before(started):
    pipeline, _ = started(Compiler())
    names = set(pipeline.state_dict())
    pipeline.compiled = None
    assert set(pipeline.state_dict()) == names


def test_an_unknown_mode_is_refused(started):
    with pytest.raises(ConfigError, match="compile must be one of default, reduce-overhead, max-autotune; got 'fast'"):
        started(Compiler(), "fast")


@pytest.mark.slow
def test_torch_compiles_the_extractor_of_a_real_tower_or_says_why_not():
    pipeline, message = build(SPEC, registry=memory_registry()), []
    pipeline.class_name = "nut"
    pipeline.compile_extractor("default", message.append)
    with torch.no_grad():
        scores = [pipeline(IMAGES).image for _ in range(3)]
    assert len(message) == 1
    assert torch.allclose(scores[0], scores[2], atol=1e-4)
