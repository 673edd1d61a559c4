"""Judge images batch by batch, in flat memory, into a folder that survives any interruption."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from vlmad_core.contracts.data import Prediction
from vlmad_core.contracts.find import search
from vlmad_core.contracts.images import WORKERS, Picture, read
from vlmad_core.contracts.views import squeezed
from vlmad_core.errors import ImageError, VlmadError
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.run.drift import DRIFT, DriftMonitor
from vlmad_core.run.explain import explained
from vlmad_core.run.folder import Judged, RunFolder
from vlmad_core.run.maps import MapFormat
from vlmad_core.run.opinion import SecondOpinion, add_opinions
from vlmad_core.run.replicas import in_turn
from vlmad_core.run.results import Result
from vlmad_core.run.settings import settings_of
from vlmad_core.run.verdicts import Decision, decide_all, make_decision

__all__ = ["Summary", "judge", "run"]


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Args:
        done: Images that got their line now.
        failed: Images that could not be judged, now or in an earlier part of the run.
        skipped: Images that had a line already.
        seconds: From the first image to the last file.
        failed_now: Those of ``failed`` that are among ``done``.
        changed: Images that had a line and were judged again, since their file is another one now.
        passed_over: What the search for images did not take, in a sentence.
    """

    done: int
    failed: int
    skipped: int
    seconds: float
    failed_now: int = 0
    changed: int = 0
    passed_over: str = ""

    @property
    def images_per_second(self) -> float:
        """Images that were judged now, without those that could not be."""
        return (self.done - self.failed_now) / self.seconds if self.seconds else 0.0


def judge(
    pipeline: Pipeline,
    paths: Iterable[str | Path],
    *,
    batch_size: int = 8,
    workers: int = WORKERS,
    explain: bool = False,
    replicas: Sequence[Pipeline] = (),
) -> Iterator[list[Judged]]:
    """Results and predictions, a batch at a time and in order; an image that cannot be judged has an error instead.

    With ``explain`` each result has its reasons, and the prediction its evidence. Batches go in turn to the detector
    and its ``replicas`` on other devices.

    Raises:
        VlmadError: The detector refuses, which is about all images.
    """
    started = time.perf_counter()
    sources = map(str, paths)
    batches = read(sources, pipeline.preprocess, batch_size=batch_size, workers=workers, digest=True)
    work = [partial(_of_batch, one, explain=explain) for one in (pipeline, *replicas)]
    with closing(batches), closing(in_turn(batches, work, _has_tiles)) as done:
        for pictures, found in done:
            predictions = iter(found)
            share = round((time.perf_counter() - started) * 1000 / len(pictures), 2)
            batch: list[Judged] = []
            for picture in pictures:
                result = Result(
                    path=str(picture.source),
                    milliseconds=share,
                    error=picture.error,
                    note=" ".join(filter(None, [*picture.notes, picture.read_as, picture.tile_note])) or None,
                    tiles=picture.tile_count or None,
                    squeezed=_squeezed(picture),
                    sha256=picture.sha256 or None,
                    stamp=picture.stamp,
                )
                if picture.error is not None:
                    batch.append((result, None))
                else:
                    batch.append(_judged(result, next(predictions), explain=explain))
            yield batch
            started = time.perf_counter()


def _squeezed(picture: Picture) -> tuple[float, float] | None:
    found = squeezed(picture.views)
    return None if found is None else (round(found[0], 2), round(found[1], 2))


def _of_batch(
    pipeline: Pipeline, pictures: list[Picture], *, explain: bool
) -> tuple[list[Picture], list[Prediction | str]]:
    good = [picture for picture in pictures if picture.error is None]
    return pictures, _predictions(pipeline, good, explain=explain)


def _has_tiles(pictures: Sequence[Picture]) -> bool:
    """The pixels of tiles are there until the next batch is asked for."""
    return any(picture.tile_count for picture in pictures)


def _predictions(pipeline: Pipeline, pictures: Sequence[Picture], *, explain: bool) -> list[Prediction | str]:
    """A prediction for each picture, or what went wrong with it: one picture must not take its batch with it."""
    if not pictures:
        return []
    try:
        if explain:
            return [prediction for prediction, _ in pipeline.explain_batch(pictures)]
        return list(pipeline.predict_batch(pictures))
    except Exception as error:
        if isinstance(error, VlmadError) and not isinstance(error, ImageError):
            raise
        if len(pictures) > 1:
            return [found for picture in pictures for found in _predictions(pipeline, [picture], explain=explain)]
        text = str(error) if isinstance(error, ImageError) else f"cannot be judged ({type(error).__name__}: {error})."
        path = str(pictures[0].path)
        return [text if text.startswith(path) else f"{path}: {text}"]


def _judged(result: Result, prediction: Prediction | str, *, explain: bool) -> Judged:
    if isinstance(prediction, str):
        return replace(result, error=prediction), None
    result = replace(result, height=prediction.size[0], width=prediction.size[1])
    if not prediction.is_finite:
        return replace(result, error=f"{result.path}: the detector gave a score or a map that is not a number."), None
    result = replace(result, score=prediction.score)
    return explained(result, prediction) if explain else result, prediction


def run(
    pipeline: Pipeline,
    paths: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    batch_size: int = 8,
    workers: int = WORKERS,
    maps: MapFormat = "png16",
    overlays: bool = True,
    scale: tuple[float, float] | None = None,
    max_side: int = 4096,
    resume: bool = True,
    about: Mapping[str, Any] | None = None,
    decision: Decision | None = None,
    drift: DriftMonitor | None = None,
    explain: bool = False,
    second: SecondOpinion | None = None,
    reference: Path | None = None,
    replicas: Sequence[Pipeline] = (),
    progress: Callable[[Result], None] | None = None,
) -> Summary:
    """Judge images and write ``results.jsonl``, ``results.csv``, ``run.json``, maps and overlays.

    A line is written after the files that it names. Whatever stops the run, the same call goes on where it stopped, and
    each image has exactly one line. An image whose file was replaced since it was judged is judged again.

    Args:
        pipeline: Ready to judge.
        paths: Files, folders, glob patterns.
        out: Folder for what is written.
        batch_size: Images through the backbone at a time.
        workers: Threads that decode.
        maps: ``png16`` (fixed scale, see :func:`vlmad_core.run.read_map`), ``npy`` (float32), or ``none``.
        overlays: Write pictures with heat on top.
        scale: Values without heat and with full heat; chosen by :meth:`Scale.of` if None.
        max_side: Maps of larger images are written with this longer side.
        resume: Go on with what is in ``out``; False replaces it.
        about: More that decides the results, such as the hashes of the normal images; compared when a run goes on.
        decision: How images are decided, from :func:`vlmad_core.run.verdicts.make_decision`; its defaults if None.
        drift: Takes in each score; it is written to ``drift.json``, and to its own file where it has one. With its own
            file it takes in only images that were not scored in an earlier part of the run.
        explain: Also write why: fields of the results, and for each image a picture and JSON in ``evidence/``.
        second: Who gives a second opinion on the decided images; nobody if None.
        reference: A normal image that the second opinion may compare with.
        replicas: The same detector on further devices, from :func:`vlmad_core.run.replicas.replicate`.
        progress: Called with each result once it is safe; those of an earlier part of the run come first.

    Raises:
        ConfigError: ``out`` holds results of other settings, or another process is writing there.
        ImageError: A path does not exist, or holds no image.
        VlmadError: The disk is full, or cannot be written to.
        KeyboardInterrupt: Ctrl-C, after everything is in order; the text says what is safe.
    """
    pipeline.check_ready()
    found = search(paths)
    if found.passed_over:
        warnings.warn(found.message, UserWarning, stacklevel=2)
    decision = decision or make_decision(pipeline)
    about = {**(about or {}), **decision.settings(), **({"explain": True} if explain else {})}
    if second is not None:
        about["opinion"] = dict(second.settings())
    settings = settings_of(pipeline, maps=maps, overlays=overlays, scale=scale, max_side=max_side, **about)
    with RunFolder(Path(out), pipeline, settings, resume=resume, decision=decision) as folder:
        waiting = folder.want(found.images)
        count, failed, failed_now, started = 0, 0, 0, time.perf_counter()
        judged = judge(pipeline, waiting, batch_size=batch_size, workers=workers, explain=explain, replicas=replicas)
        decided = decide_all(judged, decision)
        batches = add_opinions(decided, second, class_name=pipeline.class_name, reference=reference, bits=pipeline.bits)
        earlier = len(found.images) - len(waiting)
        try:
            for result in chain(folder.earlier(), _save(folder, batches)):
                count += 1
                failed += result.error is not None
                failed_now += result.error is not None and count > earlier
                if drift is not None and (drift.file is None or count > earlier):
                    drift.add(result)
                if progress is not None:
                    progress(result)
        except KeyboardInterrupt:
            folder.finish()
            _keep(drift, Path(out))
            raise KeyboardInterrupt(f"stopped. {folder.state()}") from None
        folder.finish()
        _keep(drift, Path(out))
        return Summary(
            done=len(waiting),
            failed=failed,
            skipped=count - len(waiting),
            seconds=time.perf_counter() - started,
            failed_now=failed_now,
            changed=folder.changed,
            passed_over=found.message,
        )


def _keep(drift: DriftMonitor | None, out: Path) -> None:
    if drift is not None:
        drift.save(out / DRIFT)
        drift.save()


def _save(folder: RunFolder, batches: Iterable[list[Judged]]) -> Iterator[Result]:
    for batch in batches:
        yield from folder.save(batch)
