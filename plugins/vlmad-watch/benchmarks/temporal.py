"""What a filter over time saves on a line made from real images: false alarms a minute at the same threshold.

Every frame is scored once and kept. The threshold is the one that a given share of the frames of good parts exceeds.
With it an alarm is raised by each frame alone, by the exponential mean, or by regions that persist; an alarm on a good
part is counted once when it begins, however long it lasts. Beside it stands how many defective parts are detected.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from frame_scores import GRID, FrameScores, frame_scores
from line import FPS, LENGTH
from scipy import ndimage

import vlmad_core
from vlmad_core.inspection.persistence import any_window_rate, dependent_bound, window_rate
from vlmad_core.inspection.temporal import Frame, TemporalFilter, TemporalState

WEIGHT, K, N = 0.3, 4, 6
ALPHAS = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Shares of the frames of good parts above the threshold."""
SETS = ("PA_BRG01_RL", "PA_FVN02_RL")


def main() -> None:
    """Measure and write the lines."""
    parser = argparse.ArgumentParser(description="False alarms with and without a filter over time.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets in the MVTec layout")
    parser.add_argument("--sets", nargs="*", default=SETS)
    parser.add_argument("--cache", type=Path, default=Path(".line"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/line.jsonl"))
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in arguments.sets:
        scores = frame_scores(arguments.data / name, arguments.cache)
        rows += [{"set": f"piped/{name}", **row} for row in [*compared(scores), *dependence(scores)]]
    arguments.out.write_text("".join(json.dumps(rounded(row)) + "\n" for row in rows))
    for row in rows:
        print(json.dumps(rounded(row)))


def compared(scores: FrameScores) -> Iterator[dict[str, Any]]:
    """A line for each rule and rate of frames."""
    is_good = ~scores.is_defective[scores.part]
    seen = np.unique(scores.part)
    minutes = float(is_good.sum()) / FPS / 60
    about = {
        "auroc": float(vlmad_core.metrics.auroc(scores.score, (~is_good).astype(int))),
        "frames": len(scores.part),
        "good_parts": int((~scores.is_defective[seen]).sum()),
        "defective_parts": int(scores.is_defective[seen].sum()),
        "minutes_good": minutes,
    }
    peaks = scores.maps.max(axis=(1, 2))
    for alpha in ALPHAS:
        threshold = float(np.quantile(scores.score[is_good], 1 - alpha))
        of_regions = float(np.quantile(peaks[is_good], 1 - alpha))
        for name, flags in (
            ("each frame", scores.score > threshold),
            (f"mean, weight {WEIGHT}", mean(scores, threshold)),
            (f"region {K} of {N}", regions(scores, of_regions)),
        ):
            alarms, rejected, detected = counted(scores, flags)
            row = {"rule": name, "alpha": alpha, "detected": detected, "alarms": alarms, "parts_rejected": rejected}
            yield {**about, **row, "alarms_per_minute": alarms / minutes}


def mean(scores: FrameScores, threshold: float) -> np.ndarray:
    """The exponential mean of the scores of the part, without hysteresis."""
    rule = TemporalFilter(high=threshold, weight=WEIGHT)
    state: TemporalState | None = None
    flags = []
    for part, score in zip(scores.part.tolist(), scores.score.tolist(), strict=True):
        verdict, state = rule.step(Frame(score, part=str(part)), state)
        flags.append(verdict.label == "reject")
    return np.array(flags)


def counted(scores: FrameScores, flags: np.ndarray) -> tuple[int, int, int]:
    """Alarms that begin on good parts, good parts with an alarm, defective parts with an alarm."""
    is_new = np.r_[True, scores.part[1:] != scores.part[:-1]]
    begins = flags & (is_new | ~np.r_[False, flags[:-1]])
    bad = scores.is_defective[np.unique(scores.part[flags])]
    return int((begins & ~scores.is_defective[scores.part]).sum()), int((~bad).sum()), int(bad.sum())


def regions(scores: FrameScores, threshold: float) -> np.ndarray:
    """A region above the threshold in k of the last n frames, at about the same place of the part."""
    rule, side = TemporalFilter(k=K, n=N, max_distance=8), LENGTH / GRID
    state: TemporalState | None = None
    flags = []
    for part, grid in zip(scores.part.tolist(), scores.maps, strict=True):
        labels, _ = ndimage.label(grid > threshold, structure=np.ones((3, 3)))
        boxes = tuple(
            (x.start * side, y.start * side, x.stop * side, y.stop * side) for y, x in ndimage.find_objects(labels)[:20]
        )
        verdict, state = rule.step(Frame(0.0, boxes, str(part)), state)
        flags.append(verdict.label == "reject")
    return np.array(flags)


def dependence(scores: FrameScores) -> Iterator[dict[str, Any]]:
    """K of n alarms of frames on good parts: measured, by the formula for independent frames, and its bound."""
    is_good = ~scores.is_defective[scores.part]
    for alpha in (0.05, 0.1, 0.2):
        threshold = float(np.quantile(scores.score[is_good], 1 - alpha))
        flags: dict[int, list[bool]] = {}
        for part, score in zip(scores.part[is_good].tolist(), scores.score[is_good].tolist(), strict=True):
            flags.setdefault(part, []).append(score > threshold)
        rate = float(np.mean([flag for own in flags.values() for flag in own]))
        windows = [sum(own[i : i + N]) >= K for own in flags.values() for i in range(len(own) - N + 1)]
        in_part = [any(sum(own[max(0, i - N + 1) : i + 1]) >= K for i in range(len(own))) for own in flags.values()]
        length = int(np.median([len(own) for own in flags.values()]))
        yield {
            "rule": f"any {K} of {N} frames",
            "alpha": alpha,
            "rate": rate,
            "window_measured": float(np.mean(windows)),
            "window_independent": window_rate(rate, K, N),
            "window_bound": dependent_bound(rate, K, N),
            "part_measured": float(np.mean(in_part)),
            "part_independent": any_window_rate(rate, K, N, length),
            "frames_of_a_part": length,
        }


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Nine digits, as in the other result files."""
    return {name: round(value, 9) if isinstance(value, float) else value for name, value in row.items()}


if __name__ == "__main__":
    main()
