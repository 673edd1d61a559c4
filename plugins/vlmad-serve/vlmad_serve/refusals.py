"""Errors as answers: one shape for all of them, and what stands in the OpenAPI document."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vlmad_core.errors import ConfigError, VlmadError
from vlmad_serve.refusal import Refusal
from vlmad_serve.schemas import ErrorAnswer

__all__ = ["handle_errors", "responses"]

_WORDS = {
    400: "The request is damaged.",
    401: "The API key is missing or wrong.",
    403: "The request comes from another web page or host.",
    404: "There is no such thing.",
    405: "Another method is needed.",
    408: "The request arrived too slowly.",
    409: "It does not fit the state of the detector.",
    413: "Too many bytes, pixels or images.",
    415: "Another content type is needed.",
    422: "Something in the request cannot be used.",
    429: "Too much waits already; the header Retry-After says for how many seconds to wait.",
    501: "This installation cannot do that.",
    503: "The server starts or ends.",
    504: "No answer in time.",
    507: "The disk is full.",
}
_log = logging.getLogger("vlmad.serve")


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route, the errors that it may give beside those that every route may give."""
    return {
        status: {"model": ErrorAnswer, "description": _WORDS[status]}
        for status in sorted({400, 401, 403, 422, *statuses})
    }


def handle_errors(app: FastAPI) -> None:
    """Answer every error of a route as `ErrorAnswer`."""

    @app.exception_handler(Refusal)
    async def refuse(request: Request, error: Refusal) -> Response:
        headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        return _answer(error.status, str(error), headers)

    @app.exception_handler(VlmadError)
    async def refuse_by_core(request: Request, error: VlmadError) -> Response:
        return _answer(409 if isinstance(error, ConfigError) else 422, str(error))

    @app.exception_handler(RequestValidationError)
    async def refuse_values(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        return _answer(422, f"{place[:100]}: {first['msg']}.")

    @app.exception_handler(HTTPException)
    async def refuse_address(request: Request, error: HTTPException) -> Response:
        return _answer(error.status_code, _WORDS.get(error.status_code, str(error.detail)), error.headers)

    @app.exception_handler(sqlite3.OperationalError)
    async def refuse_disk(request: Request, error: sqlite3.OperationalError) -> Response:
        _log.error("the database cannot be written: %s", error)
        return _answer(507, f"the database cannot be written ({error}).")

    @app.exception_handler(Exception)
    async def refuse_fault(request: Request, error: Exception) -> Response:
        _log.error("a request failed", exc_info=error)
        return _answer(500, f"an error inside vlmad: {type(error).__name__}; the log of the server says more.")


def _answer(status: int, text: str, headers: Any = None) -> Response:
    return JSONResponse({"error": text, "name": None}, status_code=status, headers=headers)
