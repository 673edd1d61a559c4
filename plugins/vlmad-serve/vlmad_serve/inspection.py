"""From received images to answers: store, decode, score in a batch, decide, keep, and only then answer."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vlmad_core.contracts.data import Prediction
from vlmad_core.contracts.images import Picture
from vlmad_core.errors import VlmadError
from vlmad_core.inspection.regions import find_regions, region_record
from vlmad_core.inspection.verdict import uncalibrated
from vlmad_core.pipeline.decisions import class_distance
from vlmad_core.run.maps import encode
from vlmad_core.run.verdicts import Decision
from vlmad_serve.archive import Archive
from vlmad_serve.batcher import Batcher, Gate
from vlmad_serve.decoding import Received, StoredImage, decode_image, store_image
from vlmad_serve.detectors import Version
from vlmad_serve.drift import DriftMonitor
from vlmad_serve.metrics import Metrics
from vlmad_serve.refusal import Refusal
from vlmad_serve.results import ResultIds, insert_results
from vlmad_serve.settings import ServerSettings
from vlmad_serve.store import Store

__all__ = ["Inspected", "Inspection", "nearest_normal"]

_log = logging.getLogger("vlmad.serve")


@dataclass(frozen=True, eq=False)
class Inspected:
    """An image that was scored and kept.

    Attributes:
        row: As in the database, with ``regions`` and ``nearest`` as plain data.
        map_png: The 16-bit PNG of the map, at the size at which the detector works.
    """

    row: dict[str, Any]
    map_png: bytes


@dataclass(eq=False)
class _Scored:
    stored: StoredImage
    picture: Picture
    prediction: Prediction
    version: Version
    decision: Decision
    started: float
    future: asyncio.Future[Inspected]


class Inspection:
    """The line from received images to kept results.

    Args:
        settings: Limits.
        store: For results.
        archive: For images and maps.
        drift: Takes every score.
        metrics: Counts.
    """

    def __init__(
        self, settings: ServerSettings, store: Store, archive: Archive, drift: DriftMonitor, metrics: Metrics
    ) -> None:
        self._settings, self._store, self._archive = settings, store, archive
        self._drift, self._metrics = drift, metrics
        self.gate = Gate(settings.capacity, metrics)
        self.batcher = Batcher(settings.batch_size, self.gate, metrics)
        self._decoders = ThreadPoolExecutor(settings.workers, thread_name_prefix="vlmad-serve-decode")
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="vlmad-serve-keep")
        self._ids = ResultIds()
        self._scored: list[_Scored] = []
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """In the event loop."""
        self.batcher.start()

    async def close(self) -> None:
        """Finish what was accepted."""
        await self.batcher.close()
        while self._keeping is not None and not self._keeping.done():
            await self._keeping
        self._decoders.shutdown()
        self._keeper.shutdown()

    async def inspect(
        self, images: Sequence[Received], version: Version, decision: Decision | None = None
    ) -> list[Inspected | Refusal]:
        """Answers in the order of the images; one that cannot be answered has a refusal in its place.

        Args:
            images: As received.
            version: The detector.
            decision: Thresholds in place of the version's own, for this request alone.

        Raises:
            Refusal: 429 or 413; too many images.
        """
        with self.gate.enter(len(images)):
            return list(await asyncio.gather(*(self._one(image, version, decision) for image in images)))

    async def _one(self, image: Received, version: Version, decision: Decision | None) -> Inspected | Refusal:
        loop, started, is_handed_on = asyncio.get_running_loop(), time.perf_counter(), False
        decoding = self._decoders.submit(self._decode, image, version)
        try:
            async with asyncio.timeout(self._settings.timeout):
                stored, picture = await asyncio.wrap_future(decoding)
                prediction = await self.batcher.predict(version, picture)
                if not prediction.is_finite:
                    return Refusal(500, f"{image.name or 'the image'}: the detector gave values that are no numbers.")
                scored = _Scored(
                    stored,
                    replace(picture, pixels=None),
                    prediction,
                    version,
                    decision or version.decision,
                    started,
                    loop.create_future(),
                )
                self._scored.append(scored)
                is_handed_on = True
                if self._keeping is None or self._keeping.done():
                    self._keeping = asyncio.create_task(self._keep())
                return await scored.future
        except Refusal as refusal:
            return refusal
        except TimeoutError:
            return Refusal(504, f"no answer within {self._settings.timeout:g} seconds; the machine is too busy.")
        except VlmadError as error:
            return Refusal(422, str(error))
        except Exception as error:  # of this image alone; the others are answered
            _log.exception("an image could not be inspected")
            return Refusal(500, f"{image.name or 'the image'}: the detector failed ({type(error).__name__}: {error}).")
        finally:
            if not is_handed_on:  # a thread that is still decoding ends its use when it is done
                decoding.add_done_callback(self._release_decoded)

    def _decode(self, image: Received, version: Version) -> tuple[StoredImage, Picture]:
        limits = self._settings
        stored = store_image(image, self._archive, max_bytes=limits.max_bytes, max_pixels=limits.max_pixels)
        try:
            return stored, decode_image(stored, self._archive, version.pipeline.preprocess)
        except BaseException:
            self._archive.release_image(stored.file)
            raise

    def _release_decoded(self, decoding: Future[tuple[StoredImage, Picture]]) -> None:
        if not decoding.cancelled() and decoding.exception() is None:
            self._archive.release_image(decoding.result()[0].file)

    async def _keep(self) -> None:
        """One transaction for all that came together; a transaction at a time."""
        loop = asyncio.get_running_loop()
        while self._scored:
            batch, self._scored = self._scored, []
            try:
                found = await loop.run_in_executor(self._keeper, self._write, batch)
            except Exception as error:  # a full disk: these images are not answered, and the next ones are tried again
                for each in batch:
                    if not each.future.done():
                        each.future.set_exception(Refusal(507, f"the result cannot be kept ({error})."))
                continue
            for each, inspected in zip(batch, found, strict=True):
                row = inspected.row
                self._metrics.images.labels(row["detector"], row["verdict"]).inc()
                self._metrics.drift.labels(row["detector"]).set(row["drift"])
                if not each.future.done():
                    each.future.set_result(inspected)

    def _write(self, batch: Sequence[_Scored]) -> list[Inspected]:
        try:
            return self._write_all(batch)
        finally:
            for each in batch:
                self._archive.release_image(each.stored.file)

    def _write_all(self, batch: Sequence[_Scored]) -> list[Inspected]:
        found = []
        for each in batch:
            result = self._ids.next()
            at_size = replace(each.prediction, size=each.prediction.raw_map.shape)
            map_png, _ = encode(at_size, "png16", each.version.maximum, max(each.prediction.raw_map.shape))
            self._archive.put_map(result, map_png)
            row = self._row(each, result, len(map_png))
            row["drift"] = self._drift.take(each.version, result, each.prediction.score)
            found.append(Inspected(row, map_png))
        with self._store.writing() as connection:
            as_text = [
                {**one.row, "regions": json.dumps(one.row["regions"]), "nearest": json.dumps(one.row["nearest"])}
                for one in found
            ]
            insert_results(connection, as_text)
        if self._archive.added(sum(one.row["bytes"] for one in found)):
            self._archive.trim()
        return found

    def _row(self, scored: _Scored, result: str, map_bytes: int) -> dict[str, Any]:
        prediction, decision, version = scored.prediction, scored.decision, scored.version
        rule, distance = decision.rule, None
        if rule is None:
            verdict = uncalibrated(prediction.score, decision.reason)
        else:
            distance = version.pipeline.distance_to_normals(prediction, rule)
            verdict = rule.verdict(prediction.score, distance)
        regions: list[dict[str, Any]] = []
        if decision.pixels is not None:
            flagged = find_regions(prediction.raw_map, decision.pixels.threshold)
            regions = [region_record(each, prediction.raw_map.shape, prediction.size) for each in flagged.regions]
        return {
            "id": result,
            "detector": version.detector,
            "version": version.number,
            "received": time.time() - (time.perf_counter() - scored.started),
            "name": scored.stored.name,
            "sha256": scored.stored.sha256,
            "file": scored.stored.file,
            "width": prediction.size[1],
            "height": prediction.size[0],
            "score": prediction.score,
            "verdict": verdict.label,
            "threshold": verdict.threshold,
            "review_threshold": verdict.review_threshold,
            "p_value": verdict.p_value,
            "share_below": verdict.share_of_normals_below,
            "confidence": verdict.confidence,
            "false_alarms": verdict.false_alarms,
            "class_distance": distance,
            "class_p_value": verdict.class_p_value,
            "reason": verdict.reason,
            "regions": regions,
            "nearest": nearest_normal(version, prediction),
            "milliseconds": round(1000 * (time.perf_counter() - scored.started), 1),
            "note": " ".join(scored.picture.notes).replace(f"{scored.picture.path}: ", ""),
            "bytes": scored.stored.n_bytes + map_bytes,
            "has_files": 1,
            "drift": 0.0,
            "label": None,
            "comment": "",
            "applied": None,
        }


def nearest_normal(version: Version, prediction: Prediction) -> dict[str, Any] | None:
    """The normal image whose class token is nearest, with the distance; None where there are no class tokens."""
    stored = version.pipeline.stored_calibration
    if stored is None or prediction.class_token is None:
        return None
    best: dict[str, Any] | None = None
    calibration = stored.calibration
    for kind, images in (("references", calibration.references), ("held_out", calibration.held_out)):
        tokens = stored.tokens.get(kind)
        if tokens is None or not len(tokens):
            continue
        distances = class_distance(prediction.class_token, tokens)
        i = int(np.argmin(distances))
        if best is None or distances[i] < best["distance"]:
            best = {"sha256": images[i].digest, "distance": float(distances[i])}
    return best
