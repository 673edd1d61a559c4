"""Which recipe is meant: the default ones, and the one that takes over where normal images are given."""

from __future__ import annotations

from vlmad_core.errors import IncompatibleError, NotFittedError
from vlmad_core.pipeline.resolve import Resolved, resolve
from vlmad_core.registry.registry import Registry

__all__ = ["PREFERRED", "check_normal_images", "default_recipe", "take_few_shot"]

_WITHOUT_DOWNLOAD = ("pocket", "pocket-few-shot")
"""Without normal images and with them, where no recipe is named."""

_ON_ANOTHER_BACKBONE = ("winclip", "patch-memory")
"""Likewise, where another backbone than pocket is named, or its model or weights are."""

PREFERRED = ("vlmad-core", "vlmad-pocket", "vlmad-winclip")
"""Whose recipes are meant by these names, where another plugin offers one of the same name."""


def default_recipe(*, normal_images: bool, own_backbone: bool = True) -> str:
    """The recipe that stands for none.

    Args:
        normal_images: Whether the detector will be fitted on normal images.
        own_backbone: False: another backbone than pocket is named, or a model or weights are.

    >>> default_recipe(normal_images=False)
    'pocket'
    """
    return (_WITHOUT_DOWNLOAD if own_backbone else _ON_ANOTHER_BACKBONE)[normal_images]


def take_few_shot(resolved: Resolved, *, registry: Registry | None = None) -> Resolved:
    """For a detector with normal images: its recipe's few-shot counterpart, with the same changes, if it needs one.

    Imports the scorers. Gives ``resolved`` itself where it compares with normal images already, or where its recipe
    names no counterpart.
    """
    if not resolved.few_shot or resolved.needs_normal_images:
        return resolved
    shared = resolved.spec.backbone if resolved.backbone is None else None
    return resolve(
        resolved.few_shot,
        resolved.changes,
        shared=shared,
        quality=resolved.quality,
        prefer=resolved.prefer,
        registry=registry,
    )


def check_normal_images(resolved: Resolved, given: bool) -> None:
    """Refuse normal images that nothing compares with, and a comparison without any.

    Args:
        resolved: The pipeline; its scorers are imported.
        given: Whether there are normal images.

    Raises:
        IncompatibleError: They would be of no use.
        NotFittedError: They are missing.
    """
    needed = resolved.needs_normal_images
    if given and not needed:
        raise IncompatibleError(
            f"{resolved.label} has no memory bank, so normal images are of no use to it. "
            "Leave them out, add --scorer memory, or take a recipe with few-shot in its name."
        )
    if needed and not given:
        raise NotFittedError(
            f"{resolved.label} compares with normal images, and none were given. Give --normal FOLDER."
        )
