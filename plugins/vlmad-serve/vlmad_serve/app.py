"""The application: routes, middleware and services put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from vlmad_core.version import __version__
from vlmad_serve import routes_detectors, routes_images, routes_operations, routes_page, routes_results
from vlmad_serve.measuring import Measuring
from vlmad_serve.refusals import handle_errors
from vlmad_serve.security import Guard
from vlmad_serve.services import Services

__all__ = ["create_app"]

_ABOUT = """Find defects in images: enrol a product from normal images, inspect parts, and decide at a known false-alarm
rate. Where the server has an API key, send it in the header `X-API-Key`."""


def create_app(services: Services) -> FastAPI:
    """The ASGI application of a server.

    Args:
        services: Closed when the application ends.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services.start()
        yield
        await services.close()

    app = FastAPI(
        title="vlmad serve",
        version=__version__,
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,  # both pages load scripts of other hosts
        redoc_url=None,
    )
    app.state.services = services
    handle_errors(app)
    routers = (routes_images, routes_detectors, routes_results, routes_operations, routes_page)
    for each in routers:
        app.include_router(each.router)
    settings = services.settings
    if settings.allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.allow_origins),
            allow_methods=["GET", "POST", "PUT"],
            allow_headers=["X-API-Key", "Content-Type"],
        )
    app.add_middleware(Guard, settings=settings, sessions=services.sessions)
    app.add_middleware(Measuring, metrics=services.metrics)
    return app
