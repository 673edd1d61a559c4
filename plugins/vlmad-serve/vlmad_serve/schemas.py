"""The answers of the API, as they stand in its OpenAPI document."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vlmad_core.inspection.evidence import Evidence
from vlmad_core.inspection.verdict import Label as VerdictLabel
from vlmad_serve.results import Label

__all__ = [
    "DetectorAnswer",
    "DriftAnswer",
    "ErrorAnswer",
    "EvidenceAnswer",
    "FeedbackRequest",
    "InspectAnswer",
    "JobAnswer",
    "Links",
    "NearestNormal",
    "Region",
    "ResultAnswer",
    "ResultsAnswer",
    "RuleAnswer",
    "StatisticsAnswer",
    "ThresholdRequest",
    "VerdictAnswer",
    "evidence_answer",
    "result_answer",
    "utc",
]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ErrorAnswer(_Answer):
    """Why a request was refused."""

    error: str = Field(description="One or two sentences: what is wrong, and what to do.")
    name: str | None = Field(None, description="The image that is meant, where there are several.")


class Region(_Answer):
    """A region of the image above the calibrated threshold of regions, in pixels of the image as it was sent."""

    box: tuple[float, float, float, float] = Field(description="Left, top, right, bottom.")
    polygon: list[list[list[float]]] = Field(description="Rings of points: the outer outline, then holes.")
    area_px: float = Field(description="Pixels.")
    area_share: float = Field(description="Of the image, in [0, 1].")
    score: float = Field(description="The highest value of the map in it.")


class NearestNormal(_Answer):
    """The normal image that is most similar as a whole."""

    sha256: str
    distance: float = Field(description="One minus the cosine of the class tokens, in [0, 2].")
    image: str | None = Field(description="Address of the picture; null where the server has only its hash.")


class Links(_Answer):
    """Addresses, relative to the server; null where the files were deleted to make room."""

    self: str
    image: str | None
    thumbnail: str | None
    map: str | None
    heat: str | None
    overlay: str | None
    evidence: str | None


class ResultAnswer(_Answer):
    """One inspected image."""

    id: str
    detector: str
    version: int
    name: str
    received: str = Field(description="ISO 8601, UTC.")
    width: int
    height: int
    score: float = Field(description="Higher is more anomalous.")
    verdict: VerdictLabel
    threshold: float | None = Field(description="Above it is `reject`, in units of the score.")
    review_threshold: float | None
    p_value: float | None = Field(description="(1 + number of normals with a score at least as high) / (n + 1).")
    share_below: float | None = Field(description="Share of the normals with a lower score.")
    confidence: float | None = Field(description="In `reject`, exactly 0.5 at the threshold; not a probability.")
    false_alarms: float | None = Field(description="The rate that the threshold was set for.")
    class_p_value: float | None
    reason: str = Field(description="A sentence where the score did not decide; empty otherwise.")
    regions: list[Region]
    nearest_normal: NearestNormal | None
    milliseconds: float = Field(description="From the decoding to the decision.")
    note: str = Field(description="What to know of the file, such as that only its first page was read.")
    label: Label | None = Field(description="What a person said that the part really is.")
    comment: str
    links: Links
    map_png: str | None = Field(None, description="Base64 of the map as 16-bit grey PNG, where it was asked for.")


class InspectAnswer(_Answer):
    """The answers to the images of a request, in their order: a result, or an error in its place."""

    results: list[ResultAnswer | ErrorAnswer]


class ResultsAnswer(_Answer):
    """A page of results, the newest first."""

    results: list[ResultAnswer]
    before: str | None = Field(description="Give it as `before` for the next page; null on the last one.")


class VerdictAnswer(_Answer):
    """The verdict on a stored result at another false-alarm rate; nothing is stored."""

    id: str
    score: float
    verdict: VerdictLabel
    threshold: float
    review_threshold: float | None
    p_value: float | None
    confidence: float | None
    false_alarms: float
    promise: str


class Reason(_Answer):
    """A line of the sum that makes the score."""

    label: str
    value: float


class NearestPlace(_Answer):
    """The place in a normal image that is nearest to the most suspicious place."""

    sha256: str = Field(description="Of the normal image; empty where it is not known.")
    region: tuple[float, float, float, float] = Field(description="The suspicious place, in pixels of the image.")
    normal_box: tuple[float, float, float, float] | None = Field(description="As shares of the normal image.")
    image: str | None = Field(description="Address of the normal place as a picture.")


class EvidenceAnswer(_Answer):
    """Why an image has its score."""

    score: float
    reasons: list[Reason] = Field(description="They add up to the score.")
    nearest: NearestPlace | None
    score_without_place: float | None = Field(description="The score if that place were as its nearest normal one.")
    evidence: dict[str, Any] = Field(description="Every contribution, each sentence by itself.")


class Needed(_Answer):
    """How many normal images a false-alarm rate needs."""

    rate: float
    normals: int
    missing: int


class Choice(_Answer):
    """A threshold that the normal images can give."""

    rate: float = Field(description="Of good images above it, expected on average.")
    threshold: float
    proved: float | None = Field(description="What is proved of that rate; null where nothing is.")


class RuleAnswer(_Answer):
    """Thresholds at a false-alarm rate, and what is promised there."""

    false_alarms: float
    threshold: float
    review: float | None
    review_threshold: float | None
    confidence: float | None
    promise: str


class DriftAnswer(_Answer):
    """The test for a change of the camera or the product."""

    images: int
    log_capital: float
    log_level: float = Field(description="An alarm is raised when the capital reaches it.")
    is_alarm: bool
    alarm_at: int | None = Field(description="Number of the image that raised the alarm.")


class Outlier(_Answer):
    """A normal image whose score stands out; perhaps it has a defect, or was taken in another light."""

    sha256: str
    name: str
    spreads: float = Field(description="Robust standard deviations above the median of the normal images.")
    image: str | None


class DetectorAnswer(_Answer):
    """A detector as it decides now."""

    name: str
    class_name: str | None
    version: int
    created: str
    n_normals: int
    source: str | None = Field(description="How the scores of the normal images were obtained.")
    rule: RuleAnswer | None = Field(description="Null: no threshold can be stated; `reason` says why.")
    reason: str
    regions: str = Field(description="What is promised of the outlined regions; empty where there are none.")
    normals: list[float] = Field(description="Scores of the normal images that the rule rests on, highest first.")
    choices: list[Choice]
    needed: list[Needed]
    outliers: list[Outlier] = Field(description="Normal images that stand out, the farthest first.")
    summary: str


class JobAnswer(_Answer):
    """Work that goes on after the answer."""

    id: str
    kind: Literal["enrol", "calibrate", "feedback"]
    detector: str
    state: Literal["waiting", "running", "done", "failed"]
    done: int
    total: int
    seconds: float
    error: str
    result: dict[str, Any] | None


class ThresholdRequest(BaseModel):
    """At which rate to decide from now on."""

    model_config = ConfigDict(extra="forbid")

    false_alarms: float = Field(ge=1e-4, le=0.9999, description="Rate of good images that may be rejected.")
    review: float | None = Field(
        None, ge=1e-4, le=0.9999, description="Rate of good images that may be rejected or reviewed."
    )
    confidence: float | None = Field(None, ge=0.5, le=0.99, description="With which the rate must hold.")
    by: str = Field("", max_length=100, description="Who, for the audit log.")
    comment: str = Field("", max_length=1000, description="Why, for the audit log.")


class FeedbackRequest(BaseModel):
    """What a part really is."""

    model_config = ConfigDict(extra="forbid")

    label: Label | None = Field(description="`good`, `defect`, or null to take it back.")
    comment: str = Field("", max_length=2000)
    by: str = Field("", max_length=100, description="Who, for the log.")


class Rate(_Answer):
    """A share of confirmed parts, with its 95 % Clopper-Pearson interval."""

    count: int
    total: int
    low: float
    high: float


class Bucket(_Answer):
    """Consecutive images."""

    start: str
    end: str
    images: int
    reject: int
    review: int
    drift: float = Field(description="Natural logarithm of the drift capital after the last of them.")


class StatisticsAnswer(_Answer):
    """How a detector does, by what people said."""

    images: int
    verdicts: dict[str, int]
    overkill: Rate = Field(description="Of parts that people labelled good, those that were rejected.")
    miss: Rate = Field(description="Of parts that people labelled as a defect, those that passed.")
    waiting_feedback: int = Field(description="Labels that have not joined memory and calibration.")
    buckets: list[Bucket]
    drift: DriftAnswer


def evidence_answer(evidence: Evidence, row: dict[str, Any], normals: frozenset[str]) -> EvidenceAnswer:
    """The answer from the evidence of the core.

    Args:
        evidence: For the image of the row.
        row: Of the database.
        normals: Hashes of the normal images whose pictures are here.
    """
    near = evidence.nearest
    found = None
    if near is not None:
        is_here = near.sha256 in normals and near.normal_box is not None
        image = f"/v1/results/{row['id']}/nearest.jpg" if is_here else None
        found = NearestPlace(sha256=near.sha256, region=near.box, normal_box=near.normal_box, image=image)
    plain = evidence.to_dict()
    plain["path"] = None
    if plain.get("nearest"):
        plain["nearest"]["path"] = ""
    return EvidenceAnswer(
        score=evidence.score.value,
        reasons=[Reason(label=each.label, value=each.value) for each in evidence.reasons()],
        nearest=found,
        score_without_place=evidence.score_without_place,
        evidence=plain,
    )


def utc(seconds: float) -> str:
    """ISO 8601 with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def result_answer(row: dict[str, Any], *, normals: frozenset[str], map_png: bytes | None = None) -> ResultAnswer:
    """The answer from a row of the database.

    Args:
        row: With ``regions`` and ``nearest`` as plain data.
        normals: Hashes of the normal images whose pictures are here.
        map_png: To be sent along.
    """
    address = f"/v1/results/{row['id']}"
    nearest = row["nearest"]
    files = bool(row["has_files"])

    def link(name: str) -> str | None:
        return f"{address}/{name}" if files else None

    same = ("id", "detector", "version", "name", "width", "height", "score", "verdict", "threshold", "review_threshold")
    more = ("p_value", "share_below", "confidence", "false_alarms", "class_p_value", "reason", "regions")
    rest = ("milliseconds", "note", "label", "comment")
    return ResultAnswer(
        **{name: row[name] for name in (*same, *more, *rest)},
        received=utc(row["received"]),
        nearest_normal=None
        if nearest is None
        else NearestNormal(
            **nearest,
            image=f"/v1/detectors/{row['detector']}/normals/{nearest['sha256']}"
            if nearest["sha256"] in normals
            else None,
        ),
        links=Links(
            self=address,
            image=link("image"),
            thumbnail=link("thumbnail"),
            map=link("map.png"),
            heat=link("heat.webp"),
            overlay=link("overlay.jpg"),
            evidence=link("evidence"),
        ),
        map_png=None if map_png is None else base64.b64encode(map_png).decode(),
    )
