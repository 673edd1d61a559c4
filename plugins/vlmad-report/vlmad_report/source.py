"""What a report reads: ``results.jsonl`` and ``run.json`` of a results folder, checked field by field.

Of a line the report uses the fields of `Row`; other fields are passed over. Only ``path`` is required. A field of a
wrong type or out of range is an error that names the line: a page with half of an image's evidence would mislead.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError, model_validator

from vlmad_core.errors import ConfigError
from vlmad_core.files import refuse_special
from vlmad_report.calibration import CalibrationRecord

__all__ = ["Box", "Label", "Nearest", "Reason", "Region", "Row", "Source", "read_source"]

Label = Literal["pass", "review", "reject", "not this part", "uncalibrated", "error"]

_Model = TypeVar("_Model", bound=BaseModel)


def _text(value: Any) -> str:
    # Not pydantic's str: it refuses names that are not UTF-8, which Python reads as lone surrogates.
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {type(value).__name__}")
    return value


def _rings(value: Any) -> Any:
    """One polygon ``[[x, y], ...]`` as a list of one ring; a list of rings as it is."""
    is_one = isinstance(value, list) and value and isinstance(value[0], list) and value[0]
    return [value] if is_one and isinstance(value[0][0], int | float) else value


Text = Annotated[str, PlainValidator(_text)]
Box = tuple[float, float, float, float]
Ring = tuple[tuple[float, float], ...]


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Region(_Record):
    """A flagged region of an anomaly map; coordinates are pixel edges of the image as it was given.

    Attributes:
        box: Left, top, right, bottom.
        polygon: Outer outline first, then holes; in JSON one ring ``[[x, y], ...]`` may stand by itself.
        area_px: In pixels.
        area_share: Of the image, in [0, 1].
        score: The highest value of the map in it.
    """

    box: Box
    polygon: Annotated[tuple[Ring, ...], BeforeValidator(_rings)] = ()
    area_px: float = Field(0, ge=0)
    area_share: float = Field(0, ge=0, le=1)
    score: float | None = None


class Reason(_Record):
    """Why an image scores as it does: a short text, or a contribution to the score.

    Attributes:
        label: The text.
        value: What it contributes, in units of the score; None for a text alone.
    """

    label: Text
    value: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"label": value} if isinstance(value, str) else value


class Nearest(_Record):
    """The place among the normal images that is nearest to the suspicious region.

    Attributes:
        path: Of the normal image.
        box: The place in it: left, top, right, bottom in its pixels.
        crop: A picture of that place, relative to the results folder.
        region: The suspicious place that it is nearest to, in pixels of this image.
        problem: Why there is no crop, in a sentence.
    """

    path: Text = ""
    box: Box | None = None
    crop: Text | None = None
    region: Box | None = None
    problem: Text | None = None


class Row(_Record):
    """One image: a line of ``results.jsonl``.

    Attributes:
        path: As it was given to ``vlmad predict``.
        score: Higher is more anomalous; None if it could not be scored.
        height: Of the image, in pixels.
        width: Likewise.
        milliseconds: Its share of the time of its batch.
        anomaly_map: File of its map, relative to the results folder.
        overlay: File of its overlay, likewise.
        error: Why it could not be scored.
        verdict: ``pass``, ``review``, ``reject``, ``not this part``, ``uncalibrated`` or ``error``; without the field
            ``error`` where there is no score, else ``uncalibrated``.
        threshold: Of ``reject``, in units of the score.
        p_value: ``(1 + #{normals >= score}) / (n + 1)``.
        share_below: Share of the normals with a lower score, in [0, 1].
        confidence: In ``reject``, 0.5 at the threshold.
        regions: The flagged regions, highest score first.
        reasons: Why; see `Reason`.
        nearest_normal: See `Nearest`.
        score_without_region: The score if the area around the highest value of the map were its nearest normals.
    """

    path: Text
    score: float | None = None
    height: int | None = Field(None, gt=0)
    width: int | None = Field(None, gt=0)
    milliseconds: float | None = None
    anomaly_map: Text | None = None
    overlay: Text | None = None
    error: Text | None = None
    verdict: Label = "uncalibrated"
    threshold: float | None = None
    p_value: float | None = Field(None, ge=0, le=1)
    share_below: float | None = Field(None, ge=0, le=1)
    confidence: float | None = Field(None, ge=0, le=1)
    regions: tuple[Region, ...] = ()
    reasons: tuple[Reason, ...] = ()
    nearest_normal: Nearest | None = None
    score_without_region: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError("is not a JSON object")
        filled = {name: inner for name, inner in value.items() if inner is not None}
        if filled.get("score") is None or filled.get("error") is not None:
            filled["verdict"] = "error"
        return filled


@dataclass(frozen=True)
class Source:
    """A results folder.

    Attributes:
        folder: Where it is.
        rows: One an image, in the order of the file.
        record: ``run.json``, or empty where there is none.
        calibration: ``run.json``'s ``calibration``, or None.
        notes: Sentences about what was passed over.
    """

    folder: Path
    rows: tuple[Row, ...]
    record: dict[str, Any]
    calibration: CalibrationRecord | None
    notes: tuple[str, ...]


def read_source(folder: Path) -> Source:
    """Read a results folder.

    Raises:
        ConfigError: There are no results, or a line or ``run.json`` holds something that a report cannot show rightly.
    """
    path = folder / "results.jsonl"
    rows: dict[str, Row] = {}
    notes: list[str] = []
    n_lines = 0
    try:
        for row in _read_rows(path, notes):
            n_lines += 1
            rows[row.path] = row
    except FileNotFoundError as error:
        raise ConfigError(
            f"{folder}: holds no results (results.jsonl is missing). Give the --out of vlmad predict."
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error}).") from error
    if not rows:
        raise ConfigError(f"{path}: has no image in it, so there is nothing to report. Run vlmad predict again.")
    if len(rows) < n_lines:
        notes.append(f"{n_lines - len(rows)} images have more than one line in results.jsonl; the last line is shown.")
    record = _read_record(folder / "run.json")
    if not record:
        notes.append("run.json is missing, so the settings of the run are not known.")
    calibration = record.get("calibration")
    return Source(
        folder,
        tuple(rows.values()),
        record,
        None
        if calibration is None
        else _checked(CalibrationRecord, calibration, f"{folder / 'run.json'}: calibration"),
        tuple(notes),
    )


def _read_rows(path: Path, notes: list[str]) -> Iterator[Row]:
    with refuse_special(path).open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                value = json.loads(line)
            except ValueError:
                if not line.endswith(b"\n"):
                    notes.append("the last line of results.jsonl was cut off and is not shown.")
                    return
                raise ConfigError(f"{path}: line {number} is not JSON; correct or remove it.") from None
            yield _checked(Row, value, f"{path}: line {number}")


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(refuse_special(path).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as JSON ({error}). Restore it, or predict again.") from error
    if not isinstance(record, dict):
        raise ConfigError(f"{path}: must hold a JSON object. Restore it, or run vlmad predict again.")
    return record


def _checked(model: type[_Model], value: Any, where: str) -> _Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = first["msg"].removeprefix("Value error, ").rstrip(".")
        if first["loc"] == ("verdict",):
            problem = f"must be one of {', '.join(get_args(Label))}"
        raise ConfigError(f"{where}: {place + ': ' if place else ''}{problem}.") from None
