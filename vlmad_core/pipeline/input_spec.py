"""What a pipeline file may say of the backbone's input: its size, and tiles of large images. Free of torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from vlmad_core.registry.component import Config

__all__ = ["ImageSizeSpec", "Pixels", "TilesSpec", "image_size_of", "tiles_of"]

Pixels = Annotated[int, Field(gt=0, le=16_384)]
"""Of a side: 16,384 squared is 16 times the area of the largest input that is in use."""


class ImageSizeSpec(Config):
    """At which size an image goes into the backbone."""

    policy: Literal["stretch", "fit"] = Field(
        "stretch",
        description="stretch: every image to one size; fit: the aspect ratio is kept, and tokens decide the size.",
    )
    size: Pixels | tuple[Pixels, Pixels] | None = Field(
        None, description="For stretch: side, or (height, width), in pixels; none: the backbone's own."
    )
    tokens: int | None = Field(
        None, ge=16, le=65_536, description="For fit: patches at most; none: as many as the backbone's own size has."
    )

    @model_validator(mode="after")
    def _one_policy(self) -> Self:
        if self.policy == "fit" and self.size is not None:
            raise ValueError("policy 'fit' takes tokens and no size")
        if self.policy == "stretch" and self.tokens is not None:
            raise ValueError("tokens belong to policy 'fit'")
        return self


class TilesSpec(Config):
    """Whether large images are also read in tiles."""

    when: Literal["off", "auto", "always"] = Field(
        "off", description="auto: images with more than 36 times the pixels of the backbone's input."
    )
    count: int | None = Field(None, ge=2, le=100, description="Tiles along the longer side.")
    side: Pixels | None = Field(None, description="Pixels of the image along the longer side of a tile.")
    overlap: float = Field(0.25, ge=0, le=0.75, description="Share of a tile that its neighbour covers too, at least.")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.when == "always") != ((self.count is None) != (self.side is None)):
            raise ValueError("give count or side with 'always', and neither with 'off' and 'auto'")
        return self


def image_size_of(value: Any) -> Any:
    """The long form of ``448``, ``[336, 448]``, ``"336x448"``, ``"fit"``, ``"fit:1024"`` and ``"stretch"``.

    >>> image_size_of("fit:1024"), image_size_of("336x448")
    ({'policy': 'fit', 'tokens': 1024}, {'size': [336, 448]})
    """
    if isinstance(value, str):
        word, _, number = value.lower().partition(":")
        if word == "fit" and (number.isdecimal() or value.lower() == "fit"):
            return {"policy": "fit", "tokens": int(number)} if number else {"policy": "fit"}
        if value.lower() == "stretch":
            return {}
        sides = value.lower().split("x")
        if len(sides) in (1, 2) and all(side.strip().isdecimal() and len(side) < 9 for side in sides):
            value = [int(side) for side in sides]
        else:
            raise ValueError("must be a side such as 448, HEIGHTxWIDTH such as 336x448, fit, or fit:TOKENS")
    if isinstance(value, int) and not isinstance(value, bool):
        return {"size": value}
    if isinstance(value, list | tuple):
        return {"size": value[0] if len(value) == 1 else value}
    return value


def tiles_of(value: Any) -> Any:
    """The long form of ``"off"``, ``"auto"``, ``6`` (tiles along the longer side) and ``"512px"``.

    >>> tiles_of(6), tiles_of("512px"), tiles_of(False)
    ({'when': 'always', 'count': 6}, {'when': 'always', 'side': 512}, {'when': 'off'})
    """
    if value is False or value is None:  # YAML reads a bare off as false
        return {"when": "off"}
    if isinstance(value, str):
        text = value.lower().strip()
        if text in ("off", "auto"):
            return {"when": text}
        side = text.removesuffix("px")
        if not side.isdecimal() or len(side) > 8:
            raise ValueError("must be off, auto, a number of tiles along the longer side, or a side such as 512px")
        return {"when": "always", "side" if text.endswith("px") else "count": int(side)}
    if isinstance(value, int) and not isinstance(value, bool):
        return {"when": "always", "count": value}
    return value
