"""The page: files of this package, as they are; nothing of another host."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fastapi import APIRouter
from starlette.responses import Response

from vlmad_serve.refusal import Refusal

__all__ = ["router"]

router = APIRouter(include_in_schema=False)
_KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


@cache
def _files() -> dict[str, bytes]:
    folder = files("vlmad_serve") / "page"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name.partition(".")[2] in _KINDS}


@router.get("/")
async def index() -> Response:
    """The page itself."""
    return await page_file("index.html")


@router.get("/page/{name}")
async def page_file(name: str) -> Response:
    """A script or style of it."""
    content = _files().get(name)  # by name, from what the package holds: no path leads out of it
    if content is None:
        raise Refusal(404, "the page has no such file.")
    kind = _KINDS[name.partition(".")[2]]
    return Response(content, media_type=f"{kind}; charset=utf-8", headers={"Cache-Control": "no-cache"})
