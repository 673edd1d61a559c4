"""Attacks against a score whose optimum is known."""

import pytest
import torch

from vlmad_robustness.attack import apgd, pgd, random_search, to_bytes, universal


def linear_score(weight):
    """A linear score: its optimum in the ball is the corner with the signs of the weight."""
    return lambda x: (x * weight).flatten(1).sum(1)


@pytest.fixture
def setting():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(3, 6, 6, generator=generator)
    images = (torch.randint(80, 170, (4, 3, 6, 6), generator=generator) / 255).float()
    return weight, images, generator


@pytest.mark.parametrize("attack", [pgd, apgd])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_gradient_attack_reaches_the_corner_of_the_ball_for_a_linear_score(attack, sign, setting):
    weight, images, generator = setting
    done = attack(linear_score(weight), images, 4 / 255, sign=sign, steps=10, restarts=1, generator=generator)
    best = linear_score(weight)(images + sign * 4 / 255 * weight.sign())
    assert done.scores == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("attack", [pgd, apgd, random_search])
def test_no_attack_leaves_the_ball_or_the_range_even_after_rounding_to_8_bits(attack, setting):
    weight, images, generator = setting
    images = images.clone()
    images[0] = 0.0
    options = {"tries": 5} if attack is random_search else {"steps": 5, "restarts": 2}
    done = attack(linear_score(weight), images, 2 / 255, sign=1, generator=generator, **options)
    for picture, image in zip(to_bytes(done.images), to_bytes(images), strict=True):
        assert (picture.int() - image.int()).abs().max() <= 2


@pytest.mark.parametrize("attack", [pgd, apgd])
def test_an_attack_finds_more_than_random_noise_on_a_curved_score(attack, setting):
    weight, images, generator = setting

    def score(x):
        return torch.sin(4 * linear_score(weight)(x)) + 0.1 * linear_score(weight)(x)

    found = attack(score, images, 8 / 255, sign=1, steps=20, restarts=2, generator=generator)
    control = random_search(score, images, 8 / 255, sign=1, tries=20, generator=generator)
    assert (found.scores >= control.scores - 1e-5).all()


def test_apgd_halves_its_step_where_a_large_one_overshoots():
    image = torch.full((1, 1, 1, 1), 0.5)
    score = lambda x: -((x - 0.503) ** 2).flatten(1).sum(1)  # noqa: E731  # the optimum lies inside the ball
    done = apgd(score, image, 8 / 255, sign=1, steps=40, restarts=1, generator=torch.Generator().manual_seed(1))
    assert float(done.images) == pytest.approx(0.503, abs=2e-3)


def test_a_universal_perturbation_raises_images_that_it_was_not_learned_on(setting):
    weight, images, generator = setting
    delta = universal(linear_score(weight), images[:2], 8 / 255, sign=1, steps=20, batch_size=2, generator=generator)
    assert delta.abs().max() <= 8 / 255 + 1e-7
    assert (linear_score(weight)(images[2:] + delta) > linear_score(weight)(images[2:])).all()


def test_apgd_asks_for_one_gradient_a_step_also_where_it_goes_back_to_the_best_point(setting):
    weight, images, generator = setting
    passes = []

    def score(x):
        passes.append(len(x))
        return torch.sin(40 * linear_score(weight)(x))  # so curved that steps stall and halve

    apgd(score, images, 8 / 255, sign=1, steps=20, restarts=2, generator=generator)
    assert passes == [4] * 2 * 21
