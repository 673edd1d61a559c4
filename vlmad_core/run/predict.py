"""Judge images batch by batch, in flat memory, into a folder that survives any interruption."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from vlmad_core.contracts.data import Prediction
from vlmad_core.contracts.images import find_images, read
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.run.folder import Judged, RunFolder
from vlmad_core.run.maps import MapFormat
from vlmad_core.run.results import Result
from vlmad_core.run.settings import settings_of

__all__ = ["Summary", "judge", "run"]


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Args:
        done: Images that got their line now.
        failed: Images that could not be judged, now or in an earlier part of the run.
        skipped: Images that had a line already.
        seconds: From the first image to the last file.
    """

    done: int
    failed: int
    skipped: int
    seconds: float

    @property
    def images_per_second(self) -> float:
        """Of the images done now."""
        return self.done / self.seconds if self.seconds else 0.0


def judge(pipeline: Pipeline, paths: Iterable[str | Path], *, batch_size: int = 8) -> Iterator[list[Judged]]:
    """Results and predictions, a batch at a time and in order; an image that cannot be read has an error instead."""
    started = time.perf_counter()
    with closing(read(map(str, paths), pipeline.backbone.preprocess, batch_size=batch_size)) as batches:
        for pictures in batches:
            good = [picture for picture in pictures if picture.error is None]
            predictions = iter(pipeline.predict_batch(good) if good else ())
            share = round((time.perf_counter() - started) * 1000 / len(pictures), 2)
            batch: list[Judged] = []
            for picture in pictures:
                seen = Result(path=str(picture.source), milliseconds=share, error=picture.error)
                batch.append((seen, None) if picture.error is not None else _told(seen, next(predictions)))
            yield batch
            started = time.perf_counter()


def _told(seen: Result, prediction: Prediction) -> Judged:
    seen = replace(seen, height=prediction.size[0], width=prediction.size[1])
    if not math.isfinite(prediction.score + float(prediction.raw_map.sum())):
        return replace(seen, error=f"{seen.path}: the detector gave a score or a map that is not a number."), None
    return replace(seen, score=prediction.score), prediction


def run(
    pipeline: Pipeline,
    paths: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    batch_size: int = 8,
    maps: MapFormat = "png16",
    overlays: bool = True,
    scale: tuple[float, float] | None = None,
    max_side: int = 4096,
    resume: bool = True,
    about: Mapping[str, Any] | None = None,
    progress: Callable[[Result], None] | None = None,
) -> Summary:
    """Judge images and write ``results.jsonl``, ``results.csv``, ``run.json``, maps and overlays.

    A line is written after the files that it names. Whatever stops the run, the same call goes on where it stopped, and
    each image has exactly one line.

    Args:
        pipeline: Ready to judge.
        paths: Files, folders, glob patterns.
        out: Folder for what is written.
        batch_size: Images through the backbone at a time.
        maps: ``png16`` (fixed scale, see :func:`vlmad_core.run.read_map`), ``npy`` (float32), or ``none``.
        overlays: Write pictures with heat on top.
        scale: Values without heat and with full heat; chosen by :meth:`Scale.of` if None.
        max_side: Maps of larger images are written with this longer side.
        resume: Go on with what is in ``out``; False replaces it.
        about: More that decides the results, such as the hashes of the normal images; compared when a run goes on.
        progress: Called with each result once it is safe; those of an earlier part of the run come first.

    Raises:
        ConfigError: ``out`` holds results of other settings, or another process is writing there.
        ImageError: A path does not exist, or holds no image.
        VlmadError: The disk is full, or cannot be written to.
        KeyboardInterrupt: Ctrl-C, after everything is in order; the text says what is safe.
    """
    pipeline.check_ready()
    found = find_images(paths)
    settings = settings_of(pipeline, maps=maps, overlays=overlays, scale=scale, max_side=max_side, **(about or {}))
    with RunFolder(Path(out), pipeline, settings, resume=resume) as folder:
        waiting = folder.want(found)
        count, failed, started = 0, 0, time.perf_counter()
        try:
            for result in chain(folder.earlier(), _save(folder, judge(pipeline, waiting, batch_size=batch_size))):
                count += 1
                failed += result.error is not None
                if progress is not None:
                    progress(result)
        except KeyboardInterrupt:
            folder.finish()
            raise KeyboardInterrupt(f"stopped. {folder.state()}") from None
        folder.finish()
        return Summary(len(waiting), failed, count - len(waiting), time.perf_counter() - started)


def _save(folder: RunFolder, batches: Iterable[list[Judged]]) -> Iterator[Result]:
    for batch in batches:
        yield from folder.save(batch)
