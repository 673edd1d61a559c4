"""With every scorer, backbone and type of number: what the mask does to scores, and what it leaves as it was."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vlmad_core
from vlmad_core.testing import tiny_backbone
from vlmad_foreground.extractor import ForegroundExtractor, fill, foreground
from vlmad_foreground.plugin import ForegroundConfig

WORDS = {"use": "text-match", "config": {"image": "max"}}
MIXES = {
    "words": {"scorers": [WORDS], "prompts": "templates"},
    "memory": {"scorers": ["memory"]},
    "both": {"scorers": [WORDS, {"use": "memory", "config": {"levels": ["raw*"]}}], "prompts": "templates"},
}
BACKBONES = {"words": {}, "registers": {"registers": 2}, "no class": {"class_pool": False}, "blind": {"text": False}}
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EASY = ForegroundConfig(clear=0.5)
"""A backbone of random weights sees no object clearly."""


def picture(seed: int = 0, side: int = 64, dirt: bool = False) -> np.ndarray:
    """A bright part with a grain on a dark table; a reddish mark on the table."""
    draw = np.random.default_rng(seed)
    image = draw.normal(30, 4, (side, side, 3))
    part, mark = slice(side // 4, 3 * side // 4), slice(side // 28, side // 5)
    image[part, part] = draw.normal(190, 25, (side // 2, side // 2, 3))
    if dirt:
        image[mark, mark] = (90, 30, 30)
    return image.clip(0, 255).astype(np.uint8)


def noise(side: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)


def tensor(*pictures: np.ndarray) -> torch.Tensor:
    return torch.stack([torch.from_numpy(one).permute(2, 0, 1) / 255 for one in pictures])


@pytest.fixture(params=BACKBONES)
def backbone(request):
    return tiny_backbone(image_size=(64, 64), **BACKBONES[request.param])


@torch.no_grad()
@pytest.mark.parametrize("options", [{}, {"layers": (1, 3)}, {"layers": (2,), "space": "raw"}, {"space": "both"}])
def test_a_picture_without_an_object_has_the_levels_of_patches(vlmad_registry, options):
    backbone = tiny_backbone(image_size=(64, 64))
    spec = {"backbone": "tiny", "extractor": {"use": "patches", "config": options}, "scorers": ["memory"]}
    plain = vlmad_core.build(spec, backbone=backbone, registry=vlmad_registry).extractor
    ours = ForegroundExtractor(ForegroundConfig(**options), backbone)
    assert ours.levels == plain.levels
    one, other = ours(backbone.vision, tensor(noise())), plain(backbone.vision, tensor(noise()))
    for a, b in zip(one.levels, other.levels, strict=True):
        torch.testing.assert_close(a.vectors, b.vectors)
    assert (one.image is None) == (other.image is None)


@torch.no_grad()
def test_each_picture_has_a_mask_of_its_own(backbone):
    extractor = ForegroundExtractor(EASY, backbone)
    images = tensor(picture(), noise(), picture(1))
    together = extractor(backbone.vision, images).levels[0].vectors
    alone = [extractor(backbone.vision, one[None]).levels[0].vectors for one in images]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)
    different = [len(one.unique(dim=0)) for one in together]  # the cells of a background are all alike
    assert different[1] == 64
    assert max(different[0], different[2]) < 64


@pytest.mark.parametrize("name", MIXES)
def test_a_mark_on_the_table_is_seen_without_the_mask_alone(name):
    pytest.importorskip("vlmad_pocket")
    found = {}
    for extractor in ("patches", "foreground"):
        config = {"layers": [6, 9], "space": "both"} if name != "memory" else {"layers": [6], "space": "raw"}
        spec = {"backbone": "pocket", "extractor": {"use": extractor, "config": config}, **MIXES[name]}
        detector = vlmad_core.build(spec)
        if name != "words":
            detector.fit([picture(1, 224), picture(2, 224)], class_name="part")
        clean, marked = (detector.predict(picture(0, 224, dirt), "part").raw_map for dirt in (False, True))
        found[extractor] = (marked - clean)[16:32, 16:32].mean()
    assert found["patches"] > 4 * max(found["foreground"], 0.01)


def test_gradients_reach_the_picture():
    backbone = tiny_backbone(dtype=torch.float64, image_size=(64, 64))
    extractor = ForegroundExtractor(EASY, backbone)
    images = tensor(picture()).double().requires_grad_()

    def look(x):
        return extractor(backbone.vision, x).levels[0].vectors

    assert len(look(images)[0].unique(dim=0)) < 64  # masked: gradients pass the mean, too
    assert torch.autograd.gradcheck(look, images, fast_mode=True)


@torch.no_grad()
def test_bfloat16_stays_close(backbone):
    half = copy.deepcopy(backbone).bfloat16()
    extractor = ForegroundExtractor(EASY, backbone)
    one = extractor(backbone.vision, tensor(picture())).levels[0].vectors
    other = extractor(half.vision, tensor(picture()).bfloat16()).levels[0].vectors
    assert other.dtype == torch.bfloat16
    assert torch.cosine_similarity(one, other.float(), dim=-1).median() > 0.99


@pytest.mark.parametrize("grid", [(1, 1), (1, 9), (2, 2), (3, 3), (3, 40)])
def test_every_grid_has_an_answer(grid):
    tokens = torch.randn(2, grid[0] * grid[1], 8, generator=torch.Generator().manual_seed(0))
    keep = foreground(tokens, grid)
    assert keep.shape == (2, grid[0] * grid[1])
    assert keep.any(1).all()
    assert fill(tokens, keep).isfinite().all()


@pytest.mark.parametrize("space", ["joint", "both"])
def test_a_joint_space_that_is_not_there_is_refused(space):
    with pytest.raises(vlmad_core.errors.IncompatibleError, match="use space 'raw'"):
        ForegroundExtractor(ForegroundConfig(space=space), tiny_backbone(text=False))


@torch.no_grad()
def test_on_real_weights_a_part_is_found_and_a_texture_is_not():
    """By eye: these show one part, or one label, on something else; the others fill the picture or are many."""
    pocket = pytest.importorskip("vlmad_pocket")
    folder = Path(pocket.__file__).parents[1] / "tests" / "generated"
    if not folder.is_dir():
        pytest.skip("pocket is installed without its tests")
    detector = vlmad_core.build("foreground-memory", overrides={"backbone.config.image_size": 112})
    found = set()
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            shown = np.array(image.convert("RGB").resize((112, 112)))
        mean, deviation = (torch.tensor(v)[:, None, None] for v in IMAGENET)
        vectors = detector.extractor(detector.backbone.vision, (tensor(shown) - mean) / deviation).levels[0].vectors[0]
        if len(vectors.unique(dim=0)) < len(vectors):
            found.add(path.stem)
    assert found == {"fibre-1000300025", "normal-1000300002", "normal-1000300003"}
