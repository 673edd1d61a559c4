"""A pipeline as a torch module: what it owns, what it shares, where gradients flow, when text is encoded anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from vlmad_core import Pipeline, build
from vlmad_core.builtin.patches import Patches
from vlmad_core.builtin.plugin import MemoryConfig, PatchesConfig, TextMatchConfig
from vlmad_core.builtin.text_match import TextMatch
from vlmad_core.contracts import Backbone, Extractor, Features, Level, LevelSpec, Prompts, Scores, TextEmbeddings
from vlmad_core.contracts.ops import combine, gaussian_blur, l2_normalize
from vlmad_core.pipeline.fuse import Fuse
from vlmad_core.testing import memory_registry, tiny_backbone

REGISTRY = memory_registry()
WORDS = {"backbone": "tiny", "extractor": "patches", "prompts": "templates", "scorers": ["text-match"]}
BOTH = {**WORDS, "scorers": ["text-match", "memory"]}


class Learned(Prompts):
    """Two text embeddings that are learned, and a count of how often they were asked for."""

    class_name_use = "ignored"

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(2, dim, generator=torch.Generator().manual_seed(0)))
        self.asked: list[str] = []

    def forward(self, text, names, features=None):
        self.asked += names
        return TextEmbeddings(l2_normalize(self.table).expand(len(names), -1, -1), torch.tensor([False, True]))


class PerImage(Learned):
    per_image = True

    def forward(self, text, names, features=None):
        assert isinstance(features, Features)
        return super().forward(text, names, features)


class Adapted(Extractor):
    """Patches behind a layer that is learned."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.inner = Patches(PatchesConfig(), backbone)
        self.adapter = nn.Linear(16, 16)
        self.levels = self.inner.levels

    def forward(self, vision, images):
        found = self.inner(vision, images)
        level = found.levels[0]
        return Features((Level(level.spec, self.adapter(level.vectors), level.grid),), found.image)


@pytest.fixture
def backbone() -> Backbone:
    return tiny_backbone()


@pytest.fixture
def learned(backbone) -> Pipeline:
    extractor = Patches(PatchesConfig(), backbone)
    return Pipeline(backbone, extractor, [TextMatch(TextMatchConfig(), extractor.levels, 16)], Learned(16))


PICTURES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


# -- what it owns


def test_backbone_is_shared_and_not_owned(backbone):
    both = build(BOTH, backbone=backbone, registry=REGISTRY)
    assert both.backbone is backbone
    assert list(both.parameters()) == []
    assert sorted(both.state_dict()) == ["normal_range", "scorers.1.bank_block3"]
    assert not {id(module) for module in backbone.modules()} & {id(module) for module in both.modules()}


def test_parameters_are_what_the_parts_learn(backbone):
    extractor = Adapted(backbone)
    pipeline = Pipeline(backbone, extractor, [TextMatch(TextMatchConfig(), extractor.levels, 16)], Learned(16))
    assert {name for name, _ in pipeline.named_parameters()} == {
        "extractor.adapter.weight",
        "extractor.adapter.bias",
        "prompts.table",
    }


def test_two_pipelines_on_one_backbone_do_not_disturb_each_other(backbone):
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    one = build(BOTH, backbone=backbone, registry=REGISTRY)
    other = build(BOTH, backbone=backbone, registry=REGISTRY, overrides={"extractor.config.layers": [1, 2]})
    pictures = [picture.permute(1, 2, 0).numpy() for picture in PICTURES]
    one.fit(pictures[:1], class_name="nut")
    alone = one.predict(pictures[2])
    other.fit(pictures[1:2], class_name="cable")
    other.predict(pictures[2])
    assert one.predict(pictures[2]).score == alone.score
    assert one.class_name == "nut"
    assert all(torch.equal(tensor, before[name]) for name, tensor in backbone.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in backbone.modules())


def test_training_mode_is_for_the_parts_alone(learned):
    learned.train()
    assert learned.extractor.training
    assert not learned.backbone.training
    assert not any(p.requires_grad for p in learned.backbone.parameters())


def test_pipeline_starts_in_eval_mode(learned):
    assert not learned.training
    assert not learned.extractor.training


def test_moving_a_pipeline_moves_its_backbone(backbone):
    both = build(BOTH, backbone=backbone, registry=REGISTRY)
    pictures = [picture.permute(1, 2, 0).numpy() for picture in PICTURES]
    both.fit(pictures, class_name="nut")
    full = both.predict(pictures[0]).raw_map
    both.to(torch.bfloat16)
    assert backbone.dtype == torch.bfloat16
    assert both.scorers[1].bank("block3").dtype == torch.bfloat16
    half = both.predict(pictures[0]).raw_map
    assert half.dtype == full.dtype
    assert abs(half - full).max() < 0.1


# -- gradients


def test_forward_is_differentiable_to_the_pictures(learned):
    pictures = PICTURES.clone().requires_grad_()
    scores = learned(pictures)
    (scores.image.sum() + scores.anomaly_map.square().sum()).backward()
    assert pictures.grad.abs().amax((1, 2, 3)).min() > 0
    assert learned.prompts.table.grad.abs().sum() > 0


def test_gradients_reach_every_own_parameter(backbone):
    extractor = Adapted(backbone)
    pipeline = Pipeline(backbone, extractor, [TextMatch(TextMatchConfig(), extractor.levels, 16)], Learned(16))
    pipeline(PICTURES).anomaly_map.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in pipeline.parameters())


def test_predict_keeps_no_graph(learned, monkeypatch):
    learned.trained = {"data": {"name": "made up"}}
    seen, forward = [], learned.score_features
    watched = lambda *a, **k: seen.append(torch.is_grad_enabled()) or forward(*a, **k)  # noqa: E731
    monkeypatch.setattr(learned, "score_features", watched)
    found = learned.predict(PICTURES[0].permute(1, 2, 0).numpy())
    assert seen == [False]
    assert torch.is_grad_enabled()
    assert found.raw_map.flags.owndata or found.raw_map.base is not None


def test_stream_leaves_gradients_on_between_predictions(learned):
    learned.trained = {"data": {"name": "made up"}}
    for _ in learned.stream([picture.permute(1, 2, 0).numpy() for picture in PICTURES]):
        assert torch.is_grad_enabled()


# -- text_embeddings: computed once a name, and never stale


def ask(pipeline: Pipeline, *names: str) -> TextEmbeddings:
    with torch.no_grad():
        return pipeline.text_embeddings(list(names))


def test_anchors_are_computed_once_a_name(learned):
    ask(learned, "nut", "cable", "nut")
    ask(learned, "cable", "nut")
    assert learned.prompts.asked == ["nut", "cable"]


def test_cached_anchors_keep_the_order_of_the_names(backbone):
    words = build(WORDS, backbone=backbone, registry=REGISTRY)
    both, nut, cable = ask(words, "nut", "cable"), ask(words, "nut"), ask(words, "cable")
    assert torch.equal(both.vectors, torch.cat([nut.vectors, cable.vectors]))
    assert torch.equal(ask(words, "cable", "nut").vectors, both.vectors.flip(0))


def change_in_place(pipeline: Pipeline) -> None:
    with torch.no_grad():
        pipeline.prompts.table.add_(1)


def change_by_optimiser(pipeline: Pipeline) -> None:
    optimiser = torch.optim.SGD(pipeline.parameters(), lr=1.0)
    pipeline(PICTURES).image.sum().backward()
    optimiser.step()


def change_by_state(pipeline: Pipeline) -> None:
    state = {name: tensor + 1 for name, tensor in pipeline.state_dict().items()}
    pipeline.load_state_dict(state)


def change_by_replacing(pipeline: Pipeline) -> None:
    pipeline.prompts.table = nn.Parameter(pipeline.prompts.table.detach() + 1)


@pytest.mark.parametrize(
    "change", [change_in_place, change_by_optimiser, change_by_state, change_by_replacing], ids=lambda f: f.__name__
)
def test_anchors_follow_what_is_learned(learned, change: Callable[[Pipeline], None]):
    before = ask(learned, "nut").vectors
    change(learned)
    after = ask(learned, "nut").vectors
    assert not torch.equal(before, after)
    assert torch.equal(after[0], l2_normalize(learned.prompts.table).detach())


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.load_state_dict(p.state_dict()),
        lambda p: p.train().eval(),
        lambda p: p.to(torch.float64),
        lambda p: p.double().float(),
        lambda p: p.to("cpu"),
    ],
    ids=["load_state_dict", "train", "to dtype", "there and back", "to device"],
)
def test_anchors_are_made_anew_after(learned, change):
    ask(learned, "nut")
    change(learned)
    learned.prompts.asked.clear()
    ask(learned, "nut")
    assert learned.prompts.asked == ["nut"]
    assert ask(learned, "nut").vectors.dtype == learned.prompts.table.dtype


def test_anchors_of_a_pipeline_inside_another_module_are_made_anew(learned):
    outer = nn.Sequential(learned)
    before = ask(learned, "nut").vectors
    outer.load_state_dict({name: tensor + 1 for name, tensor in outer.state_dict().items()})
    assert not torch.equal(before, ask(learned, "nut").vectors)


def test_anchors_are_not_cached_while_learning(learned):
    learned.text_embeddings(["nut"])
    assert learned.text_embeddings(["nut"]).vectors.requires_grad
    learned.train()
    ask(learned, "nut")
    assert learned.prompts.asked == ["nut"] * 3


def test_anchors_made_under_no_grad_do_not_enter_a_graph(learned):
    ask(learned, "nut")
    learned(PICTURES, ["nut"] * 3).image.sum().backward()
    assert learned.prompts.table.grad.abs().sum() > 0


def test_prompts_that_look_at_the_picture_are_never_cached(backbone):
    extractor = Patches(PatchesConfig(), backbone)
    pipeline = Pipeline(backbone, extractor, [TextMatch(TextMatchConfig(), extractor.levels, 16)], PerImage(16))
    with torch.no_grad():
        pipeline(PICTURES, ["nut"] * 3)
        pipeline(PICTURES, ["nut"] * 3)
    assert pipeline.prompts.asked == ["nut"] * 6


def test_no_prompts_no_anchors(backbone):
    assert (
        ask(build({**WORDS, "prompts": None, "scorers": "memory"}, backbone=backbone, registry=REGISTRY), "a") is None
    )


# -- several scorers


def scores(*values: float) -> list[Scores]:
    return [Scores(torch.tensor([v]), torch.full((1, 8, 8), v), {"a": torch.full((1, 8, 8), v)}) for v in values]


@pytest.mark.parametrize(("how", "wanted"), [("mean", 0.5), ("sum", 1.0), ("max", 0.6), ("harmonic", 0.48)])
def test_fuse_rules_for_image_and_map_apart(how, wanted):
    fused = Fuse(image=how)(scores(0.4, 0.6), ["x", "y"])
    assert fused.image.item() == pytest.approx(wanted)
    assert fused.anomaly_map.unique().item() == pytest.approx(0.5)
    fused = Fuse(map=how)(scores(0.4, 0.6), ["x", "y"])
    assert fused.image.item() == pytest.approx(0.5)
    assert fused.anomaly_map.unique().item() == pytest.approx(wanted)


def test_fused_levels_carry_the_name_of_their_scorer():
    assert set(Fuse()(scores(0.4, 0.6), ["x", "y"]).levels) == {"x/a", "y/a"}


def test_fused_map_is_smoothed_and_the_score_is_not():
    spot = torch.zeros(1, 16, 16)
    spot[0, 8, 8] = 1
    fused = Fuse(smooth=2.0)([Scores(torch.tensor([1.0]), spot)], ["x"])
    assert torch.equal(fused.anomaly_map, gaussian_blur(spot, 2.0))
    assert fused.image.item() == 1


def test_pipeline_fuses_what_its_scorers_say(backbone):
    spec = {**BOTH, "fuse": {"image": "max", "map": "sum"}, "output": {"smooth": 1.5}}
    both = build(spec, backbone=backbone, registry=REGISTRY)
    both.fit([PICTURES[0].permute(1, 2, 0).numpy()], class_name="nut")
    with torch.no_grad():
        features = both.extractor(backbone.vision, PICTURES)
        parts = [scorer(features, both.text_embeddings(["nut"] * 3), (32, 32)) for scorer in both.scorers]
        found = both(PICTURES)
    torch.testing.assert_close(found.image, combine([part.image for part in parts], "max"))
    torch.testing.assert_close(
        found.anomaly_map, gaussian_blur(combine([part.anomaly_map for part in parts], "sum"), 1.5)
    )
    assert set(found.levels) == {"text-match/block3", "memory/block3"}


def test_two_scorers_of_one_name_are_numbered(backbone):
    spec = {**WORDS, "scorers": ["text-match", {"use": "text-match", "config": {"temperature": 1.0}}]}
    with torch.no_grad():
        found = build(spec, backbone=backbone, registry=REGISTRY)(PICTURES, ["nut"] * 3)
    assert set(found.levels) == {"text-match1/block3", "text-match2/block3"}


def test_level_specs_read_well():
    assert str(LevelSpec("window3", 16, True)) == "window3 (joint, 16)"
    assert str(LevelSpec("raw12", 32, False)) == "raw12 (visual, 32)"
    assert MemoryConfig().levels == ("*",)
