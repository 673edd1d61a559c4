"""How large an image is when it goes into the encoder: from the size of the image to whole patches."""

from __future__ import annotations

import pytest

from vlmad_core.contracts.image_size import SHORTEST, ImageSize, fit_size
from vlmad_core.errors import ConfigError


@pytest.mark.parametrize("given", [(1, 1), (480, 640), (10_000, 3), (7, 900), (1, 20_000), (5774, 8660), (768, 576)])
@pytest.mark.parametrize(("patch", "tokens"), [((14, 14), 256), ((16, 16), 225), ((14, 14), 1024), ((8, 16), 16)])
def test_fit_stays_in_the_budget_in_whole_patches(given, patch, tokens):
    height, width = fit_size(given, patch, tokens)
    assert (height % patch[0], width % patch[1]) == (0, 0)
    rows, columns = height // patch[0], width // patch[1]
    assert min(rows, columns) >= SHORTEST
    assert rows * columns <= tokens
    if max(given) <= 4 * min(given) and tokens > 200:
        assert rows * columns >= 0.85 * tokens


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ((512, 512), (224, 224)),
        ((300, 400), (196, 252)),
        ((400, 300), (252, 196)),
        ((100, 400), (112, 448)),
        ((1, 20_000), (56, 896)),
        ((20_000, 1), (896, 56)),
    ],
)
def test_fit_keeps_the_aspect_ratio_as_far_as_patches_allow(given, size):
    assert fit_size(given, (14, 14), 256) == size


def test_fit_of_a_square_is_the_square_of_the_same_tokens():
    for side in (224, 336, 448, 518):
        assert fit_size((777, 777), (14, 14), (side // 14) ** 2) == (side, side)


def test_stretch_does_not_depend_on_the_image():
    size = ImageSize((240, 320))
    assert size.of((1, 20_000)) == size.of((9, 9)) == size.square == (240, 320)


def test_too_few_tokens_are_refused():
    with pytest.raises(ConfigError, match="tokens must be at least 16, a grid of 4 x 4; got 15"):
        fit_size((10, 10), (14, 14), 15)
