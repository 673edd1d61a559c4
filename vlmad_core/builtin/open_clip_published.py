"""What is known of published weights: activation, mean, standard deviation, interpolation.

A file of parameters does not say how they were trained. open_clip's own table does, for every weights file that it can
download, and names many of them by their hash. A local file is looked up there; where it is not, and the published
weights of its architecture differ, the user is asked. Nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vlmad_core.contracts.torchvision_shim import import_with_torchvision
from vlmad_core.errors import ConfigError, did_you_mean

__all__ = ["PIXELS", "Published", "by_hash", "pixels_of", "published", "settle"]

PIXELS = ("mean", "std", "interpolation")
_QUICK = "-quickgelu"
_HASH = re.compile(r"/([0-9a-f]{64})/|-([0-9a-f]{8})\.pth?$")


@dataclass(frozen=True)
class Published:
    """One published weights file.

    Args:
        tag: open_clip's name for it.
        is_quick: Trained with quick GELU.
        pixels: ``mean``, ``std``, ``interpolation``.
        sha256: Of the file, or the first 8 digits of it; empty where open_clip does not say.
    """

    tag: str
    is_quick: bool
    pixels: Mapping[str, Any]
    sha256: str


def published(name: str) -> tuple[Published, ...]:
    """Every published weights file that fits an architecture, with those of its quick-GELU twin, each tag once.

    Args:
        name: open_clip's, such as ``"ViT-L-14"``.
    """
    found = {entry.tag: entry for entry in _entries(name.removesuffix(_QUICK))}
    return tuple({**found, **{e.tag: e for e in _entries(name.removesuffix(_QUICK) + _QUICK)}}.values())


def by_hash(name: str, sha256: str) -> Published | None:
    """The published file with this hash, among those that fit the architecture."""
    return next((entry for entry in published(name) if entry.sha256 and sha256.startswith(entry.sha256)), None)


def pixels_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """``mean``, ``std`` and ``interpolation`` of a configuration, those that it has."""
    kept = {key: config[key] for key in PIXELS if config.get(key) is not None}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in kept.items()}


def settle(name: str, own: Mapping[str, Any], *, is_quick: bool, tag: str, sha256: str, where: str) -> dict[str, Any]:
    """Activation and preprocessing of a local file.

    Args:
        name: Architecture, by open_clip's name.
        own: What the user or a file beside the weights says: ``activation`` ("gelu" or "quick-gelu"), ``mean``,
            ``std``, ``interpolation``; what is missing is unknown.
        is_quick: Whether the architecture, by its configuration, has quick GELU.
        tag: Of the published weights that the file holds, where the user names it.
        sha256: Of the file.
        where: The file, for the error.

    Returns:
        All four, by those names.

    Raises:
        ConfigError: No such tag; or the file is unknown and published weights of this architecture differ in something
            that was not said. The text names what to say.
    """
    entries = published(name)
    known = by_hash(name, sha256) if sha256 else None
    if tag:
        tags = [entry.tag for entry in entries]
        if tag not in tags:
            raise ConfigError(
                f"backbone option 'tag': '{name}' has no published weights '{tag}'.{did_you_mean(tag, tags)} There "
                f"are: {', '.join(tags) or 'none'}."
            )
        known = next(entry for entry in entries if entry.tag == tag)
    if known is not None:
        return {"activation": _activation(known.is_quick), **known.pixels, **own}
    if name.endswith(_QUICK):
        own = {"activation": _activation(True), **own}  # the name of the architecture says so
    fitting = [entry for entry in entries if own.get("activation") in (None, _activation(entry.is_quick))]
    choices = {"activation": {_activation(entry.is_quick) for entry in entries} | {_activation(is_quick)}}
    choices |= {key: {entry.pixels[key] for entry in fitting} for key in PIXELS}
    unknown = [key for key, values in choices.items() if key not in own and len(values) > 1]
    if unknown:
        raise ConfigError(
            f"weights {where}: this file is not known by its hash, and published weights of '{name}' were trained "
            f"differently: {_differences(fitting, unknown)}. Say which weights it holds: --set "
            f"backbone.config.tag={fitting[0].tag}. Or name "
            f"{', '.join(f'backbone.config.{key}' for key in unknown)}."
        )
    usual = {**_openai(), "activation": _activation(is_quick)}
    return {**usual, **{key: next(iter(values)) for key, values in choices.items() if len(values) == 1}, **own}


def _differences(entries: Sequence[Published], keys: Sequence[str]) -> str:
    """Each way in which published weights were trained, with up to three tags of it."""
    groups: dict[str, list[str]] = {}
    for entry in entries:
        facts = {"activation": _activation(entry.is_quick), **entry.pixels}
        groups.setdefault(", ".join(f"{key} {_shown(facts[key])}" for key in keys), []).append(entry.tag)
    return "; ".join(
        f"{', '.join(tags[:3])}{f' and {len(tags) - 3} more' if len(tags) > 3 else ''} with {facts}"
        for facts, tags in groups.items()
    )


def _shown(value: object) -> str:
    return "/".join(f"{number:.3g}" for number in value) if isinstance(value, tuple) else str(value)


def _entries(name: str) -> Iterator[Published]:
    library = import_with_torchvision("open_clip", extra="vlmad-core[open-clip]")
    for tag in library.list_pretrained_tags_by_model(name):
        config = library.get_pretrained_cfg(name, tag)
        found = _HASH.search(str(config.get("url") or ""))
        # Releases of open_clip up to 2.24 say it in the name of the architecture alone.
        is_quick = bool(config.get("quick_gelu", name.endswith(_QUICK) or tag == "openai"))
        sha256 = str(config.get("sha256") or (found and (found[1] or found[2])) or "")
        yield Published(tag, is_quick, {**_openai(), **pixels_of(config)}, sha256)


def _openai() -> dict[str, Any]:
    """OpenAI's numbers, which open_clip trains with unless told otherwise."""
    library = import_with_torchvision("open_clip", extra="vlmad-core[open-clip]")
    return {"mean": library.OPENAI_DATASET_MEAN, "std": library.OPENAI_DATASET_STD, "interpolation": "bicubic"}


def _activation(is_quick: bool) -> str:
    return "quick-gelu" if is_quick else "gelu"
