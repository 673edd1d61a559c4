"""The folder of a run: its record, its lines, maps and overlays, written in an order that survives any interruption."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self, TypeAlias

from PIL import Image

from vlmad_core.contracts.data import Prediction
from vlmad_core.contracts.decode import decode, stamp_of
from vlmad_core.errors import ConfigError, ImageError, VlmadError
from vlmad_core.files import mark_written, write_whole
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.run.disk import FULL, refuse_foreign
from vlmad_core.run.drift import DRIFT
from vlmad_core.run.evidence_picture import evidence_files
from vlmad_core.run.maps import MOST_SIDE, encode, highest
from vlmad_core.run.overlay import Scale, draw_jpeg, scale_of
from vlmad_core.run.results import Result, ResultsFile, map_names, overlay_name, read_results
from vlmad_core.run.settings import check_same, read_run_record, write_record
from vlmad_core.run.sheet import SHEET
from vlmad_core.run.verdicts import Decision

__all__ = ["Judged", "RunFolder"]

Judged: TypeAlias = tuple[Result, Prediction | None]
"""What is known of an image, and its prediction if there is one."""

_NAMES = ("run.json", "results.jsonl", "results.csv", "maps", "overlays", "evidence", SHEET, DRIFT)


class RunFolder:
    """Opened for one run, by one process.

    Args:
        folder: Made if needed.
        pipeline: For the scale of maps and colours.
        settings: From :func:`settings_of`, with ``maps``, ``overlays``, ``scale`` and ``max_side``.
        resume: Go on with what is there; False replaces it.
        decision: How images are decided; ``run.json`` says so, and its threshold of regions is outlined.

    Raises:
        ConfigError: A file, a folder of another detector's results, or one that another process writes to.
    """

    def __init__(
        self,
        folder: Path,
        pipeline: Pipeline,
        settings: dict[str, Any],
        *,
        resume: bool,
        decision: Decision | None = None,
    ) -> None:
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder}: is a file; --out must name a folder.")
        self.folder = folder
        self.maps, self.overlays, self.max_side = settings["maps"], settings["overlays"], settings["max_side"]
        if self.max_side > MOST_SIDE:
            raise ConfigError(f"max_side must be at most {MOST_SIDE}, got {self.max_side}.")
        refuse_foreign(folder, _NAMES)
        if resume:
            check_same(folder, settings)  # before anything is made or changed
        folder.mkdir(parents=True, exist_ok=True)
        mark_written(folder, *_NAMES)
        self._bits = pipeline.bits
        self._explain = bool(settings.get("explain"))
        self._results = ResultsFile(folder, overwrite=not resume)
        try:
            record = self._record(pipeline, settings, resume, decision)
        except BaseException:
            self._results.close()
            raise
        self.scale = scale_of(record)
        self.maximum = float(record["map"]["maximum"])
        self._home = str(record["started_in"])  # relative paths in the lines start here
        self._cut = self._safe = self.changed = 0
        self._wanted: dict[str, Path] = {}
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="vlmad-write")

    def _record(
        self, pipeline: Pipeline, settings: dict[str, Any], resume: bool, decision: Decision | None
    ) -> dict[str, Any]:
        record = read_run_record(self.folder) if resume else None
        if record is not None:
            return record  # its colour scale too: one folder, one scale
        if self._results.lines:
            raise ConfigError(f"{self.folder}: holds results but no run.json; use another --out, or --overwrite.")
        given, top = settings["scale"], highest(pipeline)
        scale = Scale.of(pipeline, None if given is None else (given[0], given[1]))
        if decision is not None:
            scale = decision.scale(scale)
        calibration = None if decision is None else decision.record()
        record = {
            "settings": settings,
            **({} if calibration is None else {"calibration": calibration}),
            "scale": None if scale is None else asdict(scale),
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
        """Note which images are asked for; gives the paths of those without a line, or changed since they had one.

        Where size and times are the same as when it was judged, an image is the same; where not, its hash decides.
        """
        here = str(Path.cwd())
        self._wanted = {_absolute(path, here): path for path in found}
        done = {_absolute(path, self._home): path for path in self._results.lines}
        changed = {done[key] for key in self._wanted if key in done and self._is_changed(key, done[key])}
        if changed:
            self._results.drop(changed)
            done = {key: path for key, path in done.items() if path not in changed}
        self.changed = len(changed)
        waiting = [str(path) if here == self._home else key for key, path in self._wanted.items() if key not in done]
        self._safe = len(self._wanted) - len(waiting)
        return waiting

    def _is_changed(self, path: str, line: str) -> bool:
        stamp, sha256 = self._results.lines[line]
        now = stamp_of(path)
        if stamp is not None and now == stamp:
            return False
        if not now or not sha256:
            return True
        try:
            with Path(path).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() != sha256
        except OSError:
            return True

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
            for result, cut in self._pool.map(self._write_files, batch):
                self._results.append(result)
                self._safe += 1
                self._cut += cut
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

    def _write_files(self, judged: Judged) -> tuple[Result, bool]:
        """Write map and overlay of an image; gives its line, and whether values of its map were cut."""
        result, prediction = judged
        if prediction is None:
            return result, False
        map_ = overlay = None
        cut = False
        try:
            if self.maps != "none":
                map_ = map_names(result.path)[self.maps == "npy"]
                data, cut = encode(prediction, self.maps, self.maximum, self.max_side)
                self._put(map_, data)
            if self.overlays or self._explain:
                image = self._image(result, prediction)
                title = Path(result.path).name
                drawn = None
                if self.overlays:
                    overlay = overlay_name(result.path)
                    data, drawn = draw_jpeg(image, prediction, self.scale, title)
                    self._put(overlay, data)
                if self._explain:
                    result, files = evidence_files(
                        result, prediction, image, self.scale, title, drawn=drawn, bits=self._bits
                    )
                    for name, data in files.items():
                        self._put(name, data)
        except Exception as error:
            if isinstance(error, OSError) and not isinstance(error, ImageError):
                raise  # a disk that cannot be written to ends the run; one image must not
            text = str(error) if isinstance(error, ImageError) else f"{type(error).__name__}: {error}"
            text = text if text.startswith(result.path) else f"{result.path}: its files cannot be made ({text})."
            return Result(path=result.path, error=text, sha256=result.sha256, stamp=result.stamp), False
        return replace(result, anomaly_map=map_, overlay=overlay), cut

    def _image(self, result: Result, prediction: Prediction) -> Image.Image:
        height, width = prediction.raw_map.shape
        image = decode(result.path, smallest=(height, width), bits=self._bits).image
        if result.stamp is not None and stamp_of(result.path) != result.stamp:
            raise ImageError(f"{result.path}: changed while it was judged; the same command judges it again.")
        return image

    def _put(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        write_whole(path, data)


def _absolute(path: str | Path, start: str) -> str:
    return os.path.normpath(os.path.join(start, path))  # noqa: PTH118 - without following links, as the user sees it
