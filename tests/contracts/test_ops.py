"""The shared functions: vectors worked out by hand, scipy's numbers, gradients, and what must not change a result."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.autograd import gradcheck

from vlmad_core.contracts import combine, gaussian_blur, l2_normalize, nearest_distance, resize, softmax_similarity
from vlmad_core.contracts.kernels import linear

QUERIES = torch.tensor([[1.0, 0, 0], [0, 1, 0]])
ANCHORS = l2_normalize(torch.tensor([[0.0, 1, 0], [1, 1, 0]]))


def draw(*shape: int, dtype=torch.float64, seed: int = 0, grad: bool = False) -> torch.Tensor:
    made = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
    return made.requires_grad_(grad)


# -- unit


def test_unit_length_along_the_last_axis():
    torch.testing.assert_close(l2_normalize(draw(2, 3, 5)).norm(dim=-1), torch.ones(2, 3, dtype=torch.float64))


def test_unit_of_zero_is_zero():
    assert torch.equal(l2_normalize(torch.zeros(2, 3)), torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_arithmetic_is_in_at_least_float32(given, becomes):
    x = draw(2, 3, 4).to(given)
    assert l2_normalize(x).dtype == becomes
    assert softmax_similarity(x, l2_normalize(draw(2, 2, 4)), 0.1).dtype == becomes
    assert nearest_distance(x, l2_normalize(draw(5, 4))).dtype == becomes


# -- match


def test_match_by_hand():
    found = softmax_similarity(QUERIES[:, None], ANCHORS.expand(2, -1, -1), 1.0)[:, 0]
    torch.testing.assert_close(found, torch.tensor([[0.3302, 0.6698], [0.5727, 0.4273]]), atol=5e-5, rtol=0)


def test_match_sums_to_one_and_ignores_length():
    vectors, text_embeddings = draw(2, 3, 4, 5), l2_normalize(draw(2, 3, 5, seed=1))
    found = softmax_similarity(vectors, text_embeddings, 0.07)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 3, 4, dtype=torch.float64))
    torch.testing.assert_close(softmax_similarity(vectors * 7, text_embeddings, 0.07), found)


def test_match_keeps_images_apart():
    vectors, text_embeddings = draw(3, 4, 5), l2_normalize(draw(3, 2, 5, seed=1))
    alone = [softmax_similarity(vectors[i : i + 1], text_embeddings[i : i + 1], 0.1)[0] for i in range(3)]
    torch.testing.assert_close(softmax_similarity(vectors, text_embeddings, 0.1), torch.stack(alone))


def test_match_follows_the_order_of_regions_and_states():
    vectors, text_embeddings = draw(1, 6, 5), l2_normalize(draw(1, 3, 5, seed=1))
    regions, states = torch.randperm(6), torch.randperm(3)
    found = softmax_similarity(vectors, text_embeddings, 0.1)
    torch.testing.assert_close(
        softmax_similarity(vectors[:, regions], text_embeddings[:, states], 0.1), found[:, regions][..., states]
    )


def test_smaller_temperature_is_sharper():
    vectors, text_embeddings = draw(1, 20, 5), l2_normalize(draw(1, 2, 5, seed=1))
    sharp, soft = (
        softmax_similarity(vectors, text_embeddings, 0.05).amax(-1),
        softmax_similarity(vectors, text_embeddings, 0.5).amax(-1),
    )
    assert (sharp >= soft).all()


def test_nearer_to_an_anchor_is_likelier():
    text_embeddings = l2_normalize(draw(1, 2, 5))
    path = torch.stack([(1 - t) * text_embeddings[0, 0] + t * text_embeddings[0, 1] for t in torch.linspace(0, 1, 11)])
    assert (softmax_similarity(path[None], text_embeddings, 0.1)[0, :, 1].diff() > 0).all()


@pytest.mark.parametrize("temperature", [1.0, 0.07, 1e-3])
def test_match_is_finite_at_any_temperature(temperature):
    assert (
        softmax_similarity(draw(1, 50, 5, dtype=torch.float32), l2_normalize(draw(1, 2, 5)), temperature)
        .isfinite()
        .all()
    )


def test_match_gradients():
    assert gradcheck(
        lambda v, a: softmax_similarity(v, l2_normalize(a), 0.3),
        (draw(2, 3, 4, grad=True), draw(2, 2, 4, seed=1, grad=True)),
    )


# -- nearest


def test_nearest_by_hand():
    torch.testing.assert_close(nearest_distance(QUERIES, ANCHORS), torch.tensor([0.1464, 0.0]), atol=5e-5, rtol=0)


@pytest.mark.parametrize("chunk", [1, 2, 7, 29, 30, 31])
def test_chunks_do_not_matter(chunk):
    queries, bank = draw(2, 5, 4), l2_normalize(draw(30, 4, seed=1))
    torch.testing.assert_close(nearest_distance(queries, bank, chunk=chunk), nearest_distance(queries, bank))


def test_order_of_the_memory_does_not_matter():
    queries, bank = draw(2, 5, 4), l2_normalize(draw(30, 4, seed=1))
    torch.testing.assert_close(nearest_distance(queries, bank[torch.randperm(30)]), nearest_distance(queries, bank))


def test_more_memory_is_never_farther():
    queries, bank = draw(40, 4), l2_normalize(draw(30, 4, seed=1))
    assert (nearest_distance(queries, bank) <= nearest_distance(queries, bank[:10]) + 1e-12).all()


def test_nearest_is_in_0_to_1_and_0_for_what_is_remembered():
    bank = l2_normalize(draw(200, 64, dtype=torch.float32))
    found = nearest_distance(torch.cat([bank * 3, -bank]), bank)
    assert found.min() >= 0
    assert found.max() <= 1
    assert found[:200].max() < 1e-6
    assert nearest_distance(-bank[:1], bank[:1]).item() == pytest.approx(1)


def test_nearest_gradients():
    bank = l2_normalize(draw(6, 4, seed=1))
    assert gradcheck(lambda q: nearest_distance(q, bank, chunk=4), (draw(2, 3, 4, grad=True),))
    assert gradcheck(lambda b: nearest_distance(draw(2, 3, 4), l2_normalize(b)), (draw(6, 4, seed=1, grad=True),))


# -- resize and smooth


def test_resize_keeps_the_lead_and_constant_maps():
    maps = torch.arange(6.0).view(2, 3, 1, 1).expand(2, 3, 4, 5)
    found = resize(maps, (9, 7))
    assert found.shape == (2, 3, 9, 7)
    torch.testing.assert_close(found, torch.arange(6.0).view(2, 3, 1, 1).expand(2, 3, 9, 7))


def test_resize_stays_within_the_values():
    maps = draw(2, 4, 4)
    found = resize(maps, (33, 17))
    assert found.min() >= maps.min()
    assert found.max() <= maps.max()


def test_resize_can_align_corners():
    maps = draw(1, 3, 3)
    found = resize(maps, (7, 7), align_corners=True)
    torch.testing.assert_close(found[0, ::6, ::6], maps[0, ::2, ::2])
    assert not torch.allclose(resize(maps, (7, 7))[0, 3, 1], found[0, 3, 1])


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.5, 4.0])
@pytest.mark.parametrize("shape", [(40, 50), (33, 33), (16, 16), (5, 7), (2, 3), (1, 1), (1, 60)])
def test_smooth_equals_scipy_on_maps_of_any_size(sigma, shape):
    image = np.random.default_rng(0).random(shape)
    wanted = gaussian_filter(image, sigma)
    found = gaussian_blur(torch.from_numpy(image)[None], sigma)[0].numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    single = gaussian_blur(torch.from_numpy(image).float()[None], sigma)[0].numpy()
    np.testing.assert_allclose(single, wanted, atol=1e-6)


def test_kernel_of_sigma_4():
    spot = torch.zeros(1, 101, 101, dtype=torch.float64)
    spot[0, 50] = 1
    column = gaussian_blur(spot, 4.0)[0, :, 50]
    assert int((column > 0).sum()) == 33
    assert column[50].item() == pytest.approx(0.0997391, abs=5e-8)
    assert column[34].item() == column[66].item() == pytest.approx(3.34587e-5, abs=5e-11)


def test_smooth_keeps_the_sum_and_sigma_0_changes_nothing():
    maps = draw(2, 3, 9, 11)
    assert gaussian_blur(maps, 0) is maps
    torch.testing.assert_close(gaussian_blur(maps, 2.0).sum((-1, -2)), maps.sum((-1, -2)))
    assert gaussian_blur(maps, 2.0).shape == maps.shape


def test_resize_and_smooth_gradients():
    assert gradcheck(lambda m: resize(m, (5, 7)), (draw(2, 3, 4, grad=True),))
    assert gradcheck(lambda m: gaussian_blur(m, 1.3), (draw(1, 4, 6, grad=True),))


# -- combine


def test_harmonic_combination_by_hand():
    found = combine([torch.tensor(v) for v in (0.6, 0.5, 0.4)], "harmonic")
    assert found.item() == pytest.approx(0.486486, abs=1e-6)


@pytest.mark.parametrize(("how", "wanted"), [("mean", 0.5), ("sum", 1.5), ("max", 0.8), ("harmonic", 3 / 8.25)])
def test_each_rule(how, wanted):
    found = combine([torch.full((2, 2), v) for v in (0.2, 0.5, 0.8)], how)
    torch.testing.assert_close(found, torch.full((2, 2), wanted))


@pytest.mark.parametrize("how", ["mean", "sum", "max", "harmonic"])
def test_combination_ignores_order_grows_and_broadcasts(how):
    items = [draw(2, 3, seed=i).abs() for i in range(3)]
    found = combine(items, how)
    torch.testing.assert_close(combine(items[::-1], how), found)
    assert (combine([items[0] + 0.1, *items[1:]], how) >= found).all()
    assert combine([torch.ones(2, 1), torch.ones(1, 3)], how).shape == (2, 3)
    torch.testing.assert_close(combine(items[:1], how), items[0])


def test_harmonic_lies_below_the_mean_and_above_the_least():
    items = [draw(100, seed=i).abs() for i in range(3)]
    least = torch.stack(items).amin(0)
    assert (combine(items, "harmonic") <= combine(items, "mean") + 1e-12).all()
    assert (combine(items, "harmonic") >= least - 1e-12).all()


def test_harmonic_of_zero_is_zero_and_can_be_learned_from():
    zero = torch.zeros(3, requires_grad=True)
    found = combine([zero, torch.ones(3)], "harmonic")
    assert found.detach().abs().max() < 1e-12
    found.sum().backward()
    assert zero.grad.isfinite().all()


@pytest.mark.parametrize("how", ["mean", "sum", "max", "harmonic"])
def test_combination_gradients(how):
    items = tuple((draw(4, seed=i).abs() + 0.1).requires_grad_() for i in range(3))
    assert gradcheck(lambda *given: combine(given, how), items)


# -- linear


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_linear_equals_torchs(gelu, bias, dtype):
    x, weight = draw(2, 5, 8, dtype=dtype), draw(6, 8, dtype=dtype, seed=1)
    shift = draw(6, dtype=dtype, seed=2) if bias else None
    wanted = torch.nn.functional.linear(x, weight, shift)
    wanted = torch.nn.functional.gelu(wanted) if gelu else wanted
    torch.testing.assert_close(linear(x, weight, shift, gelu=gelu), wanted, atol=1e-5, rtol=1e-5)


def test_linear_gradients():
    x, weight, shift = draw(3, 4, grad=True), draw(2, 4, seed=1, grad=True), draw(2, seed=2, grad=True)
    assert gradcheck(lambda *given: linear(*given, gelu=True), (x, weight, shift))
    single = draw(3, 4, dtype=torch.float32).requires_grad_()
    linear(single, draw(2, 4, dtype=torch.float32)).sum().backward()
    assert single.grad.abs().sum() > 0


def test_linear_leaves_gradients_and_autocast_alone():
    x, weight = torch.randn(3, 8, requires_grad=True), torch.randn(4, 8)
    linear(x, weight).sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(0).expand(3, -1))
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x.detach(), weight).dtype == torch.bfloat16
