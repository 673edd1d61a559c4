"""Losses equal numbers worked out by hand, are differentiable, and stay finite at the ends."""

from __future__ import annotations

import math

import pytest
import torch

from vlmad_core.training.losses import cross_entropy, dice, focal

P = torch.tensor([[[0.9, 0.2]]])
Y = torch.tensor([[[1.0, 0.0]]])


def test_focal_of_two_pixels():
    terms = []
    for true_side in (0.9, 0.8):
        t = (1 - 2e-5) * true_side + 2e-5
        terms.append(-((1 - t) ** 2) * math.log(t))
    assert terms == pytest.approx([0.00105354, 0.00892519], abs=1e-8)
    assert float(focal(P, Y)) == pytest.approx(sum(terms) / 2, abs=1e-7)


def test_focal_without_gamma_and_smoothing_is_cross_entropy():
    expected = -(math.log(0.9) + math.log(0.8)) / 2
    assert float(focal(P, Y, gamma=0, smooth=0)) == pytest.approx(expected, rel=1e-6)


def test_dice_on_both_sides():
    assert float(dice(P, Y)) == pytest.approx(1 - (2 * 0.9 + 1) / (1.1 + 1 + 1), abs=1e-6)
    assert float(dice(P, Y)) == pytest.approx(0.0967742, abs=1e-6)
    assert float(dice(1 - P, 1 - Y)) == pytest.approx(0.1034483, abs=1e-6)


def test_dice_is_taken_image_by_image():
    two = torch.cat([P, 1 - P]), torch.cat([Y, Y])
    assert float(dice(*two)) == pytest.approx((float(dice(P, Y)) + float(dice(1 - P, Y))) / 2, abs=1e-6)


def test_perfect_maps_cost_nothing():
    assert float(focal(Y, Y)) == pytest.approx(0, abs=1e-12)
    assert float(dice(Y, Y)) == pytest.approx(0, abs=1e-12)
    empty = torch.zeros(1, 4, 4)
    assert float(dice(empty, empty)) == 0


def test_cross_entropy_of_both_labels():
    expected = -(math.log(0.9) + math.log(0.8)) / 2
    assert float(cross_entropy(torch.tensor([0.9, 0.2]), torch.tensor([True, False]))) == pytest.approx(expected)


@pytest.mark.parametrize("loss", [focal, dice, cross_entropy])
def test_certain_and_wrong_is_finite_with_finite_gradients(loss):
    probability = torch.tensor([0.0, 1.0]) if loss is cross_entropy else torch.tensor([[[0.0, 1.0]]])
    probability.requires_grad_()
    value = loss(probability, 1 - probability.detach())
    value.backward()
    assert value.isfinite() and value > 0.5
    assert probability.grad.isfinite().all()


@pytest.mark.parametrize("loss", [focal, dice, cross_entropy])
def test_gradients(loss):
    generator = torch.Generator().manual_seed(0)
    shape = (6,) if loss is cross_entropy else (2, 3, 4)
    probability = (torch.rand(shape, generator=generator, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    target = torch.rand(shape, generator=generator) > 0.5
    assert torch.autograd.gradcheck(lambda p: loss(p, target), probability)


@pytest.mark.parametrize("loss", [focal, dice])
def test_half_precision_is_computed_in_float32(loss):
    assert loss(P.bfloat16(), Y.bool()).dtype == torch.float32
