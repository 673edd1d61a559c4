"""From what was typed to a detector. Everything that can be refused is refused here, the cheap things first."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from vlmad_core.cli.choice import Choice
from vlmad_core.cli.torch_import import import_torch
from vlmad_core.contracts.find import special_file
from vlmad_core.errors import ConfigError, ImageError
from vlmad_core.pipeline.defaults import PREFERRED, check_normal_images, take_few_shot
from vlmad_core.pipeline.resolve import Resolved, resolve
from vlmad_core.registry.registry import default_registry

if TYPE_CHECKING:
    from vlmad_core.pipeline.arithmetic import CompileMode
    from vlmad_core.pipeline.calibrate import Groups
    from vlmad_core.pipeline.pipeline import Pipeline

__all__ = [
    "BATCH",
    "Choice",
    "Detector",
    "add_devices",
    "build",
    "build_unfitted",
    "note_batch",
    "note_missing_name",
    "resolve_choice",
]

BATCH = 16
"""Images from which on a comparison with each other is worth naming."""

_OF_BATCHES = "pocket-batch"


@dataclass(frozen=True)
class Detector:
    """A pipeline that may still have to be fitted.

    Args:
        pipeline: As built or loaded.
        normals: Normal images to fit it on.
        about: What decides its results beside the settings of its parts.
    """

    pipeline: Pipeline
    normals: Sequence[Path] = ()
    about: Mapping[str, Any] = field(default_factory=dict)

    def fit(
        self,
        *,
        batch_size: int,
        progress: Callable[[int], None] | None = None,
        workers: int = 2,
        calibrate: bool = False,
        groups: Groups = None,
    ) -> None:
        """Fit it on the normal images, if there are any."""
        if self.normals:
            self.pipeline.fit(
                self.normals,
                batch_size=batch_size,
                progress=progress,
                workers=workers,
                calibrate=calibrate,
                groups=groups,
            )


def build(choice: Choice, tell: Callable[[str], None], *, refit: bool = False) -> Detector:
    """Build or load what was chosen; ``tell`` is called with what the user should know.

    A saved detector takes normal images where it remembers none yet, such as one that was only trained, or with
    ``refit``.
    """
    if choice.detector is not None:
        return _load(choice, refit=refit)
    resolved = resolve_choice(choice)
    import_torch()
    from vlmad_core.contracts.images import find_images
    from vlmad_core.pipeline.build import assemble

    if choice.normals:
        taken = take_few_shot(resolved)
        if taken is not resolved:
            tell(f"{resolved.label} has no memory bank; with normal images {taken.label} takes over.")
            resolved = taken
    check_normal_images(resolved, bool(choice.normals))
    normals = find_images(choice.normals) if choice.normals else []
    pipeline = assemble(resolved, device=choice.device)
    pipeline.check_trained()
    pipeline.class_name = choice.class_name
    pipeline.bits = choice.values
    return Detector(pipeline, normals, {"normals": {str(path): _hash(path) for path in normals}})


def add_devices(
    pipeline: Pipeline, devices: Sequence[str], mode: CompileMode | None, tell: Callable[[str], None]
) -> list[Pipeline]:
    """Copies of a detector that is ready, on further devices; compiled, like itself, if asked."""
    from vlmad_core.run.replicas import replicate

    replicas = replicate(pipeline, devices)
    if mode is not None:
        for one in (pipeline, *replicas):
            one.compile_extractor(mode, tell)
    return replicas


def build_unfitted(choice: Choice) -> Pipeline:
    """Build what was chosen, to be trained or given learned parts; a memory bank in it is fitted later."""
    resolved = resolve_choice(choice)
    import_torch()
    from vlmad_core.pipeline.build import assemble

    pipeline = assemble(resolved, device=choice.device)
    pipeline.bits = choice.values
    return pipeline


def resolve_choice(choice: Choice) -> Resolved:
    """The recipe that was chosen, with what was exchanged in it; imports no part."""
    prefer = () if choice.recipe is not None else PREFERRED
    if choice.field is not None:
        _check_states(resolve(choice.recipe_or_default, replace(choice, field=None).changes(), prefer=prefer))
    return resolve(choice.recipe_or_default, choice.changes(), quality=choice.quality, prefer=prefer)


def _check_states(resolved: Resolved) -> None:
    """Refuse a field where there are no lists of states that it could replace."""
    prompts = resolved.prompts
    if prompts is None or "states" not in type(prompts.config).model_fields:
        has = "no prompts" if prompts is None else f"prompts '{prompts.spec.name}', which have no list of states"
        raise ConfigError(
            f"{resolved.label} has {has}, so --field would change nothing. Leave it out, or choose prompts "
            "'compositional', as recipe 'pocket' does."
        )


def note_missing_name(pipeline: Pipeline, tell: Callable[[str], None]) -> None:
    """Say that a class name would help, where the prompts could use one and were given none."""
    prompts = pipeline.prompts
    if prompts is not None and prompts.class_name_use == "optional" and pipeline.class_name is None:
        tell("no class name was given, so the prompts say 'object'. Name the product, as in --class-name 'metal nut'.")


def note_batch(choice: Choice, count: int, tell: Callable[[str], None]) -> None:
    """Say that many images without a normal one can be compared with each other, where a plugin offers that."""
    named = choice.recipe or choice.detector or choice.normals or choice.backbone or choice.scorers
    if named or count < BATCH or not any(entry.name == _OF_BATCHES for entry in default_registry().entries("recipe")):
        return
    tell(
        f"{count} images and no normal one: --recipe {_OF_BATCHES}, with the same images as --normal too, also "
        "compares them with each other. A score then depends on which images are judged together."
    )


def _load(choice: Choice, *, refit: bool) -> Detector:
    exchanged = [choice.recipe, choice.quality, choice.backbone, choice.extractor, choice.prompts, *choice.scorers]
    if any(part is not None for part in exchanged):
        raise typer.BadParameter(
            "--detector has its parts already; give only --set, --class-name, --device, --weights, --model, "
            "--precision, --field, --image-size, --scales or --tiles with it."
        )
    import_torch()
    from vlmad_core.contracts.images import find_images
    from vlmad_core.pipeline.build import is_exported, load
    from vlmad_core.pipeline.checkpoint import RECORD

    assert choice.detector is not None
    if choice.normals and is_exported(choice.detector):
        raise ConfigError(
            f"{choice.detector}: is an exported detector, whose normal images are fixed in the file. Fit the detector "
            "that it was made from, and export it again."
        )
    pipeline = load(choice.detector, overrides=choice.changes(), device=choice.device)
    pipeline.class_name = choice.class_name or pipeline.class_name
    pipeline.bits = choice.values or pipeline.bits
    record = choice.detector.with_suffix(".json") if is_exported(choice.detector) else choice.detector / RECORD
    if not choice.normals:
        return Detector(pipeline, about={"detector": _hash(record)})
    if not refit and all(scorer.is_fitted for scorer in pipeline.memory_scorers):
        raise typer.BadParameter(
            f"{choice.detector} has its normal images already, or takes none. Leave --normal out, or make another "
            f"detector of its parts: vlmad fit IMAGES --detector {choice.detector} --out OTHER."
        )
    normals = find_images(choice.normals)
    return Detector(
        pipeline, normals, {"detector": _hash(record), "normals": {str(path): _hash(path) for path in normals}}
    )


def _hash(path: Path) -> str:
    if kind := special_file(path.stat().st_mode):
        raise ImageError(f"{path}: is a {kind}, not a file; copy what it gives into a file first.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
