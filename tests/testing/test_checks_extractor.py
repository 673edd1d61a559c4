"""Deliberately wrong extractors, each caught by the check that is meant for it."""

from __future__ import annotations

import time
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn

from vlmad_core.builtin.patches import Patches
from vlmad_core.builtin.plugin import PatchesConfig
from vlmad_core.contracts import Extractor, Features, LevelSpec
from vlmad_core.errors import IncompatibleError


def with_vectors(features: Features, change) -> Features:
    return replace(features, levels=tuple(replace(level, vectors=change(level.vectors)) for level in features.levels))


class Wrong(Patches):
    """Does as ``Patches``, and then what a test says."""

    def forward(self, vision, images):
        return self.after(super().forward(vision, images), vision, images)


class ChangesWeights(Wrong):
    def after(self, features, vision, images):
        with torch.no_grad():
            vision.final.weight.mul_(1.01)
        return features


class LeavesAHook(Wrong):
    def after(self, features, vision, images):
        vision.blocks[0].register_forward_hook(lambda module, given, made: None)
        return features


class ReplacesAMethod(Patches):
    def __init__(self, config, backbone):
        super().__init__(config, backbone)
        block = backbone.vision.blocks[-1]
        attend = block.attend
        block.attend = lambda q, k, v, mask=None: attend(v, v, v, mask)


class HoldsTheBackbone(Patches):
    def __init__(self, config, backbone):
        super().__init__(config, backbone)
        self.vision = backbone.vision


class HidesATower(Patches):
    def __init__(self, config, backbone):
        super().__init__(config, backbone)
        self.kept = [backbone.vision]


class MisnamesLevels(Patches):
    def __init__(self, config, backbone):
        super().__init__(config, backbone)
        self.real, self.levels = self.levels, (LevelSpec("layer3", 16, True),)

    def forward(self, vision, images):
        message, self.levels = self.levels, self.real
        features = super().forward(vision, images)
        self.levels = message
        return features


class TwoLevelsOneName(Patches):
    def __init__(self, config, backbone):
        super().__init__(config, backbone)
        self.levels = self.levels * 2


class Leaks(Wrong):
    def after(self, features, vision, images):
        self.__dict__.setdefault("seen", []).append(features)
        return features


class CentresOverTheBatch(Wrong):
    def after(self, features, vision, images):
        return with_vectors(features, lambda v: v - v.mean(0))


class GivesInfinity(Wrong):
    def after(self, features, vision, images):
        return with_vectors(features, lambda v: v / 0)


class Random(Wrong):
    def after(self, features, vision, images):
        return with_vectors(features, lambda v: v + torch.rand(v.shape, generator=torch.Generator().manual_seed(0)).mul(
            time.perf_counter() % 1))  # fmt: skip


class LeavesCellsOut(Wrong):
    def after(self, features, vision, images):
        cover = torch.eye(16, dtype=torch.bool)
        cover[:, 0] = False
        cover[0, 1] = True
        return replace(features, levels=tuple(replace(level, cover=cover) for level in features.levels))


class HasAnEmptyRegion(Wrong):
    def after(self, features, vision, images):
        cover = torch.eye(16, dtype=torch.bool)
        cover[0], cover[1, 0] = False, True
        return replace(features, levels=tuple(replace(level, cover=cover) for level in features.levels))


class Sleeps(Wrong):
    def after(self, features, vision, images):
        time.sleep(0.4)
        return features


class Prints(Wrong):
    def after(self, features, vision, images):
        print("features:", len(images))
        return features


class Warns(Wrong):
    def after(self, features, vision, images):
        warnings.warn("deprecated", FutureWarning, stacklevel=2)
        return features


class Seeds(Wrong):
    def after(self, features, vision, images):
        torch.manual_seed(int(time.perf_counter() * 1e6))
        return features


class NeverUsesAParameter(Patches):
    def __init__(self, config, backbone):
        super().__init__(config, backbone)
        self.spare = nn.Parameter(torch.zeros(3))


class KeepsStateBesides(Wrong):
    def __init__(self, config, backbone):
        super().__init__(config, backbone)
        self.turn = torch.randn(16, 16)

    def after(self, features, vision, images):
        return with_vectors(features, lambda v: v @ self.turn.to(v))


class FixesThePrecision(Wrong):
    def after(self, features, vision, images):
        return with_vectors(features, lambda v: v @ torch.eye(16))


class LooksElsewhere(Patches):
    def apply_learned(self, features):
        return with_vectors(features, lambda v: 2 * v)


class LearnsWhereItLooks(Patches):
    def __init__(self, config, backbone):
        super().__init__(config, backbone)
        self.scale = nn.Parameter(torch.ones(16))

    def forward(self, vision, images):
        return self.apply_learned(self.extract_frozen(vision, images))

    def extract_frozen(self, vision, images):
        return with_vectors(super().forward(vision, images), lambda v: v * self.scale)

    def apply_learned(self, features):
        return features


class CallsWidthJoint(Patches):
    def __init__(self, config, backbone):
        super().__init__(config, backbone)
        self.levels = (LevelSpec("raw3", backbone.vision.width, True),)
        self.joint, self.raw = False, True


class Stops(Patches):
    def __init__(self, config, backbone):
        raise KeyError("layers")


class RefusesInAWord(Patches):
    def __init__(self, config, backbone):
        if backbone.text is None:
            raise IncompatibleError("no text")
        super().__init__(config, backbone)


class NoExtractor(nn.Module):
    pass


class DoubleImage(Wrong):
    def after(self, features, vision, images):
        return replace(features, image=features.image.repeat(1, 2))


WRONG = {
    ChangesWeights: "leaves_the_backbone_alone",
    LeavesAHook: "leaves_the_backbone_alone",
    ReplacesAMethod: "leaves_the_backbone_alone",
    HoldsTheBackbone: "holds_no_backbone",
    HidesATower: "holds_no_backbone",
    MisnamesLevels: "levels_as_declared",
    TwoLevelsOneName: "declares_levels",
    Leaks: "memory_does_not_grow",
    CentresOverTheBatch: "does_not_depend_on_its_batch",
    GivesInfinity: "outputs_are_finite",
    Random: "is_deterministic",
    LeavesCellsOut: "regions_cover_the_image",
    HasAnEmptyRegion: "regions_cover_the_image",
    Sleeps: "keeps_pace_with_the_backbone",
    Prints: "is_quiet",
    Warns: "is_quiet",
    Seeds: "leaves_the_process_alone",
    NeverUsesAParameter: "every_parameter_learns",
    KeepsStateBesides: "survives_a_round_trip",
    FixesThePrecision: "runs_in_bfloat16",
    LooksElsewhere: "learned_part_is_separate",
    LearnsWhereItLooks: "learned_part_is_separate",
    CallsWidthJoint: "joint_levels_have_the_dim_of_the_text",
    DoubleImage: "joint_levels_have_the_dim_of_the_text",
    Stops: "builds_with_its_defaults",
    RefusesInAWord: "fits_or_refuses",
    NoExtractor: "target_is_found",
}


@pytest.mark.filterwarnings("ignore:deprecated:FutureWarning")
@pytest.mark.parametrize(("wrong", "meant"), WRONG.items(), ids=[wrong.__name__ for wrong in WRONG])
def test_caught_by_the_check_meant_for_it(broken, wrong, meant):
    assert meant in broken("extractor", wrong, PatchesConfig, meant)


def test_the_part_that_they_are_made_from_is_right(broken):
    assert broken("extractor", Patches, PatchesConfig) == {}
    assert broken("extractor", Patches, PatchesConfig, "memory_does_not_grow") == {}


def test_an_extractor_of_its_own_need_not_be_a_subclass_of_a_builtin(broken):
    assert "target_is_found" not in broken("extractor", type("Mine", (Extractor,), {"forward": Patches.forward}))
