"""The backbone 'pocket' keeps the contracts, gives what timm gives, and needs nothing that is not in its wheel."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from vlmad_core.contracts import Backbone, Block, VisionTower, check_size, forward_blocks
from vlmad_core.errors import ConfigError, IncompatibleError
from vlmad_pocket import weights
from vlmad_pocket.plugin import PocketConfig, vlmad_backbones
from vlmad_pocket.vision import Pocket, PocketVision

# Trained weights amplify the rounding of a sum taken in another order; values reach about 7.
CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    return Pocket(PocketConfig(image_size=(56, 84), words=False))


def picture(*size: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0))


def test_it_is_a_frozen_backbone_without_text(pocket: Pocket) -> None:
    assert isinstance(pocket, Backbone)
    assert isinstance(pocket.vision, VisionTower)
    assert all(isinstance(block, Block) for block in pocket.vision.blocks)
    assert (len(pocket.vision.blocks), pocket.vision.width, pocket.vision.dim, pocket.vision.prefix) == (
        12,
        384,
        384,
        1,
    )
    assert pocket.text is None
    assert not pocket.vision.joint
    assert not pocket.training
    assert not any(parameter.requires_grad for parameter in pocket.parameters())
    assert not any(parameter.is_meta for parameter in pocket.parameters())
    assert sum(parameter.numel() for parameter in pocket.parameters()) == 22_056_192
    assert pocket.grid == (4, 6)


def test_provenance_names_the_weights(pocket: Pocket) -> None:
    assert pocket.provenance == {
        "backbone": "pocket",
        "weights": "dinov2-vit-s14",
        "sha256": weights.read_note()["sha256"],
    }


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
def test_block_law(pocket: Pocket, masked: bool) -> None:
    x, _ = pocket.vision.embed(picture(56, 84))
    mask = torch.zeros(x.shape[1], x.shape[1]).masked_fill_(torch.eye(x.shape[1]).roll(1, 1).bool(), -torch.inf)
    for block in pocket.vision.blocks:
        given = mask if masked else None
        q, k, v = block.qkv(x)
        assert q.shape == k.shape == v.shape == (2, 6, 25, 64)
        y = x + block.attend(q, k, v, given)
        torch.testing.assert_close(block(x, given), y + block.mlp(y))
        x = block(x, given)


@torch.no_grad()
def test_attend_takes_fewer_queries_than_keys(pocket: Pocket) -> None:
    x, _ = pocket.vision.embed(picture(56, 56))
    q, k, v = pocket.vision.blocks[0].qkv(x)
    whole = pocket.vision.blocks[0].attend(q, k, v)
    torch.testing.assert_close(pocket.vision.blocks[0].attend(q[:, :, :1], k, v), whole[:, :1], **CLOSE)


@torch.no_grad()
def test_a_picture_does_not_depend_on_its_batch(pocket: Pocket) -> None:
    images = picture(56, 84, batch=3)
    together, _ = forward_blocks(pocket.vision.blocks, pocket.vision.embed(images)[0])
    alone, _ = forward_blocks(pocket.vision.blocks, pocket.vision.embed(images[1:2])[0])
    torch.testing.assert_close(together[1:2], alone, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("size", [(518, 518), (224, 224), (56, 84), (70, 14)])
def test_same_as_timm(pocket: Pocket, timm_model: nn.Module, size: tuple[int, int]) -> None:
    images = picture(*size, batch=1)
    x, grid = pocket.vision.embed(images)
    assert grid == (size[0] // 14, size[1] // 14)
    last, _ = forward_blocks(pocket.vision.blocks, x)
    theirs = timm_model.forward_features(images)
    torch.testing.assert_close(pocket.vision.norm(last), theirs, **CLOSE)
    torch.testing.assert_close(pocket.vision.pool(last), timm_model.forward_head(theirs, pre_logits=True), **CLOSE)


def test_gradients_reach_the_picture(pocket: Pocket) -> None:
    images = picture(56, 84, batch=1).requires_grad_()
    last, _ = forward_blocks(pocket.vision.blocks, pocket.vision.embed(images)[0])
    pocket.vision.pool(last).square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().amax(dim=(0, 1)).gt(0).all()
    assert all(parameter.grad is None for parameter in pocket.parameters())


def test_positions_kept_under_inference_mode_can_stand_in_a_graph(pocket: Pocket) -> None:
    with torch.inference_mode():
        pocket.vision.embed(picture(28, 70))
    images = picture(28, 70).requires_grad_()
    pocket.vision.embed(images)[0].square().sum().backward()
    assert images.grad is not None


def test_embedding_changes_nothing_that_is_saved(pocket: Pocket) -> None:
    before = {name: tensor.clone() for name, tensor in pocket.state_dict().items()}
    pocket.vision.embed(picture(84, 56))
    after = pocket.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_kept_positions_follow_a_change_of_type() -> None:
    tower = Pocket(PocketConfig(words=False)).vision
    assert isinstance(tower, PocketVision)
    tower.embed(picture(28, 28))
    tower.to(torch.bfloat16)
    x, _ = tower.embed(picture(28, 28).bfloat16())
    assert x.dtype == torch.bfloat16


def test_the_number_of_kept_position_tables_is_bounded(pocket: Pocket) -> None:
    tower = pocket.vision
    assert isinstance(tower, PocketVision)
    for side in range(1, 25):
        tower.embed(picture(14, 14 * side, batch=1))
    assert len(tower._resized) <= 16


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "least"), [("bfloat16", 0.995), ("float16", 0.9999)])
def test_half_precision_is_near_float32(pocket: Pocket, dtype: Literal["bfloat16", "float16"], least: float) -> None:
    half = Pocket(PocketConfig(dtype=dtype, words=False))
    assert half.dtype == getattr(torch, dtype)
    images = picture(56, 84)
    full, _ = forward_blocks(pocket.vision.blocks, pocket.vision.embed(images)[0])
    short, _ = forward_blocks(half.vision.blocks, half.vision.embed(images.to(half.dtype))[0])
    cosine = torch.cosine_similarity(pocket.vision.norm(full), half.vision.norm(short).float(), dim=-1)
    assert cosine.min() > least


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((225, 224), "height of 224 or 238 and a width of 224"),
        ((224, 600), "width of 588 or 602"),
        ((13, 28), "height of 14 and"),
    ],
)
def test_sizes_that_are_not_whole_patches_are_refused(pocket: Pocket, size: tuple[int, int], said: str) -> None:
    for refused in (lambda: check_size(size, (14, 14), "pocket"), lambda: pocket.vision.embed(picture(*size))):
        with pytest.raises(IncompatibleError, match=said):
            refused()
    with pytest.raises(IncompatibleError, match=said):
        Pocket(PocketConfig(image_size=size))


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="device 'abacus' is not there"):
        Pocket(PocketConfig(device="abacus"))


@pytest.mark.parametrize("options", [{"image_size": 0}, {"image_size": (14, -14)}, {"dtype": "int8"}, {"size": 224}])
def test_impossible_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PocketConfig.model_validate(options)


def test_every_option_is_described() -> None:
    described = PocketConfig.model_json_schema()["properties"]
    assert all(option["description"] for option in described.values())


def test_the_plugin_offers_one_backbone() -> None:
    (component,) = vlmad_backbones()
    assert (component.name, component.target) == ("pocket", "vlmad_pocket.vision:Pocket")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the weights, which the backbone reads instead of its own."""
    folder = Path(weights.__file__).parent
    for name in ("pocket.json", "pocket.safetensors"):
        shutil.copy(folder / name, tmp_path)
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    return tmp_path


def test_one_changed_bit_in_the_weights_is_refused(elsewhere: Path) -> None:
    Pocket(PocketConfig(words=False))
    data = bytearray((elsewhere / "pocket.safetensors").read_bytes())
    data[len(data) // 2] ^= 1
    (elsewhere / "pocket.safetensors").write_bytes(data)
    with pytest.raises(ConfigError, match="is damaged or was changed; reinstall vlmad-pocket"):
        Pocket(PocketConfig(words=False))


def test_missing_weights_are_refused(elsewhere: Path) -> None:
    (elsewhere / "pocket.safetensors").unlink()
    with pytest.raises(ConfigError, match="reinstall vlmad-pocket"):
        Pocket(PocketConfig(words=False))


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_an_unreadable_note_is_refused(elsewhere: Path, text: str) -> None:
    (elsewhere / "pocket.json").write_text(text)
    with pytest.raises(ConfigError, match="reinstall vlmad-pocket"):
        Pocket(PocketConfig(words=False))


FIRST_FEATURE = """
import json, sys, time
start = time.perf_counter()
import vlmad_pocket.plugin
light = "torch" not in sys.modules
from vlmad_pocket.vision import Pocket
imported = time.perf_counter()
pocket = Pocket(vlmad_pocket.plugin.PocketConfig(words=False))
built = time.perf_counter()
import torch
from vlmad_core.contracts import forward_blocks
with torch.inference_mode():
    forward_blocks(pocket.vision.blocks, pocket.vision.embed(torch.zeros(1, 3, 224, 224))[0])
done = time.perf_counter()
heavy = sorted({"timm", "open_clip", "torchvision", "onnx"} & set(sys.modules))
print(json.dumps({"light": light, "heavy": heavy, "import": imported - start, "build": built - imported,
                  "first picture": done - built}))
"""


def test_first_feature_needs_neither_timm_nor_open_clip(record_property: pytest.RecordProperty) -> None:
    run = subprocess.run([sys.executable, "-c", FIRST_FEATURE], capture_output=True, text=True, check=True, timeout=120)
    seen = json.loads(run.stdout)
    assert seen.pop("light"), "plugin.py must not import torch"
    assert seen.pop("heavy") == []
    for stage, seconds in seen.items():
        record_property(f"seconds to {stage}", round(seconds, 2))


@pytest.fixture(scope="module")
def timm_model(pocket: Pocket) -> nn.Module:
    """timm's own class, filled with the weights of pocket."""
    from vlmad_core.contracts import import_with_torchvision

    try:
        timm = import_with_torchvision("timm")
    except ConfigError:
        pytest.skip("timm is not installed")
    model = timm.create_model("vit_small_patch14_dinov2", num_classes=0, dynamic_img_size=True)
    names = {"class_token": "cls_token", "positions": "pos_embed", "to_tokens": "patch_embed.proj", "final": "norm"}
    names |= {"to_qkv": "attn.qkv", "to_out": "attn.proj", "scale1": "ls1.gamma", "scale2": "ls2.gamma"}
    names |= {"up": "mlp.fc1", "down": "mlp.fc2"}
    state = {
        ".".join(names.get(part, part) for part in name.split(".")): tensor
        for name, tensor in pocket.vision.state_dict().items()
    }
    model.load_state_dict(state, strict=True)
    return model.eval()
