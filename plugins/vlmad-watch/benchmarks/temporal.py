"""What a filter over time saves: false alarms a minute at equal detected parts, on a line made from real images.

Every frame is scored once and kept. Then each rule gets the highest threshold at which it detects the same share of the
defective parts, and its alarms on good parts are counted: an alarm is one beginning, however long it lasts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from frame_scores import GRID, FrameScores, frame_scores
from line import FPS, LENGTH

import vlmad_core
from vlmad_core.inspection.persistence import any_window_rate, dependent_bound, window_rate
from vlmad_core.inspection.regions import find_regions
from vlmad_core.inspection.temporal import Box, Frame, TemporalFilter, TemporalState

WEIGHT, K, N = 0.2, 4, 6
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Of the defective parts that must be detected."""
LEVELS = 400
"""Thresholds that are tried for each rule."""
SETS = ("PA_BRG01_RL", "PA_FVN02_RL", "PA_BTN01_RL")

Rule = Callable[[FrameScores, float], Iterator[tuple[int, bool]]]
"""Part and whether there is an alarm, for each frame."""


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
    """A line for each rule and share of detected parts."""
    is_bad = scores.is_defective[scores.part]
    auroc = float(vlmad_core.metrics.auroc(scores.score, is_bad.astype(int)))
    minutes = float((~is_bad).sum()) / FPS / 60
    about = {
        "auroc": auroc,
        "frames": len(scores.part),
        "good_parts": int((~scores.is_defective).sum()),
        "defective_parts": int(scores.is_defective.sum()),
        "minutes_good": minutes,
    }
    curves = {name: curve(scores, rule, values) for name, (rule, values) in rules(scores).items()}
    for share in SHARES:
        for name, points in curves.items():
            enough = [point for point in points if point[1] >= share]
            if enough:
                threshold, detected, alarms, parts = min(enough, key=lambda point: (point[2], -point[0]))
                row = {"rule": name, "share": share, "threshold": threshold, "detected": detected}
                yield {**about, **row, "alarms": alarms, "alarms_per_minute": alarms / minutes, "parts_rejected": parts}


def rules(scores: FrameScores) -> dict[str, tuple[Rule, np.ndarray]]:
    """Each rule with the thresholds that it is tried at."""
    every = np.quantile(scores.score, np.linspace(0, 1, LEVELS))
    peaks = np.quantile(scores.maps.max(axis=(1, 2)), np.linspace(0, 1, LEVELS // 4))
    return {
        "each frame": (single, every),
        f"mean, weight {WEIGHT}": (mean, every),
        f"region {K} of {N}": (regions, peaks),
    }


def single(scores: FrameScores, threshold: float) -> Iterator[tuple[int, bool]]:
    """An alarm wherever a frame is above the threshold."""
    yield from zip(scores.part.tolist(), (scores.score > threshold).tolist(), strict=True)


def mean(scores: FrameScores, threshold: float) -> Iterator[tuple[int, bool]]:
    """The exponential mean of the scores of the part, without hysteresis."""
    yield from _filtered(scores, TemporalFilter(high=threshold, weight=WEIGHT), [()] * len(scores.part))


def regions(scores: FrameScores, threshold: float) -> Iterator[tuple[int, bool]]:
    """A region above the threshold in k of the last n frames, at about the same place of the part."""
    side = LENGTH / GRID
    boxes: list[tuple[Box, ...]] = []
    for grid in scores.maps:
        found = find_regions(grid, threshold, max_regions=20).regions if grid.max() > threshold else ()
        boxes.append(tuple((x * side, y * side, r * side, b * side) for x, y, r, b in (one.box for one in found)))
    yield from _filtered(scores, TemporalFilter(k=K, n=N, max_distance=8), boxes)


def _filtered(scores: FrameScores, rule: TemporalFilter, boxes: list[tuple[Box, ...]]) -> Iterator[tuple[int, bool]]:
    state: TemporalState | None = None
    for part, score, own in zip(scores.part.tolist(), scores.score.tolist(), boxes, strict=True):
        verdict, state = rule.step(Frame(score, own, str(part)), state)
        yield part, verdict.label == "reject"


def curve(scores: FrameScores, rule: Rule, thresholds: np.ndarray) -> list[tuple[float, float, int, int]]:
    """Threshold, share of defective parts with an alarm, alarms on good parts, good parts with an alarm."""
    found = []
    for threshold in np.unique(thresholds).tolist():
        alarms, with_alarm, before = 0, set[int](), (-1, False)
        for part, is_alarm in rule(scores, threshold):
            if is_alarm:
                with_alarm.add(part)
                begins = before != (part, True)
                alarms += begins and not scores.is_defective[part]
            before = (part, is_alarm)
        bad = sum(bool(scores.is_defective[part]) for part in with_alarm)
        found.append((threshold, bad / int(scores.is_defective.sum()), alarms, len(with_alarm) - bad))
    return found


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
