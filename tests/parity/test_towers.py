"""The towers equal the numbers recorded from open_clip 2.24 and the papers' own forks, within each tolerance."""

import json
from functools import cache

import pytest
import torch
from PIL import Image
from tiny_clip import FOLDER, check, recorded, tiny_clip

from vlmad_core.contracts.images import to_pixels
from vlmad_core.contracts.towers import forward_blocks
from vlmad_core.errors import IncompatibleError


@pytest.fixture(scope="module", autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@cache
def backbone(name="b16", **options):
    return tiny_clip(name, **options)


@cache
def seen(file="winclip", size=None):
    vision = backbone("b16", image_size=size).vision
    x, _ = vision.embed(recorded(file, "pixels")[0])
    return forward_blocks(vision.blocks, x, layers=range(1, 13))


def test_preprocessing_is_recorded():
    made = [
        to_pixels(Image.fromarray(recorded("images", f"image_{i}")[0].numpy()), backbone().preprocess) for i in range(7)
    ]
    check(torch.stack(made), "winclip", "pixels")


def test_tokens_before_the_first_norm_are_recorded():
    check(backbone().vision.tokens(recorded("winclip", "pixels")[0])[0], "winclip", "t0")


def test_stream_after_each_block_is_recorded():
    check(torch.stack([seen()[1][i][0] for i in range(1, 13)]), "winclip", "blocks_image0")


def test_image_and_patch_features_are_recorded():
    vision, (x, _) = backbone().vision, seen()
    check(vision.pool(x), "winclip", "image_features")
    check(vision.project(vision.norm(x[:, 0])), "winclip", "image_features")
    check(x[:3, 1:], "winclip", "patch_features")
    check(vision.norm(x)[:, 1:], "winclip", "patch_features_ln_post")


def test_a_rectangle_is_recorded():
    vision = backbone("b16", image_size=(80, 112)).vision
    x, _ = seen("winclip_rect", (80, 112))
    check(vision.positions((5, 7)), "winclip_rect", "positional_embedding_resized")
    check(vision.pool(x), "winclip_rect", "image_features")
    check(vision.norm(x)[:, 1:], "winclip_rect", "patch_features_ln_post")


@pytest.mark.parametrize(("source", "mode"), [("april_gan", "bicubic"), ("anomalyclip", "bilinear")])
def test_positions_of_another_size_are_recorded(source, mode):
    check(backbone("l14", positions=mode).vision.positions((6, 6)), "positions_l14", source)


@pytest.mark.parametrize("prompts", ["21", "22_spaces"])
def test_text_features_are_recorded(prompts):
    text, ids = backbone().text, recorded("winclip", f"prompt_ids_{prompts}")[0][0, ::4].long()
    x, _ = forward_blocks(text.blocks, text.add_positions(text.embed(ids)), mask=text.mask)
    check(text.pool(x, ids), "winclip", f"prompt_features_{prompts}", (0, slice(None, None, 4)))


@pytest.mark.parametrize("name", list(json.loads((FOLDER / "tokenizer.json").read_text())["texts"]))
def test_token_ids_are_recorded(name):
    texts = json.loads((FOLDER / "tokenizer.json").read_text())["texts"][name]
    text, kept, refused = backbone().text, [], []
    for i, one in enumerate(texts):
        try:
            text.tokenize([one])
            kept.append(i)
        except IncompatibleError:  # the recorded code cuts it off
            refused.append(i)
    check(text.tokenize([texts[i] for i in kept]), "tokenizer", f"{name}.ids", kept)
    ids = recorded("tokenizer", f"{name}.ids")[0]
    assert all((ids[i] != 0).all() for i in refused)  # nothing is refused that would have fitted with room to spare
    assert len(refused) <= 3
