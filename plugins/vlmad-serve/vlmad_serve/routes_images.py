"""Routes that inspect images."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from vlmad_serve.names import NAME
from vlmad_serve.operating import decide_once
from vlmad_serve.refusal import Refusal
from vlmad_serve.refusals import responses
from vlmad_serve.schemas import ErrorAnswer, InspectAnswer, ResultAnswer
from vlmad_serve.services import services_of

__all__ = ["NameInPath", "Rate", "images_body", "router"]

router = APIRouter(prefix="/v1", tags=["images"])
NameInPath = Annotated[str, Path(pattern=NAME, description="Name of the product.")]
Rate = Annotated[float | None, Query(ge=1e-4, le=0.9999, description="In place of the detector's own rate.")]


def images_body(fields: dict[str, Any], *, raw: bool = True) -> dict[str, Any]:
    """A body for the OpenAPI document: a form with files, and where ``raw`` one image as it is.

    Args:
        fields: Of the form, by name, as JSON schema.
        raw: One image may also be the whole body.
    """
    required = [name for name, schema in fields.items() if schema.pop("required_here", False)]
    form: dict[str, Any] = {"type": "object", "properties": fields, "required": required}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if raw:
        binary = {"schema": {"type": "string", "format": "binary"}}
        content |= {"image/*": binary, "application/octet-stream": binary}
    return {"requestBody": {"required": True, "content": content}}


FILES = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}


@router.post(
    "/detectors/{name}/images",
    response_model=InspectAnswer,
    responses=responses(404, 408, 409, 413, 415, 429, 504, 507),
    openapi_extra=images_body({"files": {**FILES, "required_here": True}}),
    operation_id="inspect",
)
async def inspect(
    request: Request,
    name: NameInPath,
    false_alarms: Rate = None,
    map: Annotated[Literal["link", "png", "none"], Query(description="`png`: also in the answer, as base64.")] = "link",
) -> Response:
    """Inspect one image, sent as the body, or several, sent as a form with the field `files`.

    An image that cannot be inspected has an error in its place; where that is the only one, the answer has its status.
    """
    services = services_of(request)
    version = services.detectors.current(name)
    decision = None if false_alarms is None else await asyncio.to_thread(decide_once, version.decision, false_alarms)
    with services.uploads.memory() as held:
        form = await services.uploads.images(request, held, file_field="files")
        images = form.files.get("files", [])
        if not images:
            raise Refusal(422, "the form has no file in the field 'files'.")
        found = await services.inspection.inspect(images, version, decision)
    failed = [each for each in found if isinstance(each, Refusal)]
    if len(failed) == len(found) and len({each.status for each in failed}) == 1:
        raise failed[0]
    answers: list[ResultAnswer | ErrorAnswer] = []
    for image, each in zip(images, found, strict=True):
        if isinstance(each, Refusal):
            answers.append(ErrorAnswer(error=str(each), name=image.name))
        else:
            answers.append(services.answer(each.row, map_png=each.map_png if map == "png" else None))
    return JSONResponse(InspectAnswer(results=answers).model_dump(mode="json"))
