"""Puts parameters into open_clip's models, every one and no other, and says which architecture they are of."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

import torch
from torch import Tensor, nn

from vlmad_core.contracts.torchvision_shim import import_with_torchvision
from vlmad_core.errors import ConfigError

__all__ = ["build_flat", "fill", "library"]

_TEXT = ("positional_embedding", "token_embedding.", "transformer.", "ln_final.", "text_projection")
# Neither tower needs these, and files disagree about their shape or presence.
_ELSEWHERE = ("logit_scale", "logit_bias", "text_decoder.", "input_resolution", "context_length", "vocab_size")


def library() -> ModuleType:
    """open_clip, imported when it is first needed."""
    return import_with_torchvision("open_clip", extra="vlmad-core[open-clip]")


def build_flat(state: Mapping[str, Tensor], heads: tuple[int, int] | None) -> nn.Module:
    """A ``CLIP`` of the sizes that parameters in OpenAI's flat naming have, and with them."""
    sizes = _sizes(state)
    if "embed" not in sizes or "text_width" not in sizes:
        raise ConfigError("not a CLIP in OpenAI's flat naming: 'visual.proj' or 'ln_final.weight' is missing.")
    width, text_width, patch = sizes["width"], sizes["text_width"], sizes["patch"]
    images, words = heads or (width // 64, text_width // 64)
    side = round((sizes["tokens"] - 1) ** 0.5) * patch
    vision = {
        "width": width,
        "layers": sizes["layers"],
        "head_width": width // images,
        "patch_size": patch,
        "image_size": side,
    }
    text: dict[str, float] = {"width": text_width, "heads": words, "layers": sizes["text_layers"]}
    vision["mlp_ratio"] = len(state["visual.transformer.resblocks.0.mlp.c_fc.weight"]) / width
    text["mlp_ratio"] = len(state["transformer.resblocks.0.mlp.c_fc.weight"]) / text_width
    text["context_length"], text["vocab_size"] = (
        len(state["positional_embedding"]),
        len(state["token_embedding.weight"]),
    )
    with torch.device("meta"):
        model: nn.Module = library().CLIP(sizes["embed"], vision, text)
    fill(model, state, "the state dict")
    return model


def fill(model: nn.Module, state: Mapping[str, Tensor], where: str, name: str = "") -> None:
    """Put parameters into a model on the device "meta", without copying them; every one, and no other."""
    if hasattr(model, "text") and "positional_embedding" in state:  # CLIP and CustomTextCLIP name the text tower apart
        state = {("text." + key if key.startswith(_TEXT) else key): value for key, value in state.items()}
    elif not hasattr(model, "text") and "text.positional_embedding" in state:
        state = {key.removeprefix("text."): value for key, value in state.items()}
    wanted = {key: value for key, value in model.state_dict().items() if not key.startswith(_ELSEWHERE)}
    given = {key: value for key, value in state.items() if not key.startswith(_ELSEWHERE)}
    given = {key: value for key, value in given.items() if key in wanted or not key.endswith("attn_mask")}
    wrong = {
        "missing": [key for key in wanted if key not in given],
        "not known": [key for key in given if key not in wanted],
        "of another shape": [
            f"{key} {tuple(given[key].shape)} for {tuple(wanted[key].shape)}"
            for key in wanted
            if key in given and given[key].shape != wanted[key].shape
        ],
    }
    if any(wrong.values()):
        wrong_names = "; ".join(f"{len(keys)} {what} ({', '.join(keys[:3])})" for what, keys in wrong.items() if keys)
        model_text = f" '{name}'" if name else ""
        raise ConfigError(f"{where} do not fit the model{model_text}: {wrong_names}.{_nearest(state, name)}")
    model.load_state_dict(given, strict=False, assign=True)
    _fill_buffers(model)


def _fill_buffers(model: nn.Module) -> None:
    """Values for what is in no file: EVA's bias of the keys, always zero; the causal mask, which towers make anew."""
    for module in model.modules():
        for key, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta and key in {"k_bias", "attn_mask"}:
                setattr(module, key, torch.zeros(buffer.shape))


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    """What shapes tell about a ViT in open_clip's own naming; empty if it is none."""
    if "visual.conv1.weight" not in state or "visual.positional_embedding" not in state:
        return {}
    plain = {key.removeprefix("text."): value for key, value in state.items()}
    conv = plain["visual.conv1.weight"]
    sizes = {"width": conv.shape[0], "patch": conv.shape[-1], "tokens": len(plain["visual.positional_embedding"])}
    for key, prefix in (("layers", "visual.transformer.resblocks."), ("text_layers", "transformer.resblocks.")):
        sizes[key] = len({k.removeprefix(prefix).partition(".")[0] for k in plain if k.startswith(prefix)})
    if "visual.proj" in plain:
        sizes["embed"] = plain["visual.proj"].shape[1]
    if "ln_final.weight" in plain:
        sizes["text_width"] = len(plain["ln_final.weight"])
    return sizes


def _nearest(state: Mapping[str, Tensor], asked: str) -> str:
    """A sentence that names the architecture whose sizes the file has, or nothing."""
    sizes = _sizes(state)
    if not sizes:
        return ""
    alike: dict[str, int] = {}
    for name in library().list_models():
        config = library().get_model_config(name)
        vision = config["vision_cfg"]
        side, patch = vision.get("image_size", 224), vision.get("patch_size", 0)
        if not isinstance(side, int) or not patch or vision.get("timm_model_name") or name == asked:
            continue
        shape = {"width": vision.get("width"), "layers": vision.get("layers"), "patch": patch}
        shape |= {"embed": config["embed_dim"], "text_width": config["text_cfg"].get("width")}
        shape["tokens"] = (side // patch) ** 2 + 1
        alike[name] = sum(sizes.get(key) == value for key, value in shape.items())
    best = max(alike, key=lambda name: (alike[name], -len(name)))
    sure = "They have the sizes of" if alike[best] == 6 else "The nearest architecture is"
    return f" {sure} '{best}'." if alike[best] >= 3 else ""
