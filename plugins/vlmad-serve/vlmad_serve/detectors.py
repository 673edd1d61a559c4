"""The detectors that a server has: each a product with versions on the disk, of which one is in use."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from vlmad_core.contracts.towers import Backbone
from vlmad_core.errors import ConfigError, VlmadError
from vlmad_core.files import mark_written
from vlmad_core.pipeline.build import assemble, build, load
from vlmad_core.pipeline.checkpoint import read_detector_record
from vlmad_core.pipeline.pipeline import Pipeline
from vlmad_core.pipeline.spec import PipelineSpec
from vlmad_core.run.maps import highest
from vlmad_core.run.overlay import Scale
from vlmad_core.run.verdicts import Decision
from vlmad_serve.audit import write_audit
from vlmad_serve.names import check_name, name_of
from vlmad_serve.operating import OperatingPoint, decide_at
from vlmad_serve.refusal import Refusal
from vlmad_serve.settings import ServerSettings
from vlmad_serve.store import Store

__all__ = ["Detectors", "Version"]


@dataclass(frozen=True, eq=False)
class Version:
    """A detector as it decides now; a change makes another one, so that a batch never meets two.

    Attributes:
        detector: Name of the product.
        number: From 1.
        pipeline: Never fitted again.
        decision: Its thresholds.
        point: The operating point that was chosen.
        maximum: Highest value of its maps, for files of them.
        created: Seconds since 1970.
    """

    detector: str
    number: int
    pipeline: Pipeline
    decision: Decision
    point: OperatingPoint
    maximum: float
    created: float

    @property
    def scale(self) -> Scale | None:
        """Colours of its maps."""
        return self.decision.scale(Scale.of(self.pipeline))

    def about(self) -> dict[str, Any]:
        """Its thresholds, for the audit log."""
        rule = self.decision.rule
        return {
            "version": self.number,
            "threshold": None if rule is None else rule.threshold,
            "review_threshold": None if rule is None else rule.review_threshold,
            "false_alarms": None if rule is None else rule.false_alarms,
            "promise": self.decision.reason if rule is None else rule.promise,
            "normals": 0 if rule is None else int(rule.normals.size),
        }


class Detectors:
    """All detectors of one data folder.

    Args:
        settings: Of the server.
        store: Knows the versions.
    """

    def __init__(self, settings: ServerSettings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._folder = settings.data / "detectors"
        self._current: dict[str, Version] = {}
        self._backbones: dict[str, Backbone] = {}
        self._template: tuple[PipelineSpec, dict[str, str]] | None = None
        self._lock = threading.RLock()

    # -- what is there

    def names(self) -> list[str]:
        """In alphabetical order."""
        return sorted(self._current)

    def current(self, name: str) -> Version:
        """The version in use.

        Raises:
            Refusal: 404; there is no such detector.
        """
        found = self._current.get(name)
        if found is None:
            known = ", ".join(self.names()[:20]) or "none yet; enrol a product first"
            raise Refusal(404, f"there is no detector '{name[:60]}'. Detectors here: {known}.")
        return found

    def versions(self, name: str) -> list[dict[str, Any]]:
        """All of them, the newest first, without what was refused."""
        self.current(name)
        rows = self._store.rows(
            "SELECT version, created, reason, is_active, details FROM versions WHERE detector = ? "
            "ORDER BY version DESC",
            [name],
        )
        return [{**dict(row), "is_active": bool(row["is_active"]), **json.loads(row["details"])} for row in rows]

    # -- at the start

    def open(self, paths: Iterable[Path], tell: Callable[[str], None]) -> None:
        """Load what the data folder holds, and the detectors at these paths.

        Args:
            paths: Folders that ``vlmad fit`` wrote; named after the folder.
            tell: Called with sentences for the operator.

        Raises:
            ConfigError: One of the paths holds no detector, or two have one name.
        """
        given: dict[str, Path] = {}
        for path in paths:
            name = name_of(path.resolve().name)
            if name in given:
                raise ConfigError(f"{path} and {given[name]}: both would be named '{name}'; rename one of the folders.")
            given[name] = path
        origins = {name: _origin(path) for name, path in given.items()}
        for row in self._store.rows("SELECT detector, version FROM versions WHERE is_active = 1"):
            name, number = row["detector"], row["version"]
            known = self._store.rows("SELECT origin FROM versions WHERE detector = ?", [name])
            if name in given and origins[name] not in {each["origin"] for each in known}:
                continue  # another detector of that name was given: it takes over
            try:
                self._use(self._read(name, number))
            except VlmadError as error:
                if name in given:
                    continue
                tell(
                    f"{name}: version {number} in the data folder cannot be used, and the product is left out: {error}"
                )
                continue
            if name in given:
                tell(f"{name}: version {number} of the data folder goes on, which was made from {given[name]}.")
        for name, path in given.items():
            if name not in self._current:
                self.add(name, self._load(path), reason=f"loaded from {path.name}", by="start", origin=origins[name])

    # -- changes

    def empty(self) -> Pipeline:
        """A detector of the recipe of this server that was fitted on nothing; the backbone is shared."""
        with self._lock:
            if self._template is None:
                made = build(self._settings.recipe, few_shot=True, device=self._settings.device)
                if made.spec is None or not made.memory_scorers:
                    raise ConfigError("the recipe compares with no normal images, so no product can be enrolled.")
                key = _key(made.spec.model_dump(mode="json"))
                self._backbones.setdefault(key, made.backbone)
                self._template = made.spec, dict(made.plugins)
            spec, plugins = self._template
            shared = self._backbones[_key(spec.model_dump(mode="json"))]
            pipeline = assemble(spec, backbone=shared)
            pipeline.plugins = plugins
            return pipeline

    def copy(self, name: str) -> Pipeline:
        """The detector in use once more, to be changed while the other one goes on working."""
        return self._load(self._path(name, self.current(name).number))

    def add(
        self,
        name: str,
        pipeline: Pipeline,
        *,
        reason: str,
        by: str,
        origin: str = "",
        check: Callable[[Version, Version | None], dict[str, Any]] | None = None,
    ) -> tuple[Version, dict[str, Any]]:
        """Save a detector as a new version, warm it, compare it with the one in use, and use it from then on.

        Requests that were accepted for the former version are answered by the former version.

        Args:
            name: Of the product.
            pipeline: Ready to score; it belongs to the server from now on.
            reason: Why there is a new version, for people.
            by: Who asked for it.
            origin: Identifies a folder that it was loaded from.
            check: Compares the new version with the one in use; what it gives is logged, and what it raises stops the
                change.

        Returns:
            The new version, and what ``check`` gave.
        """
        check_name(name)
        pipeline.check_ready()
        pipeline.eval()
        with self._lock:
            row = self._store.row("SELECT MAX(version) AS last FROM versions WHERE detector = ?", [name])
            number = 1 + (row["last"] or 0 if row else 0)
            former = self._current.get(name)
            point = self._point(name)
            version = self._made(name, number, pipeline, point, time.time())
            _warm(pipeline)
            compared = check(version, former) if check is not None else {}
            path = self._path(name, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            mark_written(path.parent, path.name)
            pipeline.save(path)
            details = {**version.about(), "shadow": compared}
            with self._store.writing() as connection:
                connection.execute("UPDATE versions SET is_active = 0 WHERE detector = ?", [name])
                connection.execute(
                    "INSERT INTO versions (detector, version, created, reason, origin, is_active, details) "
                    "VALUES (?, ?, ?, ?, ?, 1, ?)",
                    (name, number, version.created, reason, origin, json.dumps(details, allow_nan=False)),
                )
                before = None if former is None else former.about()
                write_audit(self._store, name, reason, by, before=before, after=version.about(), shadow=compared)
            self._use(version)
            return version, compared

    def activate(self, name: str, number: int, by: str) -> Version:
        """Use another version that is on the disk, such as the one before a correction.

        Raises:
            Refusal: 404; there is no such version.
        """
        with self._lock:
            former = self.current(name)
            row = self._store.row("SELECT 1 FROM versions WHERE detector = ? AND version = ?", [name, number])
            if row is None:
                raise Refusal(404, f"'{name}' has no version {number}.")
            version = self._read(name, number)
            _warm(version.pipeline)
            with self._store.writing() as connection:
                connection.execute("UPDATE versions SET is_active = (version = ?) WHERE detector = ?", [number, name])
                write_audit(self._store, name, "activate", by, before=former.about(), after=version.about())
            self._use(version)
            return version

    def set_point(self, name: str, point: OperatingPoint, by: str, comment: str) -> Version:
        """Decide at another false-alarm rate from now on; nothing is fitted, and the change is logged.

        Raises:
            ConfigError: The normal images cannot carry the rate; nothing has changed then.
        """
        with self._lock:
            former = self.current(name)
            decision = decide_at(former.pipeline, point)
            if decision.rule is None:
                raise ConfigError(decision.reason)
            version = replace(former, decision=decision, point=point)
            with self._store.writing() as connection:
                connection.execute(
                    "INSERT OR REPLACE INTO operating (detector, false_alarms, review, confidence) VALUES (?, ?, ?, ?)",
                    (name, point.false_alarms, point.review, point.confidence),
                )
                before, after = former.about(), version.about()
                write_audit(self._store, name, "threshold", by, before=before, after=after, comment=comment)
            self._use(version)
            return version

    # -- insides

    def _use(self, version: Version) -> None:
        self._current = {**self._current, version.detector: version}  # one step for readers in other threads

    def _read(self, name: str, number: int) -> Version:
        row = self._store.row("SELECT created FROM versions WHERE detector = ? AND version = ?", [name, number])
        created = float(row["created"]) if row else 0.0
        return self._made(name, number, self._load(self._path(name, number)), self._point(name), created)

    def _made(self, name: str, number: int, pipeline: Pipeline, point: OperatingPoint, created: float) -> Version:
        try:
            decision = decide_at(pipeline, point)
        except ConfigError as error:  # the rate that was chosen before asks for more normals than this version has
            fallback = decide_at(pipeline, OperatingPoint())
            decision = fallback if fallback.rule is not None else Decision(pipeline, None, None, str(error))
            point = OperatingPoint()
        return Version(name, number, pipeline, decision, point, highest(pipeline), created)

    def _point(self, name: str) -> OperatingPoint:
        row = self._store.row("SELECT false_alarms, review, confidence FROM operating WHERE detector = ?", [name])
        return OperatingPoint() if row is None else OperatingPoint(**dict(row))

    def _path(self, name: str, number: int) -> Path:
        return self._folder / check_name(name) / f"v{number:05d}"

    def _load(self, path: Path) -> Pipeline:
        record = read_detector_record(path, needed=["spec"])
        key = _key(record["spec"])
        pipeline = load(path, backbone=self._backbones.get(key), device=self._settings.device)
        if pipeline.views is not None:
            raise ConfigError(
                f"{path}: the server reads images stretched to the backbone's own size, and this detector was made "
                "with another image_size, scales or tiles, so its scores would differ. Fit it without."
            )
        self._backbones.setdefault(key, pipeline.backbone)
        pipeline.plugins = dict(record.get("plugins", {})) or pipeline.plugins
        pipeline.eval()
        return pipeline


def _warm(pipeline: Pipeline) -> None:
    """The first images are slow; nobody should wait for that."""
    height, width = pipeline.preprocess.size
    prediction = pipeline.predict(Image.new("RGB", (width, height), (128, 128, 128)))
    if not prediction.is_finite:
        raise ConfigError("the detector gives values that are not finite numbers; it is not used.")


def _key(spec: dict[str, Any]) -> str:
    """The same for detectors that can share a backbone."""
    return json.dumps(spec.get("backbone"), sort_keys=True, default=str)


def _origin(path: Path) -> str:
    record = read_detector_record(path)
    calibration = path / "calibration.json"
    rest = calibration.read_bytes() if calibration.is_file() else b""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode() + rest).hexdigest()
