"""Routes about detectors: list, enrol, calibrate, thresholds, versions, jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from vlmad_serve.decoding import Received, StoredImage, store_image
from vlmad_serve.describing import describe, describe_rule
from vlmad_serve.names import check_name
from vlmad_serve.normals import unique
from vlmad_serve.operating import OperatingPoint, decide_once
from vlmad_serve.refusal import Refusal
from vlmad_serve.refusals import responses
from vlmad_serve.routes_images import FILES, NameInPath, Rate, images_body
from vlmad_serve.schemas import DetectorAnswer, JobAnswer, RuleAnswer, ThresholdRequest
from vlmad_serve.services import Services, services_of
from vlmad_serve.uploads import Form

__all__ = ["router", "start_job"]

router = APIRouter(prefix="/v1", tags=["detectors"])
Wait = Annotated[bool, Query(description="Answer when it is done; false: at once, and the job tells how far it is.")]
_TEXT = {"type": "string", "maxLength": 200}
_JOB_RESPONSES: dict[int | str, dict[str, Any]] = {
    201: {"model": JobAnswer, "description": "It is done, and in use."},
    202: {"model": JobAnswer, "description": "It goes on; ask for the job."},
    **responses(404, 408, 409, 413, 415, 429),
}


@router.get("/detectors", operation_id="listDetectors", responses=responses())
async def list_detectors(request: Request) -> list[DetectorAnswer]:
    """All detectors, in alphabetical order."""
    services = services_of(request)
    versions = [services.detectors.current(name) for name in services.detectors.names()]
    return await asyncio.to_thread(lambda: [describe(version, services.store) for version in versions])


@router.get("/detectors/{name}", operation_id="getDetector", responses=responses(404))
async def get_detector(request: Request, name: NameInPath) -> DetectorAnswer:
    """One detector: thresholds, what they promise, and what other ones would."""
    services = services_of(request)
    return await asyncio.to_thread(describe, services.detectors.current(name), services.store)


@router.post(
    "/detectors",
    status_code=201,
    response_model=JobAnswer,
    responses=_JOB_RESPONSES,
    operation_id="enrol",
    openapi_extra=images_body(
        {
            "name": {"type": "string", "pattern": "^[a-z0-9_-]{1,48}$", "required_here": True},
            "class_name": {**_TEXT, "description": "What the images show, such as `metal nut`."},
            "files": {**FILES, "minItems": 2, "required_here": True, "description": "Normal images."},
            "group": {"type": "array", "items": _TEXT, "description": "For each file: images of one object share it."},
            "by": _TEXT,
        },
        raw=False,
    ),
)
async def enrol(request: Request, wait: Wait = True) -> Response:
    """Make a calibrated detector from normal images, and use it from then on.

    A product of that name that is there already is replaced, without dropping a request.
    """
    services = services_of(request)
    with services.uploads.memory() as held:
        form = await _form(services, request, held)
        name = check_name(form.text("name"))
        images, groups = form.files.get("files", []), form.fields.get("group", [])
        if groups and len(groups) != len(images):
            raise Refusal(422, f"there are {len(images)} files and {len(groups)} groups; give one group for each file.")
        class_name, by = _short(form, "class_name"), _short(form, "by")
        stored = await _store(services, images)
    normals, copies = unique(stored, groups, "reference")

    def work(progress: Callable[[int], None]) -> dict[str, Any]:
        result = services.changes.enrol(name, class_name or None, normals, by, progress)
        return {**result, "images": len(normals), "copies": copies}

    return await start_job(services, "enrol", name, len(normals), work, wait=wait, stored=stored)


@router.post(
    "/detectors/{name}/calibrate",
    status_code=201,
    response_model=JobAnswer,
    responses=_JOB_RESPONSES,
    operation_id="calibrate",
    openapi_extra=images_body(
        {
            "normals": {**FILES, "description": "Normal images that the detector does not remember."},
            "defects": {**FILES, "description": "Known defects: they set no threshold, and tell what is missed."},
            "group": {"type": "array", "items": _TEXT, "description": "For each of the normal images."},
            "renew": {"type": "string", "enum": ["true", "false"]},
            "by": _TEXT,
        },
        raw=False,
    ),
)
async def calibrate(request: Request, name: NameInPath, wait: Wait = True) -> Response:
    """Add held-out normal images, and known defects, to the calibration."""
    services = services_of(request)
    services.detectors.current(name)
    with services.uploads.memory() as held:
        form = await _form(services, request, held)
        given, groups = form.files.get("normals", []), form.fields.get("group", [])
        if groups and len(groups) != len(given):
            raise Refusal(422, f"there are {len(given)} normals and {len(groups)} groups; give one for each.")
        by, renew = _short(form, "by"), form.text("renew") == "true"
        stored = await _store(services, [*given, *form.files.get("defects", [])])
    normals, copies = unique(stored[: len(given)], groups, "held-out")
    defects, more = unique(stored[len(given) :], (), "defect")

    def work(progress: Callable[[int], None]) -> dict[str, Any]:
        result = services.changes.calibrate(name, normals, defects, renew=renew, by=by, progress=progress)
        return {**result, "images": len(normals), "defects": len(defects), "copies": copies + more}

    total = len(normals) + len(defects)
    return await start_job(services, "calibrate", name, total, work, wait=wait, stored=stored)


@router.get("/detectors/{name}/rule", operation_id="getRule", responses=responses(404, 409))
async def get_rule(
    request: Request,
    name: NameInPath,
    false_alarms: Rate = None,
    confidence: Annotated[float | None, Query(ge=0.5, le=0.99, description="With which the rate must hold.")] = None,
) -> RuleAnswer:
    """Thresholds at a false-alarm rate; nothing changes. 409 says how many normal images are missing for it."""
    version = services_of(request).detectors.current(name)
    decision = version.decision
    if false_alarms is not None or confidence is not None:
        decision = await asyncio.to_thread(decide_once, decision, false_alarms, confidence)
    if decision.rule is None:
        raise Refusal(409, decision.reason)
    return describe_rule(decision.rule)


@router.put("/detectors/{name}/threshold", operation_id="setThreshold", responses=responses(404, 409))
async def set_threshold(request: Request, name: NameInPath, chosen: ThresholdRequest) -> DetectorAnswer:
    """Decide at another false-alarm rate from now on. Nothing is fitted; the audit log keeps who, when and why."""
    services = services_of(request)
    services.detectors.current(name)
    point = OperatingPoint(chosen.false_alarms, chosen.review, chosen.confidence)
    version = await asyncio.to_thread(services.detectors.set_point, name, point, chosen.by, chosen.comment)
    return await asyncio.to_thread(describe, version, services.store)


@router.get("/detectors/{name}/versions", operation_id="listVersions", responses=responses(404))
async def list_versions(request: Request, name: NameInPath) -> list[dict[str, Any]]:
    """All versions of a detector, the newest first."""
    return await asyncio.to_thread(services_of(request).detectors.versions, name)


@router.post("/detectors/{name}/versions/{number}/activate", operation_id="activate", responses=responses(404, 409))
async def activate(
    request: Request,
    name: NameInPath,
    number: Annotated[int, Path(ge=1, le=99_999)],
    by: Annotated[str, Query(max_length=100)] = "",
) -> DetectorAnswer:
    """Use another version, such as the one before a correction."""
    services = services_of(request)
    version = await asyncio.to_thread(services.detectors.activate, name, number, by)
    return await asyncio.to_thread(describe, version, services.store)


@router.get(
    "/detectors/{name}/normals/{sha256}",
    operation_id="getNormal",
    response_class=Response,
    responses={200: {"content": {"image/*": {}}}, **responses(404)},
)
async def get_normal(
    request: Request, name: NameInPath, sha256: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
) -> Response:
    """A normal image that the detector was made from."""
    services = services_of(request)
    row = services.store.row("SELECT file FROM normals WHERE detector = ? AND sha256 = ?", [name, sha256])
    path = None if row is None else services.archive.image_path(row["file"])
    if path is None or not path.is_file():
        raise Refusal(404, "there is no such normal image.")
    return FileResponse(path, headers={"Cache-Control": "private, max-age=86400"})


@router.get("/jobs/{number}", operation_id="getJob", responses=responses(404))
async def get_job(request: Request, number: Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]) -> JobAnswer:
    """How far a job is."""
    return _job_answer(services_of(request).jobs.get(number))


async def start_job(
    services: Services,
    kind: str,
    name: str,
    total: int,
    work: Callable[[Callable[[int], None]], dict[str, Any]],
    *,
    wait: bool,
    stored: Sequence[StoredImage] = (),
) -> Response:
    """Start a job, and answer when it is done or at once; the use of ``stored`` ends with it."""

    def then_release(progress: Callable[[int], None]) -> dict[str, Any]:
        try:
            return work(progress)
        finally:
            _release(services, stored)

    try:
        job = services.jobs.start(kind, name, total, then_release)
    except Refusal:
        _release(services, stored)
        raise
    if not wait:
        return JSONResponse(_job_answer(job).model_dump(), 202, headers={"Location": f"/v1/jobs/{job.id}"})
    await services.jobs.wait(job)
    if job.state == "failed":
        raise Refusal(job.status, job.error)
    return JSONResponse(_job_answer(job).model_dump(), 201)


def _job_answer(job: Any) -> JobAnswer:
    names = ("id", "kind", "detector", "state", "done", "total", "seconds", "error", "result")
    return JobAnswer(**{name: getattr(job, name) for name in names})


async def _form(services: Services, request: Request, held: list[int]) -> Form:
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise Refusal(415, "send the images as multipart/form-data.")
    return await services.uploads.images(request, held, file_field="files")


def _short(form: Form, field: str) -> str:
    text = form.text(field)
    if len(text) > 200 or not text.isprintable():
        raise Refusal(422, f"the field '{field}' must be printable text of at most 200 characters.")
    return text


async def _store(services: Services, images: Sequence[Received]) -> list[StoredImage]:
    limits, stored = services.settings, list[StoredImage]()

    def store() -> None:
        try:
            for image in images:
                one = store_image(image, services.archive, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels)
                stored.append(one)
        except BaseException:
            _release(services, stored)
            raise

    await asyncio.to_thread(store)
    return stored


def _release(services: Services, stored: Sequence[StoredImage]) -> None:
    for image in stored:
        services.archive.release_image(image.file)
