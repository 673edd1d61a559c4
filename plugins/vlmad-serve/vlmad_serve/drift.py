"""Has the camera or the product changed? The test of ``vlmad_core.inspection.drift`` on the scores of each detector."""

from __future__ import annotations

import threading

from vlmad_core.inspection.drift import DriftState, step
from vlmad_serve.audit import write_audit
from vlmad_serve.detectors import Version
from vlmad_serve.store import Store

__all__ = ["DriftMonitor"]

_SAVED_EVERY = 50


class DriftMonitor:
    """The state of each detector; it is saved from time to time and caught up from the results after a restart.

    Args:
        store: With the results.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._states: dict[str, tuple[int, DriftState]] = {}
        self._last: dict[str, str] = {}
        self._unsaved: dict[str, int] = {}
        self._lock = threading.Lock()

    def take(self, version: Version, result: str, score: float) -> float:
        """Take in one score, in the order of arrival.

        Args:
            version: That gave it; another version starts a new period, since its scores are on another scale.
            result: Number of the result.
            score: Of the image.

        Returns:
            Natural logarithm of the capital after it.
        """
        with self._lock:
            name = version.detector
            before = self._state(version)
            _, after = step(score, before)
            self._states[name] = version.number, after
            self._last[name] = result
            self._unsaved[name] = self._unsaved.get(name, 0) + 1
            if after.is_alarm and not before.is_alarm:
                write_audit(self._store, name, "drift", "server", image=after.alarm_at, result=result)
            if self._unsaved[name] >= _SAVED_EVERY:
                self._save(name)
            return after.log_capital

    def state(self, version: Version) -> DriftState:
        """As it is now."""
        with self._lock:
            return self._state(version)

    def acknowledge(self, version: Version, by: str) -> None:
        """A person has taken note: no alarm, and a new period."""
        with self._lock:
            before = self._state(version)
            self._states[version.detector] = version.number, before.acknowledged()
            self._save(version.detector)
            write_audit(self._store, version.detector, "drift acknowledged", by, image=before.alarm_at)

    def save(self) -> None:
        """Keep all states."""
        with self._lock:
            for name in list(self._states):
                self._save(name)

    def _state(self, version: Version) -> DriftState:
        number, state = self._states.get(version.detector, (0, None))
        if state is None:
            number, state = self._restored(version)
        if number != version.number:
            state = _begin(version)
        self._states[version.detector] = version.number, state
        return state

    def _restored(self, version: Version) -> tuple[int, DriftState]:
        name = version.detector
        row = self._store.row("SELECT version, last, state FROM drift WHERE detector = ?", [name])
        if row is None or row["version"] != version.number:
            last, state = "", _begin(version)
        else:
            last, state = row["last"], DriftState.from_json(row["state"])
        later = self._store.rows(
            "SELECT id, score FROM results WHERE detector = ? AND version = ? AND id > ? ORDER BY id",
            [name, version.number, last],
        )
        for result in later[-state.period :]:
            _, state = step(result["score"], state)
            last = result["id"]
        self._last[name] = last
        return version.number, state

    def _save(self, name: str) -> None:
        number, state = self._states[name]
        with self._store.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO drift (detector, version, last, state) VALUES (?, ?, ?, ?)",
                (name, number, self._last.get(name, ""), state.to_json()),
            )
        self._unsaved[name] = 0


def _begin(version: Version) -> DriftState:
    calibration = version.pipeline.calibration
    return DriftState.begin([] if calibration is None else [image.score for image in calibration.held_out])
