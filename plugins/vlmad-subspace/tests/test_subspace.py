"""The residual is what linear algebra says it is; fitting in parts, saving and mixing change nothing."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

import vlmad_core
from vlmad_core.contracts import Features, Level, LevelSpec
from vlmad_core.errors import IncompatibleError
from vlmad_core.testing import parametrize_checks, tiny_backbone
from vlmad_subspace.plugin import SubspaceConfig
from vlmad_subspace.subspace import Subspace

SPECS = (LevelSpec("raw3", 12, False), LevelSpec("raw6", 12, False), LevelSpec("block6", 5, True))
PICTURES = [np.random.default_rng(seed).integers(0, 255, (32, 32, 3), dtype=np.uint8) for seed in range(4)]


@parametrize_checks("vlmad-subspace")
def test_contract(check):
    check()


def scorer(**options):
    return Subspace(SubspaceConfig(**options), SPECS, None)


def noise(count, seed=0, regions=16):
    """Vectors of unequal variance away from the origin, as tokens are."""
    draws = torch.Generator().manual_seed(seed)

    def vectors(spec):
        spread = torch.logspace(0, -2, spec.dim)
        return torch.randn(count, regions, spec.dim, generator=draws) * spread + 2

    return Features(tuple(Level(spec, vectors(spec), (4, 4)) for spec in SPECS))


def one(name, vectors, grid=(1, 2)):
    """Pictures whose other levels are empty of news."""
    levels = [Level(s, vectors if s.name == name else torch.ones(*vectors.shape[:2], s.dim), grid) for s in SPECS]
    return Features(tuple(levels))


def test_a_vector_in_the_plane_scores_0_and_one_above_it_a_quarter_of_its_squared_height():
    part = scorer(levels=("block6",), unit=False, variance=1.0)
    plane = torch.tensor([[[1.0, 0, 0, 0, 0], [-1, 0, 0, 0, 0], [0, 2, 0, 0, 0], [0, -2, 0, 0, 0]]])
    part.fit(one("block6", plane))
    probe = torch.tensor([[[7.0, -5, 0, 0, 0], [7, -5, 3, 4, 0]]])
    mean_squared_length = (1 + 1 + 4 + 4) / 4
    torch.testing.assert_close(
        part.residual(probe, "block6"), torch.tensor([[0.0, 25 / 4 / mean_squared_length]]), atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("variance", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("unit", [True, False])
def test_it_is_the_reconstruction_error_of_scikit_learn(variance, unit):
    part = scorer(levels=("raw3",), variance=variance, unit=unit)
    seen, judged = noise(6)["raw3"].vectors.flatten(0, 1), noise(2, seed=1)["raw3"].vectors.flatten(0, 1)
    if unit:
        seen, judged = (torch.nn.functional.normalize(vectors, dim=-1) for vectors in (seen, judged))
    part.fit(one("raw3", seen[None]))
    pca = PCA(n_components=variance, svd_solver="full").fit(seen.double().numpy())
    rebuilt = pca.inverse_transform(pca.transform(judged.double().numpy()))
    expected = ((judged.numpy() - rebuilt) ** 2).sum(1) / 4 / (seen.double().numpy() ** 2).sum(1).mean()
    assert part.components("raw3").shape == (12, pca.n_components_)
    np.testing.assert_allclose(part.residual(judged, "raw3"), expected, rtol=2e-3, atol=1e-7)


def test_components_are_limited_by_their_number_and_by_the_rank():
    for options, expected in (({"components": 2}, 2), ({"variance": 1.0}, 12), ({"variance": 0.01}, 1)):
        part = scorer(levels=("raw3",), unit=False, **options)
        part.fit(noise(6))
        assert part.components("raw3").shape[1] == expected
    part = scorer(levels=("raw3",), variance=1.0)
    part.fit(one("raw3", torch.ones(1, 2, 12)))
    assert part.components("raw3").shape[1] == 0


def test_fitting_in_parts_and_in_any_order_equals_fitting_at_once():
    batches = [noise(count, seed) for seed, count in enumerate((1, 4, 2))]
    together = Features(
        tuple(Level(spec, torch.cat([batch[spec.name].vectors for batch in batches]), (4, 4)) for spec in SPECS)
    )
    at_once, in_parts, backwards = scorer(), scorer(), scorer()
    at_once.fit(together)
    for batch in batches:
        in_parts.fit(batch)
    for batch in reversed(batches):
        backwards.fit(batch)
    judged = noise(2, seed=9)
    expected = at_once(judged, None, (8, 8)).anomaly_map
    for part in (in_parts, backwards):
        torch.testing.assert_close(part(judged, None, (8, 8)).anomaly_map, expected, atol=1e-6, rtol=1e-4)


def test_state_has_one_size_whatever_was_seen_and_a_later_load_takes_over():
    small, large = scorer(), scorer()
    small.fit(noise(1))
    large.fit(noise(20, seed=1))
    sizes = [{name: value.shape for name, value in part.state_dict().items()} for part in (small, large)]
    assert sizes[0] == sizes[1]
    judged = noise(2, seed=9)
    before = small(judged, None, (8, 8)).anomaly_map
    small.load_state_dict(large.state_dict())
    torch.testing.assert_close(small(judged, None, (8, 8)).anomaly_map, large(judged, None, (8, 8)).anomaly_map)
    assert not torch.allclose(small(judged, None, (8, 8)).anomaly_map, before)


def test_average_is_one_subspace_of_the_mean_of_the_levels():
    averaged, single = scorer(levels=("raw*",), average=True), scorer(levels=("raw6",))
    seen, judged = noise(5), noise(2, seed=1)

    def mean(features):
        return one("raw6", (features["raw3"].vectors + features["raw6"].vectors) / 2, (4, 4))

    averaged.fit(seen)
    single.fit(mean(seen))
    expected = single(mean(judged), None, (8, 8))
    found = averaged(judged, None, (8, 8))
    torch.testing.assert_close(found.anomaly_map, expected.anomaly_map)
    torch.testing.assert_close(found.image, expected.image)
    assert list(found.levels) == ["raw6"]


def test_average_of_levels_that_differ_is_refused():
    with pytest.raises(IncompatibleError, match=r"differ in dimension: .*block6 \(joint, 5\)"):
        scorer(average=True)
    features = noise(1)
    uneven = Features((features["raw3"], Level(SPECS[1], torch.ones(1, 9, 12), (3, 3))))
    with pytest.raises(IncompatibleError, match="differ in regions: raw3 16, raw6 9"):
        scorer(levels=("raw*",), average=True).fit(uneven)


def test_the_image_score_is_the_mean_of_the_highest_pixels():
    part = scorer(top=0.25)
    part.fit(noise(4))
    scores = part(noise(2, seed=1), None, (8, 8))
    expected = scores.anomaly_map.flatten(1).sort(dim=1, descending=True).values[:, :16].mean(1)
    torch.testing.assert_close(scores.image, expected)


def test_gradients_pass_although_it_was_first_used_under_inference_mode():
    part = scorer(levels=("raw3",))
    part.fit(noise(4))
    with torch.inference_mode():
        part(noise(2), None, (8, 8))
    vectors = noise(2, seed=1)["raw3"].vectors.double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: part(one("raw3", x, (4, 4)), None, (8, 8)).anomaly_map.sum(),
        vectors[:1, :16],
        eps=1e-2,
        atol=1e-2,
        rtol=1e-1,
    )


def test_a_detector_that_was_saved_judges_the_same(tmp_path):
    # words beside a subspace: the scales of both are [0, 1]
    spec = {
        "backbone": "tiny",
        "extractor": {"use": "patches", "config": {"space": "both"}},
        "prompts": "templates",
        "scorers": ["text-match", {"use": "subspace", "config": {"levels": ["raw*"]}}],
    }
    registry = vlmad_core.testing.memory_registry(base=vlmad_core.registry.default_registry(), plugin="vlmad-tests")
    detector = vlmad_core.build(spec, backbone=tiny_backbone(), registry=registry).fit(PICTURES[:3], class_name="nut")
    again = vlmad_core.load(detector.save(tmp_path / "nut"), backbone=detector.backbone, registry=registry)
    one, other = detector.predict(PICTURES[3]), again.predict(PICTURES[3])
    np.testing.assert_allclose(one.anomaly_map, other.anomaly_map, atol=1e-6)
    assert one.score == pytest.approx(other.score, abs=1e-6)


def test_the_recipe_judges_by_the_papers_rule():
    detector = vlmad_core.build("subspace", backbone=tiny_backbone(depth=12, text=False)).fit(PICTURES[:3])
    assert detector.predict(PICTURES[0]).score < detector.predict(PICTURES[3]).score


def test_only_unit_vectors_have_a_highest_value():
    assert scorer().maximum == 1
    assert scorer(unit=False).maximum is None


def test_predicting_asks_nothing_of_the_device():
    """A GPU would stop at each number that Python reads: bool(tensor), float(tensor), tensor.item()."""
    part = scorer()
    part.fit(noise(2))
    part(noise(1), None, (4, 4))

    class Counter(torch.overrides.TorchFunctionMode):
        reads = 0

        def __torch_function__(self, function, types, args=(), kwargs=None):
            name = getattr(function, "__name__", "")
            Counter.reads += name in {"__bool__", "__float__", "__int__", "item", "cpu", "nonzero", "tolist"}
            return function(*args, **(kwargs or {}))

    with Counter():
        part(noise(1), None, (4, 4))
    assert Counter.reads == 0


def test_features_that_are_not_finite_are_refused():
    bad = noise(2)
    bad.levels[1].vectors[0, 3, 2] = torch.nan
    part = scorer()
    with pytest.raises(vlmad_core.errors.VlmadError, match="'raw6' hold values that are not finite"):
        part.fit(bad)


@pytest.mark.parametrize(("depth", "numbers"), [(12, (7, 8)), (24, (14, 15, 16, 17)), (40, tuple(range(23, 30)))])
def test_the_recipe_reads_blocks_as_deep_as_the_papers(depth, numbers):
    detector = vlmad_core.build("subspace", backbone=tiny_backbone(depth=depth, text=False))
    assert detector.extractor.layers == numbers
