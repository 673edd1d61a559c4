"""Everything that the routes use, made once for a server and closed in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from starlette.requests import Request

from vlmad_core.errors import ConfigError
from vlmad_core.files import LockedFolder, mark_written
from vlmad_serve.archive import Archive
from vlmad_serve.changes import Changes
from vlmad_serve.detectors import Detectors
from vlmad_serve.drift import DriftMonitor
from vlmad_serve.inspection import Inspection
from vlmad_serve.jobs import Jobs
from vlmad_serve.metrics import Metrics
from vlmad_serve.schemas import ResultAnswer, result_answer
from vlmad_serve.security import Sessions
from vlmad_serve.settings import ServerSettings
from vlmad_serve.store import Store
from vlmad_serve.uploads import Uploads

__all__ = ["Services", "services_of"]

_NAMES = ("vlmad-serve.sqlite", "images", "maps", "detectors", "exports")


class Services:
    """The parts of a server.

    Args:
        settings: Of the server; the data folder is made if needed, and kept for this process.
        paths: Folders of detectors to serve beside those of the data folder.
        tell: Called with sentences for the operator.

    Raises:
        ConfigError: Another process uses the data folder, or a path holds no detector.
    """

    def __init__(
        self, settings: ServerSettings, paths: Iterable[Path] = (), tell: Callable[[str], None] = lambda text: None
    ) -> None:
        settings = replace(settings, data=settings.data.absolute())  # paths of images stand in calibrations
        self.settings = settings
        try:
            self._folder = LockedFolder(settings.data)
        except ConfigError as error:
            raise ConfigError(str(error).replace("--out", "--data")) from error
        mark_written(settings.data, *_NAMES)
        self.store = Store(settings.data / "vlmad-serve.sqlite")
        self.archive = Archive(settings.data, self.store, settings.keep_bytes)
        self.metrics = Metrics()
        self.sessions = Sessions()
        self.uploads = Uploads(settings)
        self.jobs = Jobs()
        self.detectors = Detectors(settings, self.store)
        try:
            self.detectors.open(paths, tell)
        except BaseException:
            self._release()
            raise
        self.drift = DriftMonitor(self.store)
        self.inspection = Inspection(settings, self.store, self.archive, self.drift, self.metrics)
        self.changes = Changes(settings, self.store, self.archive, self.detectors)
        self.is_ready = False

    def start(self) -> None:
        """In the event loop."""
        self.inspection.start()
        self.is_ready = True

    async def close(self) -> None:
        """Finish what was accepted, keep what is known, release the folder."""
        self.is_ready = False
        await self.inspection.close()
        await self.jobs.close()
        await asyncio.to_thread(self.drift.save)
        self._release()

    def answer(self, row: dict[str, Any], *, map_png: bytes | None = None) -> ResultAnswer:
        """A row of the database as an answer."""
        nearest = row["nearest"]
        known = frozenset[str]()
        if nearest is not None:
            sql = "SELECT 1 FROM normals WHERE detector = ? AND sha256 = ?"
            if self.store.row(sql, [row["detector"], nearest["sha256"]]) is not None:
                known = frozenset({nearest["sha256"]})
        return result_answer(row, normals=known, map_png=map_png)

    def _release(self) -> None:
        self.store.close()
        self._folder.close()


def services_of(request: Request) -> Services:
    """The services of the application that a request belongs to."""
    services: Services = request.app.state.services
    return services
