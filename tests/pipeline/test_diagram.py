"""The drawing of a detector: real shapes, without the work that decides none."""

from __future__ import annotations

import pytest
import torch

import vlmad_core
from vlmad_core.pipeline.diagram import _Outline, flow_of
from vlmad_core.testing import memory_registry, tiny_backbone
from vlmad_core.testing.tiny import TinyBlock

SPEC = {"backbone": "tiny", "extractor": "patches", "prompts": "templates", "scorers": ["text-match", "memory"]}


def test_no_block_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    built = vlmad_core.build(SPEC, backbone=tiny_backbone(), registry=memory_registry())
    expected = flow_of(built)
    monkeypatch.setattr(TinyBlock, "forward", lambda *_: pytest.fail("a block was run"))
    assert flow_of(built) == expected


def test_words_of_a_drawing_are_not_kept_for_judging() -> None:
    fresh, drawn = (vlmad_core.build(SPEC, backbone=tiny_backbone(), registry=memory_registry()) for _ in range(2))
    flow_of(drawn)
    with torch.no_grad():
        assert torch.equal(fresh.text_embeddings(["object"]).vectors, drawn.text_embeddings(["object"]).vectors)


@pytest.mark.parametrize("half", ["vision", "text"])
def test_skipped_blocks_give_the_shapes_of_those_that_they_stand_for(half: str) -> None:
    tower = getattr(tiny_backbone(), half)
    outline = _Outline(tower)
    assert (outline.width, outline.dim, len(outline.blocks)) == (tower.width, tower.dim, len(tower.blocks))
    x = torch.randn(2, 5, tower.width)
    for block, skipped in zip(tower.blocks, outline.blocks, strict=True):
        real, made = block.qkv(x), skipped.qkv(x)
        assert [t.shape for t in made] == [t.shape for t in real]
        assert skipped.attend(*made).shape == block.attend(*real).shape
        assert skipped(x).shape == block(x).shape
        assert skipped.mlp(x).shape == block.mlp(x).shape
