"""The contract of 'foreground', and what it does beyond."""

from __future__ import annotations

import pytest
import torch

from vlmad_core.errors import IncompatibleError
from vlmad_core.testing import parametrize_checks, tiny_backbone
from vlmad_foreground.extractor import ForegroundExtractor, fill, foreground
from vlmad_foreground.plugin import ForegroundConfig

GRID = (12, 16)


@parametrize_checks("vlmad-foreground")
def test_contract(check):
    check()


def scene(top=3, bottom=9, left=4, right=12, seed=0):
    """Tokens ``[1, h*w, 24]`` of an object on a background, and ``[h, w]`` where the object is."""
    draw = torch.Generator().manual_seed(seed)
    there = torch.zeros(GRID, dtype=torch.bool)
    there[top:bottom, left:right] = True
    kinds = torch.randn(2, 24, generator=draw)
    noise = 0.2 * torch.randn(there.numel(), 24, generator=draw)
    return (kinds[there.flatten().long()] + noise)[None], there


@pytest.mark.parametrize("seed", range(5))
def test_the_object_is_found_whatever_the_sign(seed):
    tokens, there = scene(seed=seed)
    for sign in (1, -1):
        assert torch.equal(foreground(sign * tokens, GRID, margin=0).view(GRID), there)


def test_a_margin_is_kept_around_it():
    tokens, _ = scene(3, 9, 4, 12)
    _, wider = scene(2, 10, 3, 13)
    assert torch.equal(foreground(tokens, GRID, margin=1).view(GRID), wider)


def test_a_hole_and_a_bite_belong_to_the_object():
    tokens, there = scene()
    broken = tokens.clone().view(*GRID, -1)
    broken[5:7, 6:8] = broken[0, 0]
    broken[3:5, 9:11] = broken[0, 0]
    assert torch.equal(foreground(broken.view_as(tokens), GRID, margin=0).view(GRID), there)


def test_a_picture_without_an_object_is_left_alone():
    sheet = torch.randn(1, 192, 24, generator=torch.Generator().manual_seed(1))
    ramp = sheet + torch.linspace(-9, 9, 192)[:, None]
    beside, small, halves = scene(1, 11, 0, 9)[0], scene(5, 7, 4, 7)[0], scene(0, 6, 0, 16)[0]
    for tokens in (sheet, ramp, beside, small, halves, torch.zeros_like(sheet)):
        assert foreground(tokens, GRID).all()


def test_the_background_takes_the_mean_of_the_object():
    vectors, keep = torch.tensor([[[1.0, 0], [3, 4], [9, 9]]]), torch.tensor([[True, True, False]])
    assert fill(vectors, keep).tolist() == [[[1, 0], [3, 4], [2, 2]]]


@pytest.mark.parametrize("options", [{"layers": (9,)}, {"mask": 0}, {"mask": -9}])
def test_what_cannot_fit_is_refused(options):
    with pytest.raises(IncompatibleError, match="is beyond this tower; it has blocks 1 to 3"):
        ForegroundExtractor(ForegroundConfig(**options), tiny_backbone())
