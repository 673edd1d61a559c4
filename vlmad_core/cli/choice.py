"""Which detector: the options that choose one, and one object that a command receives in their place."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from vlmad_core.cli.names import complete, complete_setting
from vlmad_core.cli.options import (
    Bits,
    Channels,
    Field,
    Window,
    parse_scales,
    parse_settings,
    parse_size,
    parse_tiles,
    parse_values,
)
from vlmad_core.pipeline.arithmetic import Precision
from vlmad_core.pipeline.defaults import default_recipe
from vlmad_core.pipeline.resolve import KEEP, changes_of

__all__ = ["Choice", "Quality", "takes_choice"]


class Quality(StrEnum):
    """Presets of a recipe."""

    fast = "fast"
    balanced = "balanced"
    best = "best"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The options that choose a detector, as they were typed."""

    recipe: str | None = None
    detector: Path | None = None
    class_name: str | None = None
    normals: Sequence[str] = ()
    backbone: str | None = None
    extractor: str | None = None
    prompts: str | None = None
    scorers: Sequence[str] = ()
    weights: str | None = None
    model: str | None = None
    image_size: str | None = None
    scales: str | None = None
    quality: str | None = None
    tiles: str | None = None
    precision: str | None = None
    field: str | None = None
    device: str = "auto"
    settings: Sequence[str] = ()
    bits: int | None = None
    window: str | None = None
    channels: str | None = None

    @property
    def values(self) -> int | str | None:
        """How stored values are read, for ``Pipeline.bits``.

        Raises:
            typer.BadParameter: Options of the wrong form.
        """
        return parse_values(self.bits, self.window, self.channels)

    @property
    def devices(self) -> list[str]:
        """Those that were named, divided by commas."""
        return [name.strip() for name in self.device.split(",")]

    @property
    def recipe_or_default(self) -> str:
        """The recipe that was named, or the one that stands for none."""
        own = self.weights is None and self.model is None
        own = own and self.backbone in (None, "pocket", "vlmad-pocket:pocket")
        return self.recipe or default_recipe(normal_images=bool(self.normals), own_backbone=own)

    def changes(self) -> dict[str, Any]:
        """What is exchanged in the recipe, as values at dotted paths.

        Raises:
            typer.BadParameter: A size or a setting of the wrong form.
        """
        return changes_of(
            backbone=KEEP if self.backbone is None else self.backbone,
            extractor=KEEP if self.extractor is None else self.extractor,
            prompts=KEEP if self.prompts is None else None if self.prompts == "none" else self.prompts,
            scorers=list(self.scorers) or KEEP,
            weights=self.weights,
            model=self.model,
            precision=self.precision,
            image_size=None if self.image_size is None else parse_size(self.image_size),
            scales=None if self.scales is None else parse_scales(self.scales),
            tiles=None if self.tiles is None else parse_tiles(self.tiles),
            overrides={
                **({} if self.field is None else {"prompts.config.states": self.field}),
                **parse_settings(self.settings),
            },
        )

    def words(self) -> list[str]:
        """As on a command line."""
        words = ["--recipe", self.recipe_or_default]
        for name in (
            "quality",
            "backbone",
            "extractor",
            "prompts",
            "weights",
            "model",
            "image_size",
            "scales",
            "tiles",
            "precision",
            "field",
        ):
            value = getattr(self, name)
            words += [f"--{name.replace('_', '-')}", value] if value is not None else []
        words += [word for name in self.scorers for word in ("--scorer", name)]
        return words + [word for setting in self.settings for word in ("--set", setting)]


_PARTS = "Parts"


def _part(kind: str, text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, autocompletion=complete(kind), rich_help_panel=_PARTS)


def _value(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=_PARTS, **more)


def _offered(incomplete: str, *words: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]


_EXCHANGED = "In place of the recipe's."
_RECIPE = _part("recipe", "Name of a recipe, or a pipeline file (.yaml, .json).", "--recipe", "-r")
_OPTIONS: dict[str, Any] = {
    "recipe": Annotated[str | None, _RECIPE],
    "detector": Annotated[
        Path | None, typer.Option("--detector", "-d", help="Folder that `vlmad fit` wrote, in place of a recipe.")
    ],
    "class_name": Annotated[
        str | None,
        typer.Option("--class-name", "-c", help="What the images show, such as 'metal nut'; for the prompts."),
    ],
    "normals": Annotated[
        list[str] | None, typer.Option("--normal", "-n", help="Normal images to compare with: file, folder or pattern.")
    ],
    "backbone": Annotated[str | None, _part("backbone", _EXCHANGED)],
    "extractor": Annotated[str | None, _part("extractor", _EXCHANGED)],
    "prompts": Annotated[str | None, _part("prompts", f"{_EXCHANGED[:-1]}; 'none' removes them.")],
    "scorers": Annotated[list[str] | None, _part("scorer", f"{_EXCHANGED[:-1]}; repeat it for several.", "--scorer")],
    "weights": Annotated[
        str | None,
        _value(
            "Of the backbone: a tag such as laion400m_e31, which may be downloaded, or a local file.", "--weights", "-w"
        ),
    ],
    "model": Annotated[str | None, _value("Architecture of the backbone, such as ViT-L-14.", "--model")],
    "image_size": Annotated[
        str | None,
        _value(
            "Pixels that images are stretched to: a side, or HEIGHTxWIDTH; or fit: the aspect ratio is kept, with as "
            "many patches as usual, or at most fit:TOKENS.",
            "--image-size",
            metavar="SIDE",
            autocompletion=lambda incomplete: _offered(incomplete, "fit", "fit:1024", "stretch"),
        ),
    ],
    "quality": Annotated[
        Quality | None, _value("fast, balanced or best: the size of the input that the recipe names.", "--quality")
    ],
    "scales": Annotated[
        str | None,
        _value(
            "Several sides, such as 224,448: scores and maps of all of them are fused.", "--scales", metavar="SIDES"
        ),
    ],
    "tiles": Annotated[
        str | None,
        _value(
            "Large images in overlapping tiles too: off, auto (more than 36 times the pixels of the input), a number "
            "along the longer side, or a side such as 512px.",
            "--tiles",
            metavar="RULE",
            autocompletion=lambda incomplete: _offered(incomplete, "off", "auto"),
        ),
    ],
    "precision": Annotated[
        Precision | None, _value("Of the backbone: fp32, bf16 or fp16; thresholds hold for one alone.", "--precision")
    ],
    "device": Annotated[
        str,
        _value(
            "Such as cpu, cuda:1 or mps; auto: the first of cuda, mps and cpu; for `predict` also cuda:0,cuda:1.",
            "--device",
        ),
    ],
    "field": Field,
    "settings": Annotated[
        list[str] | None,
        _value(
            "A value of the pipeline, such as scorers.0.config.temperature=0.01; repeat it for several.",
            "--set",
            metavar="PATH=VALUE",
            autocompletion=complete_setting,
        ),
    ],
    "bits": Bits,
    "window": Window,
    "channels": Channels,
}
_ON_DEMAND = frozenset({"detector", "class_name", "normals", "bits", "window", "channels", "precision"})
"""Options that only some commands have."""


def takes_choice(
    *on_demand: str, recipe_required: bool = False
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make of a command's parameter ``choice`` the options that choose a detector.

    Args:
        on_demand: Those of ``detector``, ``class_name``, ``normals``, ``bits`` and ``precision`` that the command has.
        recipe_required: There is no default recipe.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        wanted = (*on_demand, *(("window", "channels") if "bits" in on_demand else ()))  # all say how values are read
        names = [one.name for one in fields(Choice) if one.name not in _ON_DEMAND or one.name in wanted]
        defaults: dict[str, Any] = {"device": "auto"}
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command).parameters.values():
            if parameter.name != "choice":
                parameters.append(parameter.replace(annotation=hints[parameter.name]))
                continue
            for name in names:
                required = name == "recipe" and recipe_required
                parameters.append(
                    inspect.Parameter(
                        name,
                        inspect.Parameter.KEYWORD_ONLY,
                        default=inspect.Parameter.empty if required else defaults.get(name),
                        annotation=Annotated[str, _RECIPE] if required else _OPTIONS[name],
                    )
                )

        def call(**given: Any) -> None:
            typed = {name: given.pop(name) for name in names}
            command(**given, choice=Choice(**{name: value for name, value in typed.items() if value is not None}))

        call.__name__, call.__doc__, call.__module__ = command.__name__, command.__doc__, command.__module__
        keyword_only = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
        call.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
        call.__annotations__ = {one.name: one.annotation for one in keyword_only}
        return call

    return decorate
