"""A probe is a memory bank until it has defects; then what is like a defect scores higher."""

import pytest
import torch

import vlmad_core
from vlmad_adapters.plugin import ProbeConfig
from vlmad_adapters.probe import Probe
from vlmad_core.contracts import Features, Level, LevelSpec, l2_normalize, nearest_distance
from vlmad_core.errors import ConfigError, NotFittedError

SPEC = LevelSpec("raw1", 8, False)
SIZE = (8, 8)


def features(vectors):
    return Features((Level(SPEC, vectors, (4, 4)),))


def noise(images, seed, shift=None, regions=slice(None)):
    """``[images, 16, 8]`` about a fixed direction; some regions are moved."""
    vectors = torch.randn(images, 16, 8, generator=torch.Generator().manual_seed(seed)) * 0.3
    vectors[..., 0] += 2
    if shift is not None:
        vectors[:, regions] += shift
    return vectors


@pytest.fixture
def shift():
    """What a defect is: a small step along one axis, well inside the noise of a single region."""
    return torch.eye(8)[3] * 0.6


@pytest.fixture
def probe():
    made = Probe(ProbeConfig(shrinkage=0.01), [SPEC], None)
    made.fit(features(noise(6, 1)))
    return made


def score(probe, vectors):
    return probe(features(vectors), None, SIZE).image


def test_without_a_defect_it_is_the_distance_to_the_memory(probe):
    vectors = noise(2, 2)
    expected = nearest_distance(vectors, probe.bank("raw1"))
    torch.testing.assert_close(probe.values(features(vectors), "raw1"), expected)


def test_defects_make_others_of_their_kind_score_higher_than_normal_images(probe, shift):
    normal, defective = noise(20, 3), noise(20, 4, shift, slice(0, 4))

    def auroc():
        low, high = score(probe, normal), score(probe, defective)
        return float((high[:, None] > low[None]).float().mean())

    before = auroc()
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[:2] = True
    probe.fit_defects(features(noise(6, 5, shift, slice(0, 4))), [mask] * 6)
    assert before < 0.75, "the distance alone must leave something to learn"
    assert auroc() > before + 0.15


def test_the_direction_is_fishers_on_the_spread_of_held_out_distances(probe, shift):
    """By the formula, computed another way; with masks every region that is marked counts."""
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[:2] = True  # the upper row of cells
    given = noise(3, 5, shift, slice(0, 4))
    probe.fit_defects(features(given), [mask] * 3)
    bank = l2_normalize(noise(6, 1)).double().reshape(-1, 8)
    covariance = torch.cov(bank.T, correction=0)
    difference = l2_normalize(given[:, :4]).double().mean((0, 1)) - bank.mean(0)
    ridge = 0.01 * torch.linalg.eigvalsh(covariance)[-1] * torch.eye(8)
    direction = torch.linalg.inv(covariance + ridge) @ difference
    images = bank.reshape(6, 16, 8)
    others = [torch.cat([images[j] for j in range(6) if j != i]) for i in range(6)]
    held_out = torch.stack([(1 - (images[i] @ others[i].T).amax(1)) / 2 for i in range(6)])
    expected = direction * held_out.std() / ((bank - bank.mean(0)) @ direction).std(correction=0)
    torch.testing.assert_close(probe.direction_raw1, expected.float(), atol=1e-4, rtol=1e-3)


def test_fewer_than_two_normal_images_are_refused(shift):
    made = Probe(ProbeConfig(), [SPEC], None)
    made.fit(features(noise(1, 1)))
    with pytest.raises(NotFittedError, match="at least 2 normal images"):
        made.fit_defects(features(noise(2, 2, shift)))


def test_forgetting_the_normal_images_keeps_what_defects_taught(probe, shift):
    """Calibration scores each normal image by a memory of the others, and the direction must be the same for all."""
    probe.fit_defects(features(noise(4, 5, shift)))
    direction = probe.direction_raw1.clone()
    probe.forget()
    assert torch.equal(probe.direction_raw1, direction)
    assert direction.abs().sum() > 0


def test_a_saved_probe_scores_the_same(tmp_path, shift):
    from vlmad_core.registry import Component
    from vlmad_core.testing import memory_registry

    component = Component(
        name="probe", target="vlmad_adapters.probe:Probe", config=ProbeConfig, summary="Distance and discriminant."
    )
    registry = memory_registry(scorers=[component])
    spec = {"backbone": {"use": "tiny"}, "extractor": {"use": "patches"}, "scorers": [{"use": "probe"}]}
    detector = vlmad_core.build(spec, registry=registry)
    rng = torch.Generator().manual_seed(0)
    pictures = [(torch.rand(32, 32, 3, generator=rng) * 255).byte().numpy() for _ in range(5)]
    detector.fit(pictures[:3])
    with torch.no_grad():
        images = torch.rand(2, 3, *detector.backbone.preprocess.size, generator=rng)
        detector.scorers[0].fit_defects(detector.extract(images)[0])
    loaded = vlmad_core.load(detector.save(tmp_path / "nut"), registry=registry)
    assert all(value.abs().sum() > 0 for name, value in loaded.scorers[0].named_buffers() if "direction" in name)
    assert loaded.predict(pictures[4]).score == pytest.approx(detector.predict(pictures[4]).score, rel=1e-6)


@pytest.mark.parametrize("height", [40, 1000])
def test_a_mask_of_a_few_pixels_marks_the_cell_that_it_lies_in(probe, shift, height):
    """It would be gone from a mask of the size of the map, and every region taken for defective."""
    mask = torch.zeros((height, height), dtype=torch.bool)
    mask[1:4, height // 4 + 1 : height // 4 + 4] = True  # the second cell of the upper row
    given = noise(3, 5, shift, slice(1, 2))
    probe.fit_defects(features(given), [mask] * 3)
    direction = probe.direction_raw1.clone()
    probe.fit_defects(features(given[:, 1:2].expand(-1, 16, -1)), [torch.ones(SIZE, dtype=torch.bool)] * 3)
    torch.testing.assert_close(direction, probe.direction_raw1)


def test_a_mask_that_marks_no_pixel_is_refused(probe):
    with pytest.raises(ConfigError, match="marks no pixel; correct it, or leave it out"):
        probe.fit_defects(features(noise(1, 5)), [torch.zeros(SIZE, dtype=torch.bool)])
