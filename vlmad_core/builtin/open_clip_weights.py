"""Find, read and verify weights for open_clip's architectures, and what was done to pictures when they were trained.

Nothing is downloaded unless a tag was named, and nothing is unpickled: a local file holds tensors or is refused.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vlmad_core.builtin.open_clip_config import OpenClipConfig
from vlmad_core.contracts.torchvision_shim import import_with_torchvision
from vlmad_core.errors import ConfigError, did_you_mean

__all__ = ["Found", "build", "build_flat", "library", "load", "tokenizer"]

_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
_LOCAL = "pretrained= also takes a local .safetensors, .pt, .pth or .bin file"
_PIXELS = ("mean", "std", "interpolation")
_TEXT = ("positional_embedding", "token_embedding.", "transformer.", "ln_final.", "text_projection")
# Neither tower needs these, and files disagree about their shape or presence.
_ELSEWHERE = ("logit_scale", "logit_bias", "text_decoder.", "input_resolution", "context_length", "vocab_size")


@dataclass(frozen=True)
class Found:
    """A model with its weights, and what travels with them.

    Args:
        model: open_clip's.
        pixels: ``mean``, ``std``, ``interpolation``.
        activation: Another one than the architecture has, where the weights say so.
        provenance: For :class:`~vlmad_core.contracts.towers.Backbone`.
    """

    model: nn.Module
    pixels: dict[str, Any]
    activation: Literal["weights", "gelu", "quick-gelu"]
    provenance: dict[str, str]


def library() -> ModuleType:
    """open_clip, imported when it is first needed."""
    return import_with_torchvision("open_clip", extra="vlmad-core[open-clip]")


def tokenizer(name: str) -> Any:
    """open_clip's tokenizer for an architecture; some are downloaded."""
    return library().get_tokenizer(name)


def architecture(name: str) -> dict[str, Any]:
    """The configuration that open_clip ships under a name, or a sentence."""
    known = library().list_models()
    if name not in known:
        raise ConfigError(f"open_clip has no model '{name}'.{did_you_mean(name, known)}")
    config: dict[str, Any] = library().get_model_config(name)
    if config["text_cfg"].get("hf_model_name"):
        raise ConfigError(
            f"model '{name}' reads text with '{config['text_cfg']['hf_model_name']}' of another library, which cannot "
            "be opened into blocks; take a model with open_clip's own text tower such as 'ViT-B-16-plus-240'."
        )
    return config


def build(name: str, device: str) -> nn.Module:
    """The architecture without weights; on the device "meta" it takes no memory."""
    config = architecture(name)
    custom = config.pop("custom_text", False)
    kind = "CLIP" if not custom else "CoCa" if "multimodal_cfg" in config else "CustomTextCLIP"
    maker = getattr(library(), kind)
    config["vision_cfg"]["timm_model_pretrained"] = False
    known = inspect.signature(maker).parameters
    with torch.device(device):
        model: nn.Module = maker(**{key: value for key, value in config.items() if key in known})
    return model


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
    _fill(model, state, "the state dict")
    return model


def load(config: OpenClipConfig, blank: nn.Module) -> Found:
    """Weights for ``blank``, an architecture on the device "meta", as the options say.

    Raises:
        ConfigError: None named, none found, damaged, not what was promised, or of another architecture.
    """
    name, given = config.model, config.pretrained
    tags: list[str] = library().list_pretrained_tags_by_model(name)
    offer = f"{_offer(name, tags)}; {_LOCAL}."
    if not given:
        raise ConfigError(f"no weights named for '{name}'. Name them: --weights TAG, or weights= in Python. {offer}")
    if given == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            found = Found(build(name, "cpu"), _usual(name), "weights", {"weights": "random"})
    elif Path(given).suffix.lower() in _SUFFIXES or Path(given).exists():
        found = _from_file(config, Path(given), blank)
    elif library().get_pretrained_cfg(name, given):
        found = _from_tag(name, given)
    else:
        raise ConfigError(f"'{given}' is neither a file nor a tag of '{name}'.{did_you_mean(given, tags)} {offer}")
    own = {key: getattr(config, key) for key in _PIXELS if getattr(config, key) is not None}
    said = {key: str(value) for key, value in own.items() if value != found.pixels[key]}
    if config.activation not in {"weights", found.activation}:
        said["activation"] = config.activation
    provenance = {"backbone": "open-clip", "model": name, **found.provenance, **said}
    return Found(found.model, {**found.pixels, **own}, found.activation, provenance)


def _offer(name: str, tags: list[str]) -> str:
    return f"open_clip can download {', '.join(tags)}" if tags else f"open_clip knows no tag for '{name}'"


def _usual(name: str) -> dict[str, Any]:
    """What the published weights of an architecture were trained with; OpenAI's numbers where there are none."""
    openai = {"mean": library().OPENAI_DATASET_MEAN, "std": library().OPENAI_DATASET_STD, "interpolation": "bicubic"}
    published = [library().get_pretrained_cfg(name, tag) for tag in library().list_pretrained_tags_by_model(name)]
    return {**openai, **_pixels(published[0] if published else {})}


def _pixels(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: config[key] for key in _PIXELS if config.get(key) is not None}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()}


def _from_tag(name: str, tag: str) -> Found:
    clip = library()
    config = clip.get_pretrained_cfg(name, tag)
    # Releases up to 2.24 do not say it; all that OpenAI trained, and no other tag of a plain name, has the quick one.
    quick = config.get("quick_gelu", tag == "openai")
    provenance = {"weights": tag}
    try:
        cached = clip.download_pretrained(config)
        if cached:
            provenance["sha256"] = _sha256(Path(cached))
        model = clip.create_model(name, pretrained=tag, precision="fp32", device="cpu", force_quick_gelu=bool(quick))
    except Exception as error:  # a network, a hub, a disk, a checkpoint: whatever the download raises
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"weights '{tag}' of '{name}' could not be had ({type(error).__name__}: {reason}). Without a "
            f"network, {_LOCAL}."
        ) from error
    visual = model.visual
    told = getattr(visual, "preprocess_cfg", None) or {
        "mean": getattr(visual, "image_mean", None),
        "std": getattr(visual, "image_std", None),
    }
    return Found(model, {**_usual(name), **_pixels(config), **_pixels(told)}, "weights", provenance)


def _from_file(config: OpenClipConfig, path: Path, blank: nn.Module) -> Found:
    if not path.is_file():
        tags = library().list_pretrained_tags_by_model(config.model)
        raise ConfigError(f"weights {path}: no such file; {_offer(config.model, tags)}.")
    digest = _sha256(path)
    if config.sha256 and digest != config.sha256.lower():
        raise ConfigError(f"weights {path}: sha256 is {digest}, not {config.sha256.lower()} as the options demand.")
    pixels, activation = _sidecar(config, path)
    _fill(blank, read_state(path), f"weights {path.name}", config.model)
    return Found(blank, {**_usual(config.model), **pixels}, activation, {"weights": path.name, "sha256": digest})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sidecar(config: OpenClipConfig, path: Path) -> tuple[dict[str, Any], Literal["weights", "gelu", "quick-gelu"]]:
    """What an ``open_clip_config.json`` beside the weights says; refused where it speaks of another model."""
    beside = path.with_name("open_clip_config.json")
    if not beside.is_file():
        return {}, "weights"
    try:
        told = json.loads(beside.read_text(encoding="utf-8"))
        other, pictures = told.get("model_cfg", {}), told.get("preprocess_cfg", {})
        vision = other.get("vision_cfg", {})
        pixels = _pixels(pictures)
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{beside.name} beside {path.name} cannot be read ({error}).") from error
    mine = architecture(config.model)
    pairs = {"embed_dim": (other.get("embed_dim"), mine["embed_dim"])}
    for key in ("width", "layers", "patch_size", "timm_model_name", "image_size"):
        pairs[key] = (vision.get(key), mine["vision_cfg"].get(key))
    if config.image_size is None and isinstance(pictures.get("size"), int):
        pairs["size"] = (pictures["size"], mine["vision_cfg"].get("image_size"))
    for key, (theirs, ours) in pairs.items():
        if theirs is not None and ours is not None and theirs != ours:
            raise ConfigError(
                f"{beside.name} beside {path.name} says {key} {theirs}, but model '{config.model}' has {ours}; name "
                "the model that the weights are of, or put them into a folder of their own."
            )
    quick, here = bool(other.get("quick_gelu", False)), bool(mine.get("quick_gelu", False))
    return pixels, "weights" if not other or quick == here else "quick-gelu" if quick else "gelu"


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors in a file, by name, without the wrappings that training adds.

    Raises:
        ConfigError: Damaged, holding code, or something else than tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix.lower() == ".safetensors":
            state: Any = load_file(path)
        else:
            _refuse_script(path)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"weights {path}: holds more than tensors, and unpickling it would run code from the file; where you trust "
            "it, load it there and save its state dict with safetensors.torch.save_file."
        ) from error
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"weights {path}: damaged or of no known format ({reason}).") from error
    for key in ("state_dict", "model"):
        state = state[key] if isinstance(state, dict) and isinstance(state.get(key), dict) else state
    if not isinstance(state, dict) or not state or not all(isinstance(key, str) for key in state):
        raise ConfigError(f"weights {path}: holds no parameters by name.")
    for prefix in ("module.", "_orig_mod."):  # DistributedDataParallel, torch.compile
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}


def _refuse_script(path: Path) -> None:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(entry.endswith("/constants.pkl") for entry in archive.namelist()):
                raise ConfigError(
                    f"weights {path}: is a TorchScript archive, as OpenAI publishes, and loading it would run code "
                    "from the file; convert it once where you trust it: safetensors.torch.save_file({k: v.contiguous() "
                    "for k, v in torch.jit.load('F.pt', 'cpu').state_dict().items() if v.dim()}, 'F.safetensors')."
                )


def _fill(model: nn.Module, state: Mapping[str, Tensor], where: str, name: str = "") -> None:
    """Put parameters into a model on the device "meta", without copying them; every one, and no other."""
    if hasattr(model, "text") and "positional_embedding" in state:  # CLIP and CustomTextCLIP name the text tower apart
        state = {("text." + key if key.startswith(_TEXT) else key): value for key, value in state.items()}
    elif not hasattr(model, "text") and "text.positional_embedding" in state:
        state = {key.removeprefix("text."): value for key, value in state.items()}
    wanted = {key: value for key, value in model.state_dict().items() if not key.startswith(_ELSEWHERE)}
    given = {key: value for key, value in state.items() if not key.startswith(_ELSEWHERE)}
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
        said = "; ".join(f"{len(keys)} {what} ({', '.join(keys[:3])})" for what, keys in wrong.items() if keys)
        model_text = f" '{name}'" if name else ""
        raise ConfigError(f"{where} do not fit the model{model_text}: {said}.{_nearest(state, name)}")
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
