"""What sentences share is computed once, and nothing about them changes."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from vlmad_core.contracts import encode_text
from vlmad_core.contracts.prefix_tree import PrefixTree, is_causal
from vlmad_core.testing import tiny_backbone

STATES = ["a flawless nut", "a nut", "a nut with a scratch", "a nut with a dent"]
SENTENCES = [f"a {kind} photo of {state}" for kind, state in product(("dark", "bright", "small"), STATES)]


def test_each_beginning_stands_once_and_sees_its_own_tokens_alone():
    tree = PrefixTree.of(torch.tensor([[1, 5, 7, 2], [1, 5, 2, 0], [1, 7, 5, 2]]), [4, 3, 4])
    assert tree.places.tolist() == [[0, 1, 2, 3], [0, 1, 4, 0], [0, 5, 6, 7]]
    assert tree.tokens.tolist() == [0, 1, 2, 3, 6, 9, 10, 11]
    seen = [set(row.logical_not().nonzero().flatten().tolist()) for row in tree.hidden]
    assert seen == [{0}, {0, 1}, {0, 1, 2}, {0, 1, 2, 3}, {0, 1, 4}, {0, 5}, {0, 5, 6}, {0, 5, 6, 7}]


def test_equal_tokens_after_other_beginnings_are_not_shared():
    tree = PrefixTree.of(torch.tensor([[1, 5, 2], [1, 6, 2]]), [3, 3])
    assert len(tree.tokens) == 5


@pytest.mark.parametrize(
    ("mask", "causal"),
    [
        (torch.full((4, 4), -torch.inf).triu(1), True),
        (torch.full((4, 4), -torch.inf).triu(2), False),
        (torch.zeros(4, 4), False),
        (torch.full((4, 4), -torch.inf).triu(1).add(0.5), False),
        (torch.zeros(2, 4, 4), False),
        (None, False),
    ],
)
def test_only_a_plain_causal_mask_lets_beginnings_be_shared(mask, causal):
    assert is_causal(mask) is causal


def alone(text, sentence):
    return encode_text(text, [sentence])[0]


@torch.no_grad()
@pytest.mark.parametrize("chunk", [2, 5, 64])
def test_sentences_that_share_beginnings_are_encoded_as_each_alone(chunk):
    text = tiny_backbone().text
    wanted = torch.stack([alone(text, sentence) for sentence in SENTENCES])
    torch.testing.assert_close(encode_text(text, SENTENCES, chunk=chunk), wanted, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_shared_tokens_go_through_the_blocks_once(monkeypatch):
    text, tokens = tiny_backbone().text, []
    forward = type(text.blocks[0]).forward
    monkeypatch.setattr(
        type(text.blocks[0]),
        "forward",
        lambda self, x, mask=None: tokens.append(x.shape[0] * x.shape[1]) or forward(self, x, mask),
    )
    encode_text(text, SENTENCES)
    ids = text.trim(text.tokenize(SENTENCES))
    beginnings = {tuple(row[: n + 1]) for row in ids.tolist() for n in range(row.index(max(row)) + 1)}
    assert set(tokens) == {len(beginnings)}
    assert len(beginnings) < ids.numel() / 2


def test_gradients_reach_the_token_embeddings_through_shared_beginnings(monkeypatch):
    text, seen = tiny_backbone().text, []
    real = text.embed

    def embed(ids):
        seen.append(real(ids).detach().requires_grad_())
        return seen[-1]

    monkeypatch.setattr(text, "embed", embed)
    encode_text(text, SENTENCES).square().sum().backward()
    assert seen[0].grad[0, :4].abs().amax(1).min() > 0


@torch.no_grad()
def test_tower_without_a_causal_mask_is_encoded_whole(monkeypatch):
    text = tiny_backbone().text
    monkeypatch.setattr(text, "mask", torch.zeros_like(text.mask))
    wanted = torch.stack([alone(text, sentence) for sentence in SENTENCES[:3]])
    assert encode_text(text, SENTENCES[:3]).shape == wanted.shape
    monkeypatch.setattr(PrefixTree, "of", lambda *_: pytest.fail("shared under a mask that is not causal"))
    encode_text(text, SENTENCES)
