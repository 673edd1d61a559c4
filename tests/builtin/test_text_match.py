"""Where the softmax stands, how maps meet the border, and what of it a hand-written loop gives."""

import pytest
import torch
from torch.nn import functional as F

from vlmad_core.builtin.plugin import TextMatchConfig
from vlmad_core.builtin.text_match import TextMatch
from vlmad_core.contracts.data import Features, Level, LevelSpec, TextEmbeddings
from vlmad_core.contracts.ops import l2_normalize

SIZE = (20, 28)


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def features(*, cover=None, cells=12, dtype=torch.float32):
    levels = tuple(
        Level(LevelSpec(f"stage{i}", 8, True), draw(2, cells, 8, seed=i, dtype=dtype), (3, 4), cover) for i in (1, 2)
    )
    return Features(levels, draw(2, 8, seed=3, dtype=dtype))


def text_embeddings(states=2, dtype=torch.float32):
    return TextEmbeddings(l2_normalize(draw(2, states, 8, seed=4, dtype=dtype)), torch.arange(states) > 0)


def scorer(**options):
    return TextMatch(TextMatchConfig(**options), [LevelSpec("stage1", 8, True), LevelSpec("stage2", 8, True)], 8)


def by_hand(level, words, temperature, align_corners):
    """One image and state at a time."""
    probabilities = []
    for vectors, states in zip(level.vectors, words.vectors, strict=True):
        cosine = (vectors / vectors.norm(dim=1, keepdim=True)) @ states.T  # [M, S]
        grids = (cosine / temperature).T.reshape(1, len(states), *level.grid)
        pixels = F.interpolate(grids, size=SIZE, mode="bilinear", align_corners=align_corners)[0]
        probabilities.append(1 - pixels.softmax(0)[0])
    return torch.stack(probabilities)


@pytest.mark.parametrize("states", [2, 4])
@pytest.mark.parametrize("align_corners", [True, False])
def test_logits_are_resized_before_the_softmax(align_corners, states):
    seen, words = features(), text_embeddings(states)
    judge = scorer(upsample="logits", align_corners=align_corners, combine="sum", temperature=0.2)
    scores = judge(seen, words, SIZE)
    expected = {level.spec.name: by_hand(level, words, 0.2, align_corners) for level in seen.levels}
    for name, map_ in expected.items():
        torch.testing.assert_close(scores.levels[name], map_)
    torch.testing.assert_close(scores.anomaly_map, sum(expected.values()))
    assert (
        scores.anomaly_map - scorer(combine="sum", temperature=0.2)(seen, words, SIZE).anomaly_map
    ).abs().max() > 0.05


def test_at_the_size_of_the_grid_the_softmax_may_stand_on_either_side():
    seen, words = features(), text_embeddings()
    after, before = (scorer(upsample=what)(seen, words, (3, 4)) for what in ("logits", "probability"))
    torch.testing.assert_close(after.anomaly_map, before.anomaly_map)
    torch.testing.assert_close(after.image, before.image)


@pytest.mark.parametrize("upsample", ["logits", "probability"])
def test_aligned_corners_keep_the_corner_cells(upsample):
    seen, words = features(), text_embeddings()
    judge = scorer(upsample=upsample, align_corners=True, levels=["stage1"])
    cells = scorer(levels=["stage1"])(seen, words, (3, 4)).anomaly_map
    map_ = judge(seen, words, SIZE).anomaly_map
    torch.testing.assert_close(map_[:, :: SIZE[0] - 1, :: SIZE[1] - 1], cells[:, ::2, ::3])


def test_the_highest_pixel_is_the_image_score_where_logits_are_resized():
    scores = scorer(upsample="logits", image="max", combine="sum")(features(), text_embeddings(), SIZE)
    torch.testing.assert_close(scores.image, scores.anomaly_map.amax((1, 2)))


def test_logits_of_regions_are_averaged_arithmetically():
    cover = torch.tensor([[True] * 8 + [False] * 4, [False] * 4 + [True] * 8])
    seen, words = features(cover=cover, cells=2), text_embeddings()
    judge = scorer(upsample="logits", levels=["stage1"], temperature=0.2)
    cosine = torch.einsum("bmd,bsd->bsm", l2_normalize(seen["stage1"].vectors), words.vectors) / 0.2
    middle = cosine.mean(-1).softmax(1)[:, 1]  # both regions lie over the middle row
    torch.testing.assert_close(judge(seen, words, (3, 4)).anomaly_map[:, 1], middle[:, None].expand(-1, 4))


def test_a_sharp_temperature_stays_finite_where_probabilities_are_0():
    seen = features()
    seen.levels[0].vectors.requires_grad_()
    scores = scorer(upsample="logits", temperature=1e-3)(seen, text_embeddings(), SIZE)
    scores.anomaly_map.sum().backward()
    assert scores.anomaly_map.isfinite().all()
    assert seen.levels[0].vectors.grad.isfinite().all()


@pytest.mark.parametrize("upsample", ["logits", "probability"])
def test_gradients_through_the_resize_are_right(upsample):
    seen, words = features(dtype=torch.float64), text_embeddings(dtype=torch.float64)
    judge = scorer(upsample=upsample, align_corners=True, combine="sum", temperature=0.5)

    def map_of(vectors):
        level = Level(seen.levels[0].spec, vectors, (3, 4))
        return judge(Features((level, seen.levels[1]), seen.image), words, (5, 6)).anomaly_map

    assert torch.autograd.gradcheck(map_of, seen.levels[0].vectors.requires_grad_())


def test_it_states_the_highest_value_of_its_maps():
    assert scorer().maximum == 1 and scorer(combine="sum").maximum == 2


@pytest.mark.parametrize("upsample", ["probability", "logits"])
def test_predicting_asks_nothing_of_the_device(upsample):
    part, seen = scorer(upsample=upsample), []

    class Counter(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            name = getattr(function, "__name__", "")
            indexed = name == "__getitem__" and any(
                isinstance(index, torch.Tensor) and index.dtype == torch.bool
                for index in (args[1] if isinstance(args[1], tuple) else (args[1],))
            )
            if indexed or name in {"__bool__", "__float__", "__int__", "item", "cpu", "nonzero", "tolist"}:
                seen.append(name)
            return function(*args, **(kwargs or {}))

    with Counter():
        part(features(), text_embeddings(4), SIZE)
    assert seen == []
