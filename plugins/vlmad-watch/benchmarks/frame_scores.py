"""Scores and maps of every frame of a line with a part wholly in view, through the parts of ``vlmad watch``; cached."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from line import FIRST, LENGTH, PITCH, VIEW, make_parts, write_video
from PIL import Image
from scipy import ndimage

import vlmad_core
from vlmad_core.inspection.belt import Belt
from vlmad_core.inspection.temporal import TemporalFilter
from vlmad_watch.frames import Pixels, read_video
from vlmad_watch.inspector import FrameScore, Inspector, Line

__all__ = ["FrameScores", "frame_scores"]

GRID = 56
"""Side of the maps that are kept, in cells."""


@dataclass(frozen=True)
class FrameScores:
    """Of all frames with a part wholly in view, in order.

    Args:
        part: ``[F]``, number of the part.
        score: ``[F]``.
        maps: ``[F, 56, 56]``, anomaly maps of the part.
        is_defective: ``[P]``, for each part.
    """

    part: np.ndarray
    score: np.ndarray
    maps: np.ndarray
    is_defective: np.ndarray


def frame_scores(folder: Path, cache: Path, *, parts: int = 42, recipe: str = "pocket-few-shot") -> FrameScores:
    """From the cache where it is there.

    A detector is fitted on frames of 12 good parts of the training split. The inspected line has good parts of the test
    split, and pasted defects in a third of them.

    Args:
        folder: A category in the MVTec layout.
        cache: Folder for videos and scores.
        parts: On the inspected line.
        recipe: One that remembers normal images.
    """
    cache.mkdir(parents=True, exist_ok=True)
    file = cache / f"{folder.name}-{recipe}-{parts}.npz"
    if file.exists():
        with np.load(file) as saved:
            return FrameScores(**{name: saved[name] for name in saved.files})
    normal_line, line = cache / f"{folder.name}-normal.mp4", cache / f"{folder.name}-line.mp4"
    write_video(make_parts(folder, "train", 12, 0.0, seed=0), normal_line, seed=1)
    inspected = make_parts(folder, "test", parts, 1 / 3, seed=2)
    write_video(inspected, line, seed=3)
    crops: dict[str, list[Pixels]] = {}
    for part, crop in _crops(normal_line):
        crops.setdefault(part, []).append(crop)
    fitted = [Image.fromarray(crop) for own in crops.values() for crop in own[::6]]
    detector = vlmad_core.build(recipe).fit(fitted, "paper")
    found = _crops(line)
    predictions = list(detector.stream([Image.fromarray(crop) for _, crop in found]))
    scores = FrameScores(
        part=np.array([int(part) for part, _ in found]),
        score=np.array([prediction.score for prediction in predictions]),
        maps=np.stack([_small(prediction.raw_map) for prediction in predictions]),
        is_defective=np.array([part.is_defective for part in inspected]),
    )
    np.savez_compressed(file, **vars(scores))
    return scores


def _crops(video: Path) -> list[tuple[str, Pixels]]:
    """Part and picture of it, as `vlmad watch --line` follows it."""
    pictures: list[Pixels] = []

    def keep(pixels: Pixels) -> FrameScore:
        pictures.append(pixels)
        return FrameScore(0.0)

    inspector = Inspector(keep, TemporalFilter(high=1.0), Line(Belt(VIEW, LENGTH, PITCH, FIRST)))
    results = [inspector.step(frame) for frame in read_video(video)]
    parts = [result.part for result in results if result is not None and result.score is not None]
    return list(zip(parts, pictures, strict=True))


def _small(anomaly_map: np.ndarray) -> np.ndarray:
    height, width = anomaly_map.shape
    found: np.ndarray = ndimage.zoom(anomaly_map, (GRID / height, GRID / width), order=1).astype(np.float32)
    return found
