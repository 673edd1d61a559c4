"""How a detector does: verdicts, overkill and miss by what people said, and the reject fraction over time."""

from __future__ import annotations

import math
from typing import Any

from vlmad_core.inspection.conformal import binomial_interval
from vlmad_core.inspection.drift import DriftState
from vlmad_serve.schemas import Bucket, DriftAnswer, Rate, StatisticsAnswer, utc
from vlmad_serve.store import Store

__all__ = ["describe_drift", "statistics"]

_REJECTED = ("reject", "not this part")


def statistics(store: Store, detector: str, drift: DriftState, *, recent: int, buckets: int) -> StatisticsAnswer:
    """Counts of all results, and the chart of the recent ones.

    Args:
        store: With the results.
        detector: Its name.
        drift: Of this detector.
        recent: Images in the chart at most.
        buckets: Points of the chart at most.
    """
    counts = {
        row["verdict"]: int(row["n"])
        for row in store.rows(
            "SELECT verdict, COUNT(*) AS n FROM results WHERE detector = ? GROUP BY verdict", [detector]
        )
    }
    labelled = store.rows(
        "SELECT label, verdict, COUNT(*) AS n, SUM(applied IS NULL) AS fresh FROM results "
        "WHERE detector = ? AND label IS NOT NULL GROUP BY label, verdict",
        [detector],
    )
    rows = store.rows(
        "SELECT received, verdict, drift FROM results WHERE detector = ? ORDER BY id DESC LIMIT ?", [detector, recent]
    )
    return StatisticsAnswer(
        images=sum(counts.values()),
        verdicts=counts,
        overkill=_rate(labelled, "good", _REJECTED),
        miss=_rate(labelled, "defect", ("pass",)),
        waiting_feedback=sum(int(row["fresh"]) for row in labelled),
        buckets=_buckets(rows[::-1], buckets),
        drift=describe_drift(drift),
    )


def describe_drift(state: DriftState) -> DriftAnswer:
    """The state of the drift test."""
    return DriftAnswer(
        images=state.n_images,
        log_capital=state.log_capital,
        log_level=math.log(state.level),
        is_alarm=state.is_alarm,
        alarm_at=state.alarm_at,
    )


def _rate(labelled: list[Any], label: str, verdicts: tuple[str, ...]) -> Rate:
    total = sum(int(row["n"]) for row in labelled if row["label"] == label)
    count = sum(int(row["n"]) for row in labelled if row["label"] == label and row["verdict"] in verdicts)
    low, high = binomial_interval(count, total) if total else (0.0, 1.0)
    return Rate(count=count, total=total, low=low, high=high)


def _buckets(rows: list[Any], most: int) -> list[Bucket]:
    size = max(1, math.ceil(len(rows) / most))
    found = []
    for i in range(0, len(rows), size):
        part = rows[i : i + size]
        found.append(
            Bucket(
                start=utc(part[0]["received"]),
                end=utc(part[-1]["received"]),
                images=len(part),
                reject=sum(row["verdict"] in _REJECTED for row in part),
                review=sum(row["verdict"] == "review" for row in part),
                drift=part[-1]["drift"],
            )
        )
    return found
