"""The backbone 'timm': weights from a file, a tag or random numbers; what does not fit is refused in a sentence."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from vlmad_core.contracts import Backbone, forward_blocks, import_with_torchvision
from vlmad_core.errors import ConfigError, IncompatibleError
from vlmad_timm import weights
from vlmad_timm.backbone import Timm
from vlmad_timm.plugin import TimmConfig, vlmad_backbones

timm: Any = import_with_torchvision("timm")


@pytest.fixture(scope="module")
def model() -> nn.Module:
    made: nn.Module = timm.create_model("test_vit").eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.1)
    return made


@pytest.fixture
def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def build(path: Path | str, **options: Any) -> Timm:
    return Timm(TimmConfig(model="test_vit", pretrained=str(path), **options))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_file_fills_the_model(
    tmp_path: Path, model: Any, state: dict[str, Tensor], suffix: str, nested: bool
) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"model": state, "epoch": 3} if nested else state, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    backbone = build(path, sha256=sha256.upper())
    assert isinstance(backbone, Backbone)
    assert backbone.text is None
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert backbone.provenance == {"backbone": "timm", "model": "test_vit", "weights": path.name, "sha256": sha256}
    images = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        last, _ = forward_blocks(backbone.vision.blocks, backbone.vision.embed(images)[0])
        expected = model.forward_head(model.forward_features(images), pre_logits=True)
    torch.testing.assert_close(backbone.vision.pool(last), expected)


def test_pictures_are_prepared_as_the_weights_were_trained() -> None:
    backbone = build("random", image_size=(32, 48), dtype="bfloat16")
    preset = timm.get_pretrained_cfg("test_vit")
    assert (backbone.preprocess.mean, backbone.preprocess.std) == (preset.mean, preset.std)
    assert backbone.preprocess.interpolation == preset.interpolation
    assert backbone.preprocess.size == (32, 48)
    assert backbone.grid == (2, 3)
    assert backbone.dtype == torch.bfloat16
    assert build("random").preprocess.size == (160, 160)


def test_random_numbers_are_the_same_each_time_and_leave_the_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one, two = build("random").state_dict(), build("random").state_dict()
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_names_of_the_authors_are_translated_by_timm(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save({**state, "mask_token": torch.zeros(1, 64)}, tmp_path / "dinov2.pth")
    assert build(tmp_path / "dinov2.pth").provenance["weights"] == "dinov2.pth"


def _rename(state: dict[str, Tensor]) -> None:
    state["blocks.0.attn.query"] = state.pop("blocks.0.attn.qkv.weight")


def _reshape(state: dict[str, Tensor]) -> None:
    state["blocks.1.mlp.fc1.weight"] = state["blocks.1.mlp.fc1.weight"][:-1].clone()


def _shrink_patches(state: dict[str, Tensor]) -> None:
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"][..., :-2, :-2].clone()


def _shrink_positions(state: dict[str, Tensor]) -> None:
    state["pos_embed"] = state["pos_embed"][:, :50].clone()


def _empty(state: dict[str, Tensor]) -> None:
    for name in list(state)[1:]:
        del state[name]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_rename, "missing: blocks.0.attn.qkv.weight; not known: blocks.0.attn.query"),
        (_reshape, "of another shape: blocks.1.mlp.fc1.weight"),
        (_shrink_patches, r"is of patches \(14, 14\), not \(16, 16\)"),
        (_shrink_positions, "has 50 positions, not 101"),
        (_empty, "missing: .* and [0-9]+ more"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, state: dict[str, Tensor], damage: Any, said: str) -> None:
    damage(state)
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(ConfigError, match=f"weights are not of this model; .*{said}"):
        build(tmp_path / "weights.safetensors")


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_damaged_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not weights at all")
    with pytest.raises(ConfigError, match="is damaged"):
        build(tmp_path / name)


class Trap:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('code in a file of weights was run')",))


def test_code_in_a_file_is_never_run(tmp_path: Path) -> None:
    torch.save({"trap": Trap()}, tmp_path / "weights.pth")
    with pytest.raises(ConfigError, match="holds more than tensors"):
        build(tmp_path / "weights.pth")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match="holds no parameters by name"):
        build(tmp_path / "weights.pt")


def test_another_hash_is_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(ConfigError, match=f"but {'0' * 64} was asked for"):
        build(tmp_path / "weights.safetensors", sha256="0" * 64)
    with pytest.raises(ConfigError, match="sha256 is compared with a local file"):
        build("random", sha256="0" * 64)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        build(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pretrained": ""}, "pretrained is empty.* a local file .*lvd142m; or default"),
        ({"pretrained": "lvd142"}, "no weights 'lvd142' for .* Did you mean 'lvd142m'"),
        ({"model": "vit_small_patch14_dino2"}, "timm has no model .* Did you mean 'vit_small_patch14_dinov2'"),
        (
            {"model": "vit_small_patch14_dinov2.lvd142m"},
            "write model: vit_small_patch14_dinov2 and pretrained: lvd142m",
        ),
        ({"model": "hf-hub:timm/some"}, "timm has no model"),
        ({"device": "abacus"}, "device 'abacus' is not there"),
    ],
)
def test_what_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, options: dict[str, str], said: str) -> None:
    monkeypatch.setattr(weights, "_download", lambda name: pytest.fail(f"{name} was downloaded"))
    with pytest.raises(ConfigError, match=said):
        Timm(TimmConfig(**options))


@pytest.mark.parametrize("given", ["lvd142m", "default"])
def test_a_tag_is_downloaded_only_when_it_is_named(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    asked: list[str] = []

    def offline(name: str, **options: Any) -> nn.Module:
        if options.get("pretrained"):
            asked.append(name)
            raise OSError("no route to host")
        return plain(name, **options)

    plain = weights._create
    monkeypatch.setattr(weights, "_create", offline)
    with pytest.raises(ConfigError, match=r"could not get the weights .*no route to host.*Without a network"):
        Timm(TimmConfig(pretrained=given))
    assert asked == ["vit_small_patch14_dinov2.lvd142m"]


def test_a_model_that_cannot_be_opened_is_refused_before_weights_are_asked_for() -> None:
    with pytest.raises(IncompatibleError, match="'resnet18' is a ResNet"):
        Timm(TimmConfig(model="resnet18"))


def test_a_size_that_is_not_whole_patches_is_refused() -> None:
    with pytest.raises(IncompatibleError, match="'test_vit' cuts images into patches of 16 x 16"):
        build("random", image_size=100)


@pytest.mark.parametrize("options", [{"image_size": 0}, {"sha256": "abc"}, {"dtype": "int8"}, {"weights": ""}])
def test_impossible_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TimmConfig.model_validate(options)


def test_every_option_is_described() -> None:
    described = TimmConfig.model_json_schema()["properties"]
    assert all(option["description"] for option in described.values())


def test_the_plugin_offers_one_backbone_without_importing_torch() -> None:
    (component,) = vlmad_backbones()
    assert (component.name, component.target) == ("timm", "vlmad_timm.backbone:Timm")
    code = "import sys, vlmad_timm.plugin as p; list(p.vlmad_backbones()); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
