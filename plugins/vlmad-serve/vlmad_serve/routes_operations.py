"""Routes for operation: health, readiness, metrics, statistics, drift, audit log, exports, the session of the page."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from vlmad_core.version import __version__
from vlmad_serve.audit import read_audit
from vlmad_serve.export import as_csv, as_jsonl, make_report
from vlmad_serve.names import NAME
from vlmad_serve.refusal import Refusal
from vlmad_serve.refusals import responses
from vlmad_serve.routes_images import NameInPath
from vlmad_serve.routes_results import Chosen
from vlmad_serve.schemas import DriftAnswer, StatisticsAnswer
from vlmad_serve.security import is_key
from vlmad_serve.services import services_of
from vlmad_serve.statistics import describe_drift, statistics

__all__ = ["router"]

router = APIRouter(tags=["operation"])
_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}, **responses()}


class Status(BaseModel):
    """Whether the server works, and what it has."""

    model_config = ConfigDict(extra="forbid")

    status: str
    version: str
    detectors: list[str]


class Key(BaseModel):
    """The key of the API."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field("", max_length=1000)


@router.get("/healthz", operation_id="health", responses=responses())
async def health(request: Request) -> Status:
    """The process answers."""
    return Status(status="ok", version=__version__, detectors=services_of(request).detectors.names())


@router.get("/readyz", operation_id="ready", responses=responses(503))
async def ready(request: Request) -> Status:
    """Detectors are loaded and warm; 503 while the server starts or ends."""
    services = services_of(request)
    if not services.is_ready:
        raise Refusal(503, "the server starts or ends.", retry_after=1)
    return Status(status="ready", version=__version__, detectors=services.detectors.names())


@router.get("/metrics", operation_id="metrics", response_class=PlainTextResponse, responses=_TEXT)
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    return Response(services_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.post("/v1/session", operation_id="openSession", status_code=204, responses=responses(), tags=["page"])
async def open_session(request: Request, given: Key) -> Response:
    """Exchange the key for a cookie, so that a browser can show pictures."""
    services = services_of(request)
    if not is_key(given.key, services.settings):
        raise Refusal(401, "the API key is wrong.")
    response = Response(status_code=204)
    services.sessions.open(response)
    return response


@router.get("/v1/detectors/{name}/statistics", operation_id="getStatistics", responses=responses(404))
async def get_statistics(
    request: Request,
    name: NameInPath,
    recent: Annotated[int, Query(ge=1, le=100_000, description="Images in the chart.")] = 2000,
    buckets: Annotated[int, Query(ge=1, le=500, description="Points of the chart.")] = 60,
) -> StatisticsAnswer:
    """Counts, overkill and miss by what people said, the reject fraction over time, drift."""
    services = services_of(request)
    version = services.detectors.current(name)

    def count() -> StatisticsAnswer:
        return statistics(services.store, name, services.drift.state(version), recent=recent, buckets=buckets)

    return await asyncio.to_thread(count)


@router.get("/v1/detectors/{name}/scores", operation_id="getScores", responses=responses(404))
async def get_scores(
    request: Request, name: NameInPath, limit: Annotated[int, Query(ge=1, le=20_000)] = 5000
) -> list[list[Any]]:
    """Scores of the latest images of the version in use, each with its label: `[[0.12, "good"], [0.4, null]]`."""
    services = services_of(request)
    version = services.detectors.current(name)
    sql = "SELECT score, label FROM results WHERE detector = ? AND version = ? ORDER BY id DESC LIMIT ?"
    rows = await asyncio.to_thread(services.store.rows, sql, [name, version.number, limit])
    return [[row["score"], row["label"]] for row in rows]


@router.post("/v1/detectors/{name}/drift/acknowledge", operation_id="acknowledgeDrift", responses=responses(404))
async def acknowledge_drift(
    request: Request, name: NameInPath, by: Annotated[str, Query(max_length=100)] = ""
) -> DriftAnswer:
    """A person has taken note of the drift alarm; a new period starts."""
    services = services_of(request)
    version = services.detectors.current(name)
    await asyncio.to_thread(services.drift.acknowledge, version, by)
    return describe_drift(services.drift.state(version))


@router.get("/v1/audit", operation_id="getAudit", responses=responses())
async def get_audit(
    request: Request,
    detector: Annotated[str, Query(pattern=f"^$|{NAME}")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> list[dict[str, Any]]:
    """Everything that changed what a detector decides, the newest first."""
    return await asyncio.to_thread(read_audit, services_of(request).store, detector or None, limit=limit)


@router.get(
    "/v1/export/results.csv",
    operation_id="exportCsv",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/csv": {}}}, **responses()},
)
async def export_csv(request: Request, chosen: Chosen) -> Response:
    """Results as CSV."""
    return StreamingResponse(
        as_csv(services_of(request).store, chosen), media_type="text/csv; charset=utf-8", headers=_file("results.csv")
    )


@router.get(
    "/v1/export/results.jsonl",
    operation_id="exportJsonl",
    response_class=PlainTextResponse,
    responses={200: {"content": {"application/jsonl": {}}}, **responses()},
)
async def export_jsonl(request: Request, chosen: Chosen) -> Response:
    """Results as JSON lines, with their regions."""
    return StreamingResponse(
        as_jsonl(services_of(request).store, chosen), media_type="application/jsonl", headers=_file("results.jsonl")
    )


@router.get(
    "/v1/export/{name}/report.html",
    operation_id="exportReport",
    response_class=Response,
    responses={200: {"content": {"text/html": {}}}, **responses(404, 409, 501)},
)
async def export_report(request: Request, name: NameInPath, chosen: Chosen) -> Response:
    """The page of `vlmad report` of the newest results of a detector, as one file."""
    services = services_of(request)
    version = services.detectors.current(name)
    page = await asyncio.to_thread(
        make_report, services.store, services.archive, services.settings.data, version, chosen
    )
    return Response(page, media_type="text/html; charset=utf-8", headers=_file(f"{name}.html"))


def _file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}
