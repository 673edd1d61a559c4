"""Routes about stored results: list, pictures, verdict at another rate, feedback, evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from vlmad_core.errors import ImageError
from vlmad_core.inspection.verdict import Label as VerdictLabel
from vlmad_serve.detectors import Version
from vlmad_serve.drawing import draw_heat, draw_overlay, draw_photo
from vlmad_serve.evidence import draw_normal_place, evidence_of
from vlmad_serve.names import NAME
from vlmad_serve.normals import list_normals
from vlmad_serve.operating import decide_once
from vlmad_serve.refusal import Refusal
from vlmad_serve.refusals import responses
from vlmad_serve.results import ResultFilter, get_result, list_results, set_label
from vlmad_serve.routes_detectors import Wait, start_job
from vlmad_serve.routes_images import NameInPath
from vlmad_serve.schemas import (
    EvidenceAnswer,
    FeedbackRequest,
    JobAnswer,
    ResultAnswer,
    ResultsAnswer,
    VerdictAnswer,
    evidence_answer,
)
from vlmad_serve.services import Services, services_of

__all__ = ["Chosen", "chosen_results", "router"]

router = APIRouter(prefix="/v1", tags=["results"])
Number = Annotated[str, Path(pattern=r"^[0-9a-f]{24}$", description="Number of the result.")]
_YEARS = 4_000_000_000.0


def chosen_results(
    detector: Annotated[str, Query(pattern=f"^$|{NAME}")] = "",
    version: Annotated[int | None, Query(ge=1, le=99_999)] = None,
    verdict: Annotated[VerdictLabel | Literal[""], Query()] = "",
    label: Annotated[
        Literal["", "good", "defect", "other part", "none", "any"], Query(description="What people said.")
    ] = "",
    since: Annotated[float | None, Query(ge=0, le=_YEARS, description="Seconds since 1970.")] = None,
    until: Annotated[float | None, Query(ge=0, le=_YEARS)] = None,
    min_score: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    max_score: Annotated[float | None, Query(allow_inf_nan=False)] = None,
    search: Annotated[str, Query(max_length=100, description="Part of the name of the image.")] = "",
    before: Annotated[str, Query(pattern="^$|^[0-9a-f]{24}$", description="Only results older than this one.")] = "",
) -> ResultFilter:
    """The filter of a request."""
    return ResultFilter(detector, version, verdict, label, since, until, min_score, max_score, search, before)


Chosen = Annotated[ResultFilter, Depends(chosen_results)]


@router.get("/results", operation_id="listResults", responses=responses())
async def get_results(
    request: Request, chosen: Chosen, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> ResultsAnswer:
    """Results, the newest first."""
    services = services_of(request)

    def read() -> ResultsAnswer:
        rows = list_results(services.store, chosen, limit=limit)
        before = rows[-1]["id"] if len(rows) == limit else None
        return ResultsAnswer(results=[services.answer(row) for row in rows], before=before)

    return await asyncio.to_thread(read)


@router.get("/results/{number}", operation_id="getResult", responses=responses(404))
async def get_one(request: Request, number: Number) -> ResultAnswer:
    """One result."""
    services = services_of(request)
    return await asyncio.to_thread(lambda: services.answer(get_result(services.store, number)))


@router.get("/results/{number}/verdict", operation_id="getVerdict", responses=responses(404, 409))
async def get_verdict(
    request: Request, number: Number, false_alarms: Annotated[float, Query(ge=1e-4, le=0.9999)]
) -> VerdictAnswer:
    """The verdict at another false-alarm rate; nothing is stored.

    409 where the detector has another version now, since its thresholds mean nothing for this score.
    """
    services = services_of(request)
    row = await asyncio.to_thread(get_result, services.store, number)
    version = services.detectors.current(row["detector"])
    if version.number != row["version"]:
        raise Refusal(
            409, f"the image was scored by version {row['version']}, in use is {version.number}; inspect it again."
        )
    rule = (await asyncio.to_thread(decide_once, version.decision, false_alarms)).rule
    if rule is None:
        raise Refusal(409, version.decision.reason)
    verdict = rule.verdict(row["score"], row["class_distance"])
    return VerdictAnswer(
        id=number,
        score=row["score"],
        verdict=verdict.label,
        threshold=rule.threshold,
        review_threshold=rule.review_threshold,
        p_value=verdict.p_value,
        confidence=verdict.confidence,
        false_alarms=rule.false_alarms,
        promise=rule.promise,
    )


_JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}, **responses(404)}


@router.get(
    "/results/{number}/image",
    operation_id="getImage",
    response_class=Response,
    responses={200: {"content": {"image/*": {}}}, **responses(404)},
)
async def get_image(request: Request, number: Number) -> Response:
    """The image as it was sent."""
    services, row = await _with_files(request, number)
    path = services.archive.image_path(row["file"])
    if not path.is_file():
        raise Refusal(404, "the image is not there any more.")
    return FileResponse(path, headers={"Cache-Control": "private, max-age=86400"})


@router.get("/results/{number}/thumbnail", operation_id="getThumbnail", response_class=Response, responses=_JPEG)
async def get_thumbnail(
    request: Request,
    number: Number,
    side: Annotated[int, Query(ge=32, le=2048, description="Longer side, in pixels.")] = 320,
) -> Response:
    """The image as JPEG, upright and smaller."""
    services, row = await _with_files(request, number)
    path, bits = services.archive.image_path(row["file"]), services.detectors.current(row["detector"]).pipeline.bits
    return await _drawn(lambda: draw_photo(path, side, bits), "image/jpeg")


@router.get(
    "/results/{number}/map.png",
    operation_id="getMap",
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, **responses(404)},
)
async def get_map(request: Request, number: Number) -> Response:
    """The anomaly map as 16-bit grey PNG at the size at which the detector works.

    Its text field `vlmad-unit` is what one step of grey is worth, in units of the map.
    """
    services, _ = await _with_files(request, number)
    path = services.archive.map_path(number)
    if not path.is_file():
        raise Refusal(404, "the map is not there any more.")
    return FileResponse(path, media_type="image/png", headers={"Cache-Control": "private, max-age=86400"})


@router.get(
    "/results/{number}/heat.webp",
    operation_id="getHeat",
    response_class=Response,
    responses={200: {"content": {"image/webp": {}}}, **responses(404)},
)
async def get_heat(request: Request, number: Number) -> Response:
    """The map in colours with transparency, to be laid over the image."""
    services, row = await _with_files(request, number)
    version, path = services.detectors.current(row["detector"]), services.archive.map_path(number)
    return await _drawn(lambda: draw_heat(path, version.scale), "image/webp")


@router.get("/results/{number}/overlay.jpg", operation_id="getOverlay", response_class=Response, responses=_JPEG)
async def get_overlay(request: Request, number: Number) -> Response:
    """The image with its heat, outline, score and legend."""
    services, row = await _with_files(request, number)
    version = services.detectors.current(row["detector"])
    image, map_path = services.archive.image_path(row["file"]), services.archive.map_path(number)
    scale, bits = version.scale, version.pipeline.bits
    return await _drawn(lambda: draw_overlay(image, map_path, row["score"], scale, row["name"], bits), "image/jpeg")


@router.get("/results/{number}/evidence", operation_id="getEvidence", responses=responses(404, 409))
async def get_evidence(request: Request, number: Number) -> EvidenceAnswer:
    """Why: contributions that add up to the score, and the nearest normal place. The image is scored once more."""
    services, row, version = await _same_version(request, number)
    path = services.archive.image_path(row["file"])

    def explain() -> EvidenceAnswer:
        normals = {each.file[:64] for each in list_normals(services.store, version.detector)}
        return evidence_answer(evidence_of(version.pipeline, path), row, frozenset(normals))

    return await asyncio.to_thread(explain)


@router.get("/results/{number}/nearest.jpg", operation_id="getNearest", response_class=Response, responses=_JPEG)
async def get_nearest(
    request: Request,
    number: Number,
    side: Annotated[
        Literal["image", "normal"], Query(description="The suspicious place, or the normal one.")
    ] = "normal",
) -> Response:
    """The most suspicious place, or the nearest place in a normal image, as pictures of the same kind."""
    services, row, version = await _same_version(request, number)
    path = services.archive.image_path(row["file"])
    normals = {each.file[:64]: each.path(services.archive) for each in list_normals(services.store, version.detector)}
    pipeline = version.pipeline
    return await _drawn(
        lambda: draw_normal_place(evidence_of(pipeline, path), path, normals, side, pipeline.bits), "image/jpeg"
    )


@router.put("/results/{number}/feedback", operation_id="setFeedback", responses=responses(404))
async def set_feedback(request: Request, number: Number, said: FeedbackRequest) -> ResultAnswer:
    """Say what a part really is; null takes it back. It joins memory and calibration with `applyFeedback`."""
    services = services_of(request)

    def keep() -> ResultAnswer:
        row = set_label(services.store, number, said.label, said.comment, said.by)
        services.metrics.feedback.labels(row["detector"], said.label or "none").inc()
        return services.answer(row)

    return await asyncio.to_thread(keep)


@router.post(
    "/detectors/{name}/feedback",
    operation_id="applyFeedback",
    status_code=201,
    response_model=JobAnswer,
    responses={
        201: {"model": JobAnswer, "description": "It is done, and in use."},
        202: {"model": JobAnswer, "description": "It goes on; ask for the job."},
        **responses(404, 409, 429),
    },
)
async def apply_feedback(
    request: Request, name: NameInPath, wait: Wait = True, by: Annotated[str, Query(max_length=100)] = ""
) -> Response:
    """Make a new version of the detector in which the labels that people gave have joined memory and calibration."""
    services = services_of(request)
    services.detectors.current(name)

    def work(progress: Callable[[int], None]) -> dict[str, Any]:
        return services.changes.apply_feedback(name, by, progress)

    return await start_job(services, "feedback", name, 0, work, wait=wait)


async def _same_version(request: Request, number: str) -> tuple[Services, dict[str, Any], Version]:
    services, row = await _with_files(request, number)
    version = services.detectors.current(row["detector"])
    if version.number != row["version"]:
        raise Refusal(409, "the detector has another version now; inspect the image again for its evidence.")
    return services, row, version


async def _with_files(request: Request, number: str) -> tuple[Services, dict[str, Any]]:
    services = services_of(request)
    row = await asyncio.to_thread(get_result, services.store, number)
    if not row["has_files"]:
        raise Refusal(404, "the files of this result were deleted to make room; its numbers are still there.")
    return services, row


async def _drawn(draw: Callable[[], bytes], media_type: str) -> Response:
    try:
        content = await asyncio.to_thread(draw)
    except (ImageError, OSError) as error:
        raise Refusal(404, "the picture cannot be drawn; its file is not there any more.") from error
    return Response(content, media_type=media_type, headers={"Cache-Control": "private, max-age=300"})
