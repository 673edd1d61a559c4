"""Drift of a run: the martingale of ``inspection.drift`` over the images that are scored, and a file that keeps it."""

from __future__ import annotations

import json
from pathlib import Path

from vlmad_core.documents import parse_json, read_limited
from vlmad_core.errors import ConfigError
from vlmad_core.files import write_whole
from vlmad_core.inspection.drift import ALARM_LEVEL, DriftState, step
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.run.results import Result

__all__ = ["DRIFT", "DriftMonitor"]

DRIFT = "drift.json"
"""Name of the file in a folder of results."""

_FORMAT = 1


class DriftMonitor:
    """Takes in the score of each image and raises an alarm; it never moves a threshold.

    Each period starts with the scores of held-out normals where the detector has some, so that a change since the
    calibration is found. Scores of remembered normals are on another scale, and normals that joined by feedback are no
    random sample: neither is used.

    Args:
        pipeline: Calibrated.
        file: Where the state is kept from run to run; None: in memory.
        level: Capital that raises the alarm: without a change in at most ``1 / level`` of the periods.

    Raises:
        ConfigError: The file is damaged, or belongs to another detector or calibration.
    """

    def __init__(self, pipeline: Pipeline, file: Path | None = None, *, level: float = ALARM_LEVEL) -> None:
        calibration = pipeline.calibration
        if calibration is None:
            raise ConfigError("drift needs a calibrated detector: `vlmad fit`, or `vlmad calibrate`.")
        self.file = file
        self._detector = f"{calibration.detector.recipe} {calibration.detector.weights}"
        start = sorted(image.score for image in calibration.held_out if not image.is_chosen)
        is_there = file is not None and file.exists()
        self.state = self._read(file, start, level) if file and is_there else DriftState.begin(start, level=level)

    def add(self, result: Result) -> None:
        """Take in an image, in the order of arrival, whatever its verdict; one without a score is left out."""
        if result.score is not None:
            self.state = step(result.score, self.state)[1]

    def save(self, file: Path | None = None) -> None:
        """Write the state to its file, or to this one.

        Raises:
            ConfigError: It cannot be written.
        """
        target = file or self.file
        if target is None:
            return
        record = {"format": _FORMAT, "detector": self._detector, "state": json.loads(self.state.to_json())}
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, (json.dumps(record) + "\n").encode())
        except OSError as error:
            raise ConfigError(f"{target}: cannot be written ({error.strerror}).") from error

    @property
    def message(self) -> str:
        """The alarm as a sentence; empty without one."""
        state = self.state
        if state.alarm_at is None:
            return ""
        what = "those of the held-out normal images and of one another" if state.start else "one another"
        return (
            f"drift: since image {state.alarm_at} of {state.n_images} the scores are no longer like {what}: the camera "
            "or the product changed, or defects come more often, or the images are not in the order of arrival. Alarm "
            f"level {state.level:g}, reached without a change in at most {1 / state.level:.3g} of the periods. No "
            "threshold was moved."
        )

    def _read(self, file: Path, start: list[float], level: float) -> DriftState:
        advice = "Use another file, or remove it to begin again."
        record = parse_json(read_limited(file), str(file))
        if not isinstance(record, dict) or record.get("format") != _FORMAT or "state" not in record:
            raise ConfigError(f"{file}: is not a drift state of this vlmad. {advice}")
        state = DriftState.from_json(json.dumps(record["state"]), name=str(file))
        if record.get("detector") != self._detector or list(state.start) != start or state.level != level:
            raise ConfigError(f"{file}: belongs to another detector, calibration or alarm level. {advice}")
        return state
