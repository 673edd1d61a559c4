"""The two paths equal the numbers recorded from AnomalyCLIP's own code, within each array's tolerance."""

import pytest
import torch
from tiny_clip import check, recorded, tiny_clip

from vlmad_dpam.dpam import Dpam
from vlmad_dpam.plugin import DpamConfig

FILE = "anomalyclip"
TAPS = (6, 12, 18, 24)


@pytest.fixture(scope="module")
def backbone():
    return tiny_clip("l14", activation="quick-gelu", positions="bilinear")


@pytest.fixture(scope="module")
def seen(backbone):
    """Pixels to both paths after every block."""
    extractor = Dpam(DpamConfig(layers=TAPS, pool_norm=False), backbone)
    with torch.no_grad():
        x, _ = backbone.vision.embed(recorded(FILE, "pixels")[0])
        return {i: paths for i, *paths in extractor.paths(backbone.vision, x)}


def test_the_default_start_is_the_papers(backbone):
    assert Dpam(DpamConfig(), backbone).start == 6


@torch.no_grad()
def test_tokens_before_the_first_block(backbone):
    check(backbone.vision.positions((6, 6)), FILE, "positional_embedding_resized")
    check(backbone.vision.tokens(recorded(FILE, "pixels")[0])[0], FILE, "t0")


@pytest.mark.parametrize("layer", TAPS)
def test_both_paths_of_every_picture(seen, layer):
    for path, value in zip("xv", seen[layer], strict=True):
        check(value, FILE, f"{path}{layer}")


def test_both_paths_after_every_block(seen):
    for i, name in enumerate(("x_blocks_image0", "v_blocks_image0")):
        check(torch.stack([seen[block][i][0] for block in range(1, 25)]), FILE, name)


@torch.no_grad()
def test_local_and_image_features(backbone):
    features = Dpam(DpamConfig(layers=TAPS, pool_norm=False), backbone)(backbone.vision, recorded(FILE, "pixels")[0])
    check(features.image, FILE, "image_features")
    for layer in TAPS:
        check(features[f"local{layer}"].vectors, FILE, f"local{layer}", (slice(None), slice(1, None)))


@torch.no_grad()
@pytest.mark.parametrize("options", [{"start": 5}, {"start": 7}, {"attention": "kk"}, {"residual": False}])
def test_a_near_miss_is_told_apart(backbone, options):
    features = Dpam(DpamConfig(**options), backbone)(backbone.vision, recorded(FILE, "pixels")[0])
    expected, atol = recorded(FILE, "local24")
    assert (features["local24"].vectors - expected[:, 1:]).abs().max() > 100 * atol
