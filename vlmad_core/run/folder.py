"""The folder of a run: its record, its lines, maps and overlays, written in an order that survives any interruption."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self, TypeAlias

from vlmad_core.contracts.data import Prediction
from vlmad_core.contracts.images import open_image
from vlmad_core.errors import ConfigError, ImageError, VlmadError
from vlmad_core.files import write_whole
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.run.disk import FULL, file_name
from vlmad_core.run.maps import encode, highest
from vlmad_core.run.overlay import Scale, draw
from vlmad_core.run.results import Result, ResultsFile, read_results
from vlmad_core.run.settings import check_same, read_record, write_record

__all__ = ["Judged", "RunFolder"]

Judged: TypeAlias = tuple[Result, Prediction | None]
"""What is known of an image, and its prediction if there is one."""

_MAPS, _OVERLAYS = "maps", "overlays"


class RunFolder:
    """Opened for one run, by one process.

    Args:
        folder: Made if needed.
        pipeline: For the scale of maps and colours.
        settings: From :func:`settings_of`, with ``maps``, ``overlays``, ``scale`` and ``max_side``.
        resume: Go on with what is there; False replaces it.

    Raises:
        ConfigError: A file, a folder of another detector's results, or one that another process writes to.
    """

    def __init__(self, folder: Path, pipeline: Pipeline, settings: dict[str, Any], *, resume: bool) -> None:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder}: is a file; --out must name a folder.")
        self.folder = folder
        self.maps, self.overlays, self.max_side = settings["maps"], settings["overlays"], settings["max_side"]
        if resume:
            check_same(folder, settings)  # before anything is made or changed
        self._results = ResultsFile(folder, overwrite=not resume)
        try:
            record = self._record(pipeline, settings, resume)
        except BaseException:
            self._results.close()
            raise
        self.scale = Scale(record["scale"]["low"], record["scale"]["high"], record["scale"]["normal"])
        self.maximum = float(record["map"]["maximum"])
        self._home = str(record["started_in"])  # relative paths in the lines start here
        self._cut = self._safe = 0
        self._wanted: dict[str, Path] = {}
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="vlmad-write")

    def _record(self, pipeline: Pipeline, settings: dict[str, Any], resume: bool) -> dict[str, Any]:
        record = read_record(self.folder) if resume else None
        if record is not None:
            return record  # its colour scale too: one folder, one scale
        if self._results.paths:
            raise ConfigError(f"{self.folder}: holds results but no run.json; use another --out, or --overwrite.")
        given, top = settings["scale"], highest(pipeline)
        record = {
            "settings": settings,
            "scale": asdict(Scale.of(pipeline, None if given is None else (given[0], given[1]))),
            "map": {"maximum": top, "unit": top / 65535, "png16": "value = pixel * unit"},
            "started_in": str(Path.cwd()),
        }
        write_record(self.folder, record)
        return record

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._results.close()

    def want(self, found: Iterable[Path]) -> list[str]:
        """Say which images are asked for; gives the paths of those that have no line yet."""
        here = str(Path.cwd())
        own = [_absolute(self.folder / name, here) for name in (_MAPS, _OVERLAYS)]
        # A second run over the same folder must not judge the pictures that the first one drew.
        keys = {_absolute(path, here): path for path in found}
        self._wanted = {key: path for key, path in keys.items() if not any(Path(key).is_relative_to(o) for o in own)}
        done = {_absolute(path, self._home) for path in self._results.paths}
        waiting = [str(path) if here == self._home else key for key, path in self._wanted.items() if key not in done]
        self._safe = len(self._wanted) - len(waiting)
        return waiting

    def earlier(self) -> Iterator[Result]:
        """Results of images that are asked for and had a line already."""
        for result in read_results(self.folder):
            if _absolute(result.path, self._home) in self._wanted:
                yield result

    def state(self) -> str:
        """How far it is, and how to go on, in a sentence."""
        safe = f"{self._safe} of {len(self._wanted)} images are safe in {self.folder}"
        return f"{safe}; run the same command again to go on."

    def _stopped(self, error: OSError) -> VlmadError:
        if error.errno in FULL:
            return VlmadError(f"{self.folder}: the disk is full. Free some space: {self.state()}")
        return VlmadError(f"{self.folder}: cannot be written to ({error}). {self.state()}")

    def save(self, batch: Sequence[Judged]) -> Iterator[Result]:
        """Write a batch: for each image its files, then its line. Gives each result once it is safe.

        Raises:
            VlmadError: The disk is full or cannot be written to; the text says what is safe.
        """
        try:
            for result in self._pool.map(self._write_files, batch):
                self._results.append(result)
                self._safe += 1
                yield result
            self._results.sync()
        except OSError as error:
            with suppress(OSError):  # there may be no room for it; the next run writes it
                self._results.write_csv()
            raise self._stopped(error) from error

    def finish(self) -> None:
        """Write ``results.csv``, and say what was cut off.

        Raises:
            VlmadError: As :meth:`save`.
        """
        try:
            self._results.write_csv()
        except OSError as error:
            raise self._stopped(error) from error
        if self._cut:
            text = f"{self._cut} maps left 0 to {self.maximum:g} and were cut there; --maps npy keeps every value."
            warnings.warn(text, UserWarning, stacklevel=3)
            self._cut = 0

    def _write_files(self, judged: Judged) -> Result:
        result, prediction = judged
        if prediction is None:
            return result
        name, map_, overlay = file_name(result.path), None, None
        if self.maps != "none":
            map_ = f"{_MAPS}/{name}{'.npy' if self.maps == 'npy' else '.png'}"
            data, cut = encode(prediction, self.maps, self.maximum, self.max_side)
            self._cut += cut
            self._put(map_, data)
        if self.overlays:
            overlay = f"{_OVERLAYS}/{name}.jpg"
            try:
                image = open_image(result.path)
            except ImageError as error:  # it was there a moment ago
                return Result(path=result.path, error=str(error))
            buffer = io.BytesIO()
            draw(image, prediction, self.scale, Path(result.path).name).save(buffer, "JPEG", quality=90)
            self._put(overlay, buffer.getvalue())
        return replace(result, anomaly_map=map_, overlay=overlay)

    def _put(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        write_whole(path, data)


def _absolute(path: str | Path, start: str) -> str:
    return os.path.normpath(os.path.join(start, path))  # noqa: PTH118 - without following links, as the user sees it
