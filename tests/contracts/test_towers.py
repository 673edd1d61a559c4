"""Open towers: the law of the block, walks with layers, sentences encoded once, and a backbone that stays as it is."""

from __future__ import annotations

import pytest
import torch

from vlmad_core.contracts import Backbone, Block, TextTower, VisionTower, encode_text, forward_blocks
from vlmad_core.errors import IncompatibleError
from vlmad_core.testing import tiny_backbone

KINDS = {
    "plain": {},
    "registers": {"registers": 3},
    "no class token": {"class_pool": False},
    "no text": {"text": False},
    "oblong": {"image_size": (24, 40)},
    "deep and wide": {"depth": 5, "width": 64, "dim": 24, "seed": 3},
}


@pytest.fixture(params=KINDS)
def backbone(request) -> Backbone:
    return tiny_backbone(**KINDS[request.param])


def picture(backbone: Backbone, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, *backbone.preprocess.size, generator=torch.Generator().manual_seed(0))


# -- the tiny backbone keeps the contracts


def test_towers_are_towers(backbone):
    assert isinstance(backbone.vision, VisionTower)
    assert all(isinstance(block, Block) for block in backbone.vision.blocks)
    assert backbone.text is None or isinstance(backbone.text, TextTower)


@torch.no_grad()
def test_block_law(backbone):
    x, _ = backbone.vision.embed(picture(backbone))
    towers = [(backbone.vision, x, None)]
    if backbone.text is not None:
        ids = backbone.text.tokenize(["a photo of a nut", "b"])
        towers.append((backbone.text, backbone.text.add_positions(backbone.text.embed(ids)), backbone.text.mask))
    for tower, x, mask in towers:
        for block in tower.blocks:
            q, k, v = block.qkv(x)
            assert q.shape == k.shape == v.shape
            assert q.shape[1] * q.shape[3] == tower.width
            y = x + block.attend(q, k, v, mask)
            torch.testing.assert_close(block(x, mask), y + block.mlp(y), atol=1e-6, rtol=1e-6)
            x = block(x, mask)


@torch.no_grad()
def test_attend_takes_fewer_queries(backbone):
    x, _ = backbone.vision.embed(picture(backbone))
    block = backbone.vision.blocks[0]
    q, k, v = block.qkv(x)
    torch.testing.assert_close(block.attend(q[:, :, :2], k, v), block.attend(q, k, v)[:, :2], atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_shapes(backbone):
    vision = backbone.vision
    x, grid = vision.embed(picture(backbone))
    assert grid == backbone.grid
    assert x.shape == (2, vision.prefix + grid[0] * grid[1], vision.width)
    last, _ = forward_blocks(vision.blocks, x)
    assert vision.norm(last).shape == x.shape
    assert vision.project(vision.norm(last)).shape == (*x.shape[:2], vision.dim)
    assert vision.pool(last).shape == (2, vision.dim)
    assert vision.joint == (backbone.text is not None)


@torch.no_grad()
@pytest.mark.parametrize("size", [(8, 8), (40, 24), (64, 64)])
def test_any_size_of_picture(backbone, size):
    x, grid = backbone.vision.embed(torch.randn(1, 3, *size))
    assert grid == (size[0] // 8, size[1] // 8)
    assert x.shape[1] == backbone.vision.prefix + grid[0] * grid[1]


@torch.no_grad()
def test_pool_reads_what_class_pool_says(backbone):
    vision = backbone.vision
    x, _ = forward_blocks(vision.blocks, vision.embed(picture(backbone))[0])
    changed = x.clone()
    changed[:, 1:] += torch.randn(changed[:, 1:].shape)
    assert torch.equal(vision.pool(x), vision.pool(changed)) == vision.class_pool


def test_gradients_reach_the_picture_and_nothing_else(backbone):
    images = picture(backbone).requires_grad_()
    x, _ = forward_blocks(backbone.vision.blocks, backbone.vision.embed(images)[0])
    backbone.vision.pool(x).square().sum().backward()
    assert images.grad.abs().amax((0, 1)).min() > 0
    assert not any(p.requires_grad or p.grad is not None for p in backbone.parameters())


def test_backbone_never_trains(backbone):
    assert backbone.train() is backbone
    assert not backbone.training
    assert not any(module.training for module in backbone.modules())


def test_same_arguments_give_the_same_backbone():
    first, second, other = tiny_backbone(), tiny_backbone(), tiny_backbone(seed=1)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
    assert first.provenance == second.provenance
    assert first.provenance["sha256"] != other.provenance["sha256"]


def test_making_a_backbone_leaves_the_random_state_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    tiny_backbone()
    drawn = torch.get_rng_state()
    assert torch.equal(before, drawn)


def test_dtype_and_device_are_those_of_the_weights():
    backbone = tiny_backbone(dtype=torch.bfloat16)
    assert backbone.dtype == torch.bfloat16
    assert backbone.device.type == "cpu"
    x, _ = backbone.vision.embed(picture(backbone).bfloat16())
    assert forward_blocks(backbone.vision.blocks, x)[0].dtype == torch.bfloat16
    assert encode_text(backbone.text, ["a"]).dtype == torch.bfloat16


# -- walk


class Adds:
    """A block that adds a number and remembers the masks it was given."""

    def __init__(self, number: float) -> None:
        self.number, self.masks = number, []

    def __call__(self, x, mask=None):
        self.masks.append(mask)
        return x + self.number


def test_walk_keeps_the_tapped_blocks_counted_from_one():
    last, kept = forward_blocks([Adds(1), Adds(10), Adds(100)], torch.zeros(1), layers=(1, 3))
    assert last.item() == 111
    assert {i: x.item() for i, x in kept.items()} == {1: 1, 3: 111}


@pytest.mark.parametrize("layers", [(), (4,), (0, -1)])
def test_walk_ignores_taps_that_are_not_there(layers):
    assert forward_blocks([Adds(1)], torch.zeros(1), layers=layers)[1] == {}


def test_walk_takes_taps_from_a_generator():
    assert set(forward_blocks([Adds(1)] * 3, torch.zeros(1), layers=(i for i in (2, 3)))[1]) == {2, 3}


def test_walk_lets_before_rewrite_what_a_block_receives():
    seen = []

    def before(i, x):
        seen.append((i, x.item()))
        return x * 2

    last, kept = forward_blocks([Adds(1), Adds(10)], torch.ones(1), layers=(1, 2), before=before)
    assert seen == [(1, 1), (2, 3)]
    assert last.item() == 16
    assert kept[1].item() == 3


def test_walk_hands_the_mask_to_each_block():
    blocks, mask = [Adds(1), Adds(2)], torch.zeros(1)
    forward_blocks(blocks, torch.zeros(1), mask=mask)
    assert [block.masks for block in blocks] == [[mask], [mask]]


def test_walk_over_no_blocks():
    x = torch.ones(1)
    assert forward_blocks([], x) == (x, {})


# -- encode

SENTENCES = [
    "a photo of a nut",
    "x",
    "a very long sentence about a scratched metal nut, indeed.",
    "x",
    "a photo of a nut",
]


@pytest.fixture
def text():
    return tiny_backbone().text


def whole(text, sentence: str) -> torch.Tensor:
    """Alone, at full length, with the whole mask."""
    ids = text.tokenize([sentence])
    x, _ = forward_blocks(text.blocks, text.add_positions(text.embed(ids)), mask=text.mask)
    return text.pool(x, ids)[0]


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 2, 64])
def test_encoding_equals_each_sentence_alone_untrimmed_and_in_order(text, chunk):
    wanted = torch.stack([whole(text, sentence) for sentence in SENTENCES])
    torch.testing.assert_close(encode_text(text, SENTENCES, chunk=chunk), wanted, atol=1e-5, rtol=1e-5)


def test_each_distinct_sentence_is_computed_once(text, monkeypatch):
    read, real = [], text.tokenize
    monkeypatch.setattr(text, "tokenize", lambda texts: read.extend(texts) or real(texts))
    encode_text(text, SENTENCES)
    assert sorted(read) == sorted(set(SENTENCES))


def test_chunks_are_bounded(text, monkeypatch):
    sizes, real = [], text.tokenize
    monkeypatch.setattr(text, "tokenize", lambda texts: sizes.append(len(texts)) or real(texts))
    encode_text(text, [f"word{i}" for i in range(7)], chunk=3)
    assert sizes == [3, 3, 1]


def test_trim_drops_padding_only(text):
    ids = text.tokenize(["a b", "a b c d"])
    assert text.trim(ids).shape == (2, 6)
    assert torch.equal(text.trim(ids), ids[:, :6])


def test_a_sentence_that_is_too_long_is_refused(text):
    ids = text.tokenize([" ".join(["word"] * 30)])
    assert text.trim(ids).shape == ids.shape == (1, 32)
    with pytest.raises(IncompatibleError, match="reads 32 tokens"):
        text.tokenize(["word", " ".join(["word"] * 31)])


@torch.no_grad()
def test_words_and_their_order_matter(text):
    vectors = encode_text(text, ["dog bites man", "man bites dog", "dog bites cat"])
    assert torch.cdist(vectors, vectors).fill_diagonal_(1).min() > 1e-2


def test_gradients_pass_through_words(text):
    ids = text.tokenize(["a photo"])
    words = text.embed(ids).requires_grad_()
    x, _ = forward_blocks(text.blocks, text.add_positions(words), mask=text.mask)
    text.pool(x, ids).square().sum().backward()
    assert words.grad[0, :4].abs().amax(1).min() > 0
    assert words.grad[0, 4:].abs().max() == 0
