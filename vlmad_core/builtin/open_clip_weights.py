"""Finds and builds open_clip's models, from a tag that it downloads or from a local file.

Nothing is downloaded unless a tag or a hub's name was given, and nothing in a file is run.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from vlmad_core.builtin.open_clip_config import OpenClipConfig
from vlmad_core.builtin.open_clip_fill import fill, library
from vlmad_core.builtin.open_clip_published import PIXELS, pixels_of, settle
from vlmad_core.contracts.torchscript import has_quick_gelu, is_torchscript
from vlmad_core.contracts.weights_file import WEIGHT_SUFFIXES, read_weights, sha256_of
from vlmad_core.errors import ConfigError, did_you_mean

__all__ = ["Found", "architecture", "build", "library", "load", "tokenizer"]

_SUFFIXES = (*WEIGHT_SUFFIXES, ".npz")
_LOCAL = f"pretrained= also takes a local file ({', '.join(_SUFFIXES)})"
_CONFIG = "open_clip_config.json"
_IN_FOLDER = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
_FOLDER, _HUB = "local-dir:", "hf-hub:"


@dataclass(frozen=True)
class Found:
    """A model with its weights, and what belongs to them.

    Args:
        model: open_clip's.
        pixels: ``mean``, ``std``, ``interpolation``.
        activation: Another one than the architecture has, where the weights were trained with it.
        provenance: For :class:`~vlmad_core.contracts.towers.Backbone`.
    """

    model: nn.Module
    pixels: dict[str, Any]
    activation: Literal["weights", "gelu", "quick-gelu"]
    provenance: dict[str, str]


def tokenizer(name: str) -> Any:
    """open_clip's tokenizer for an architecture; some are downloaded."""
    return library().get_tokenizer(name)


def architecture(name: str) -> dict[str, Any]:
    """The configuration of an architecture of open_clip, of a folder or of a repository of the Hugging Face hub.

    Raises:
        ConfigError: There is none, or its text tower is another library's.
    """
    if name.startswith((_FOLDER, _HUB)):
        config: dict[str, Any] = _read_config(_folder(name) / _CONFIG)["model_cfg"]
    else:
        known = library().list_models()
        if name not in known:
            raise ConfigError(
                f"open_clip has no model '{name}'.{did_you_mean(name, known)} A folder with {_CONFIG} and weights is "
                f"named {_FOLDER}PATH, a repository of the Hugging Face hub {_HUB}OWNER/NAME."
            )
        config = library().get_model_config(name)
    if config["text_cfg"].get("hf_model_name"):
        raise ConfigError(
            f"model '{name}' has a text tower of another library, '{config['text_cfg']['hf_model_name']}', which "
            "cannot be opened into blocks; take a model with open_clip's own text tower such as 'ViT-B-16-plus-240'."
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


def load(config: OpenClipConfig, blank: nn.Module) -> Found:
    """Weights for ``blank``, an architecture on the device "meta", as the options say.

    Raises:
        ConfigError: None named, none found, damaged, not what was promised, of another architecture, or of a file of
            which it is not known how it was trained.
    """
    name, given = config.model, config.pretrained
    tags: list[str] = library().list_pretrained_tags_by_model(name)
    offer = f"{_offer(name, tags)}; {_LOCAL}."
    if config.tag and not _is_file(given):
        raise ConfigError("backbone option 'tag' says what a local file holds; name the file with --weights.")
    if not given and name.startswith((_FOLDER, _HUB)):
        found = _from_file(config, _weights_in(_folder(name)), blank)
    elif not given:
        raise ConfigError(f"no weights named for '{name}'. Name them: --weights TAG, or weights= in Python. {offer}")
    elif given == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = build(name, "cpu")
        found = Found(model, _usual(name), "weights", {"weights": "random"})
    elif _is_file(given):
        found = _from_file(config, Path(given), blank)
    elif library().get_pretrained_cfg(name, given):
        found = _from_tag(name, given)
    else:
        raise ConfigError(f"'{given}' is neither a file nor a tag of '{name}'.{did_you_mean(given, tags)} {offer}")
    own = {key: getattr(config, key) for key in PIXELS if getattr(config, key) is not None}
    changed = {key: str(value) for key, value in own.items() if value != found.pixels[key]}
    if config.activation not in {"weights", found.activation}:
        changed["activation"] = config.activation
    provenance = {"backbone": "open-clip", "model": name, **found.provenance, **changed}
    return Found(found.model, {**found.pixels, **own}, found.activation, provenance)


def _is_file(given: str) -> bool:
    return bool(given) and (Path(given).suffix.lower() in _SUFFIXES or Path(given).exists())


def _offer(name: str, tags: list[str]) -> str:
    return f"open_clip can download {', '.join(tags)}" if tags else f"open_clip knows no tag for '{name}'"


def _usual(name: str) -> dict[str, Any]:
    """The preprocessing of the first published weights of an architecture; OpenAI's where there are none."""
    openai = {"mean": library().OPENAI_DATASET_MEAN, "std": library().OPENAI_DATASET_STD, "interpolation": "bicubic"}
    tags = library().list_pretrained_tags_by_model(name)
    return {**openai, **pixels_of(library().get_pretrained_cfg(name, tags[0]) if tags else {})}


def _from_tag(name: str, tag: str) -> Found:
    clip = library()
    config = clip.get_pretrained_cfg(name, tag)
    # Releases up to 2.24 do not say it; all that OpenAI trained, and no other tag of a plain name, has the quick one.
    quick = config.get("quick_gelu", tag == "openai")
    provenance = {"weights": tag}
    try:
        cached = clip.download_pretrained(config)
        if cached:
            provenance["sha256"] = sha256_of(Path(cached))
        model = clip.create_model(name, pretrained=tag, precision="fp32", device="cpu", force_quick_gelu=bool(quick))
    except Exception as error:  # a network, a hub, a disk, a checkpoint: whatever the download raises
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"weights '{tag}' of '{name}' could not be had ({type(error).__name__}: {reason}). Without a "
            f"network, {_LOCAL}."
        ) from error
    visual = model.visual
    own = getattr(visual, "preprocess_cfg", None) or {
        "mean": getattr(visual, "image_mean", None),
        "std": getattr(visual, "image_std", None),
    }
    return Found(model, {**_usual(name), **pixels_of(config), **pixels_of(own)}, "weights", provenance)


def _from_file(config: OpenClipConfig, path: Path, blank: nn.Module) -> Found:
    name = config.model
    if not path.is_file():
        tags = library().list_pretrained_tags_by_model(name)
        raise ConfigError(f"weights {path}: no such file; {_offer(name, tags)}.")
    digest = sha256_of(path)
    if config.sha256 and digest != config.sha256.lower():
        raise ConfigError(f"weights {path}: sha256 is {digest}, not {config.sha256.lower()} as the options demand.")
    own = _beside(config, path)
    model = _from_jax(name, path) if path.suffix.lower() == ".npz" else blank
    if model is blank:  # other weights than those of the model are refused before anything is asked about them
        fill(blank, read_weights(path), f"weights {path.name}", name)
    if path.suffix.lower() != ".npz" and is_torchscript(path) and has_quick_gelu(path):
        own = {"activation": "quick-gelu", **own}
    own |= {key: getattr(config, key) for key in PIXELS if getattr(config, key) is not None}
    if config.activation != "weights":
        own["activation"] = config.activation
    is_quick = bool(architecture(name).get("quick_gelu", False))
    known = settle(name, own, is_quick=is_quick, tag=config.tag, sha256=digest, where=path.name)
    activation = known.pop("activation")
    provenance = {"weights": path.name, "sha256": digest}
    is_own = (activation == "quick-gelu") == is_quick
    return Found(model, known, "weights" if is_own else activation, provenance)


def _from_jax(name: str, path: Path) -> nn.Module:
    """Google's own files of SigLIP, converted by open_clip, which reads arrays alone."""
    from open_clip.convert import load_big_vision_weights

    model = build(name, "cpu")
    if not hasattr(getattr(model, "visual", None), "trunk"):
        raise ConfigError(f"weights {path}: .npz files are Google's SigLIP; model '{name}' is none of them.")
    try:
        load_big_vision_weights(model, str(path))
    except Exception as error:  # a missing array, another shape, a damaged archive: whatever the conversion raises
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"weights {path}: do not fit '{name}' ({type(error).__name__}: {reason}).") from error
    return model


def _folder(name: str) -> Path:
    """Where the files of ``local-dir:PATH`` or ``hf-hub:OWNER/NAME`` lie; the latter are downloaded, once."""
    if name.startswith(_FOLDER):
        folder = Path(name.removeprefix(_FOLDER)).expanduser()
        if not (folder / _CONFIG).is_file():
            raise ConfigError(f"model '{name}': {folder} must be a folder that holds {_CONFIG}.")
        return folder
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

        repository = name.removeprefix(_HUB)
        folder = Path(hf_hub_download(repository, _CONFIG)).parent
        for weights in _IN_FOLDER:
            with suppress(EntryNotFoundError):
                hf_hub_download(repository, weights)
                break
        return folder
    except Exception as error:  # a network, a hub, a disk: whatever the download raises
        reason = str(error).partition("\n")[0]
        raise ConfigError(
            f"model '{name}' could not be had ({type(error).__name__}: {reason}). Without a network, name a folder "
            f"with its files: {_FOLDER}PATH."
        ) from error


def _weights_in(folder: Path) -> Path:
    for name in _IN_FOLDER:
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(f"{folder}: holds no weights; one of {', '.join(_IN_FOLDER)} is needed.")


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(config["model_cfg"]["vision_cfg"], dict) and isinstance(config["model_cfg"]["text_cfg"], dict):
            return dict(config)
        raise TypeError("vision_cfg and text_cfg must be mappings")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path}: cannot be read as the configuration of a model ({error}).") from error


def _beside(config: OpenClipConfig, path: Path) -> dict[str, Any]:
    """What an ``open_clip_config.json`` beside the weights says of them; refused where it is of another model."""
    beside = path.with_name(_CONFIG)
    if not beside.is_file():
        return {}
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
        other, images = found.get("model_cfg", {}), found.get("preprocess_cfg", {})
        vision = other.get("vision_cfg", {})
        own = pixels_of(images)
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{beside.name} beside {path.name} cannot be read ({error}).") from error
    mine = architecture(config.model)
    pairs = {"embed_dim": (other.get("embed_dim"), mine["embed_dim"])}
    for key in ("width", "layers", "patch_size", "timm_model_name", "image_size"):
        pairs[key] = (vision.get(key), mine["vision_cfg"].get(key))
    if config.image_size is None and isinstance(images.get("size"), int):
        pairs["size"] = (images["size"], mine["vision_cfg"].get("image_size"))
    for key, (theirs, ours) in pairs.items():
        if theirs is not None and ours is not None and theirs != ours:
            raise ConfigError(
                f"{beside.name} beside {path.name} says {key} {theirs}, but model '{config.model}' has {ours}; name "
                "the model that the weights are of, or put them into a folder of their own."
            )
    return {**own, **({"activation": _activation_of(other)} if other else {})}


def _activation_of(model_config: Mapping[str, Any]) -> str:
    return "quick-gelu" if model_config.get("quick_gelu", False) else "gelu"
