"""timm's models and what fills them: a local file, a tag that the user named, or seeded random numbers for tests."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vlmad_core.contracts import WEIGHT_SUFFIXES, import_with_torchvision, read_weights, sha256_of
from vlmad_core.errors import ConfigError, did_you_mean
from vlmad_timm.blocks import refuse_unless_plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vlmad_timm.plugin import TimmConfig

__all__ = ["Made", "blank", "make"]

_KERNELS, _TABLES = ("patch_embed.proj.weight", "conv1.weight"), ("pos_embed", "positional_embedding")


@dataclass(frozen=True)
class Made:
    """A model with its weights, and where they come from."""

    model: nn.Module
    provenance: Mapping[str, str]


def make(config: TimmConfig) -> Made:
    """The model of ``config``, filled.

    Raises:
        ConfigError: No such model or weights, or weights that do not fit.
        IncompatibleError: The model cannot be opened into blocks.
    """
    refuse_unless_plain(blank(config.model), config.model)  # before anything large is read
    note = {"backbone": "timm", "model": config.model}
    if config.pretrained == "random":
        _refuse_hash(config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Made(_create(config.model), {**note, "weights": "random"})
    path = Path(config.pretrained).expanduser()
    if config.pretrained and (path.suffix in WEIGHT_SUFFIXES or path.is_file()):
        model, sha256 = _create(config.model), _hash(path, config.sha256)
        fill(model, read_weights(path), path)
        return Made(model, {**note, "weights": path.name, "sha256": sha256})
    tag = _tag(config)
    _refuse_hash(config)
    return Made(_download(f"{config.model}.{tag}"), {**note, "weights": tag})


def blank(name: str) -> nn.Module:
    """A model without weights, to read its structure.

    Raises:
        ConfigError: timm has no model of that name.
    """
    timm: Any = import_with_torchvision("timm", extra="vlmad-timm")
    base, _, tag = name.partition(".")
    if tag and timm.is_model(base):
        raise ConfigError(f"model '{name}' holds a tag; write model: {base} and pretrained: {tag}.")
    if not timm.is_model(name):
        raise ConfigError(f"timm has no model '{name}'.{did_you_mean(name, timm.list_models())}")
    with torch.device("meta"):
        return _create(name)


def _create(name: str, **options: Any) -> nn.Module:
    timm: Any = import_with_torchvision("timm", extra="vlmad-timm")
    model: nn.Module = timm.create_model(name, num_classes=0, **options)
    return model


def _download(name: str) -> nn.Module:
    try:
        return _create(name, pretrained=True)
    except Exception as error:  # a network, a cache and two libraries can fail in many ways; all mean the same here
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"timm could not get the weights '{name}' ({reason}). Without a network, give a local file as pretrained, "
            "or take backbone 'pocket', which needs none."
        ) from error


def _tag(config: TimmConfig) -> str:
    """The tag to download, once it is certain that the user named one that exists."""
    timm: Any = import_with_torchvision("timm", extra="vlmad-timm")
    known = [name.partition(".")[2] for name in timm.list_pretrained(f"{config.model}.*")]
    if config.pretrained == "default" and known:
        preset: Any = timm.get_pretrained_cfg(config.model)
        return str(preset.tag)
    if config.pretrained in known and config.pretrained:
        return config.pretrained
    there = f"a tag that timm downloads ({', '.join(known)}; or default)" if known else ""
    ways = f"a local file ({', '.join(WEIGHT_SUFFIXES)}){', ' if there else ''}{there}, or random for tests"
    if not config.pretrained:
        raise ConfigError(
            f"pretrained is empty, and nothing is downloaded that is not named. Give the weights of '{config.model}': "
            f"{ways}. Backbone 'pocket' brings its own."
        )
    raise ConfigError(
        f"there are no weights '{config.pretrained}' for '{config.model}'.{did_you_mean(config.pretrained, known)} "
        f"Give {ways}."
    )


def _refuse_hash(config: TimmConfig) -> None:
    if config.sha256:
        raise ConfigError(
            f"sha256 is compared with a local file, but pretrained is '{config.pretrained}'. Give a file, or leave it "
            "empty."
        )


def _hash(path: Path, expected: str) -> str:
    try:
        found = sha256_of(path)
    except OSError as error:
        raise ConfigError(f"{path}: the weights cannot be read ({error.strerror or error}).") from error
    if expected and found != expected.lower():
        raise ConfigError(f"{path}: has sha256 {found}, but {expected.lower()} was asked for.")
    return found


def fill(model: Any, state: dict[str, Tensor], path: Path) -> None:
    """Load tensors in timm's names, or in those of DINOv2, DINOv3, CLIP and others that timm translates.

    Args:
        model: Changed in place.
        state: As :func:`vlmad_core.contracts.read_weights` gives it. A classifier is left out.
        path: To tell.

    Raises:
        ConfigError: Tensors are missing, not known, or of another shape; the text names some.
    """
    patch = tuple(model.patch_embed.proj.kernel_size)
    for key, tensor in state.items():  # timm would resize both silently
        if key.endswith(_KERNELS) and tensor.ndim == 4 and tuple(tensor.shape[2:]) != patch:
            _refuse(path, [f"'{key}' is of patches {tuple(tensor.shape[2:])}, not {patch}"])
        if key.endswith(_TABLES) and model.pos_embed is not None and tensor.shape[-2] != model.pos_embed.shape[-2]:
            _refuse(path, [f"'{key}' has {tensor.shape[-2]} positions, not {model.pos_embed.shape[-2]}"])
    try:
        translate = import_module(type(model).__module__).checkpoint_filter_fn
        state = {k: v for k, v in translate(state, model).items() if not k.startswith("head.")}
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, AssertionError) as error:
        _refuse(path, [f"timm cannot translate its names ({type(error).__name__}: {error})"])
    own = model.state_dict()
    problems = [
        *_some("missing", sorted(own.keys() - state.keys())),
        *_some("not known", sorted(state.keys() - own.keys())),
        *_some("of another shape", sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)),
    ]
    if problems:
        _refuse(path, problems)
    model.load_state_dict(state)


def _some(what: str, names: list[str]) -> list[str]:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"{what}: {', '.join(names[:3])}{more}"] if names else []


def _refuse(path: Path, problems: list[str]) -> None:
    raise ConfigError(f"{path}: these weights are not of this model; {'; '.join(problems)}.")
