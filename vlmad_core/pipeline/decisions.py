"""A detector that decides: its calibration, the rule that follows from it, and the verdict on a prediction."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmad_core.contracts.data import Prediction
from vlmad_core.errors import ConfigError
from vlmad_core.inspection.calibration import Calibration, Fingerprint
from vlmad_core.inspection.pixel_rule import PixelRule, make_pixel_rule
from vlmad_core.inspection.rule import DecisionRule, make_rule
from vlmad_core.inspection.verdict import Verdict, uncalibrated
from vlmad_core.pipeline.assembly import Assembly
from vlmad_core.pipeline.tile_kind import other_kind

__all__ = ["Decisions", "StoredCalibration", "class_distance"]

_NONE = "the detector has no calibration. `vlmad calibrate`, or detector.calibrate('images of good parts'), makes one."
_MOST_RULES = 256


@dataclass(frozen=True, eq=False)
class StoredCalibration:
    """A calibration with the class tokens of its normal images, which a verdict compares with.

    Args:
        calibration: Scores of the normal images.
        tokens: ``references`` and ``held_out`` to ``[n, D]``, unit length, in the order of the calibration; a name is
            missing where the extractor gives no class token.
    """

    calibration: Calibration
    tokens: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def tokens_of(self, source: str) -> NDArray[np.float32] | None:
        """Those of the normals that a rule rests on."""
        return self.tokens.get("held_out" if source == "held-out" else "references")


def class_distance(token: NDArray[np.float32], tokens: NDArray[np.float32]) -> NDArray[np.float64]:
    """One minus the cosine to each of several class tokens, in [0, 2].

    Args:
        token: ``[D]``, unit length.
        tokens: ``[n, D]``, unit length.

    Returns:
        ``[n]``.
    """
    cosines = tokens.astype(np.float64) @ token.astype(np.float64)
    return np.clip(1 - cosines, 0, 2)


class Decisions(Assembly):
    """What a pipeline knows about deciding; `Pipeline` adds how it is calibrated."""

    @property
    def calibration(self) -> Calibration | None:
        """Scores of normal images, or None; see `Pipeline.calibrate`."""
        return None if self.stored_calibration is None else self.stored_calibration.calibration

    @property
    def has_tiles(self) -> bool:
        """Whether large images are also read in tiles."""
        return self.views is not None and self.views.tiles is not None

    def fingerprint(self) -> Fingerprint:
        """Hashes of everything that the scores depend on; a calibration of another fingerprint is stale."""
        provenance = dict(self.backbone.provenance)
        spec = self.spec.model_dump(mode="json") if self.spec is not None else None
        if spec is not None and provenance.get("sha256"):  # the same weights elsewhere are the same weights
            config = spec["backbone"].get("config") or {}
            spec["backbone"]["config"] = {k: v for k, v in config.items() if k not in ("pretrained", "device")}
        views = [] if self.views is None else [repr(self.views)]
        about = json.dumps([spec, self.class_name, self.bits, provenance.get("sha256"), *views], sort_keys=True)
        weights = hashlib.sha256()
        for name, tensor in sorted(self.state_dict().items()):
            # Colours, and where normal rows come from: no score depends on them.
            if name != "normal_range" and not name.rpartition(".")[2].startswith("origins_"):
                plain = tensor.detach().cpu().contiguous().reshape(-1)
                plain = plain.float() if plain.dtype.itemsize == 2 else plain  # numpy knows no bfloat16
                weights.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
                weights.update(
                    plain.numpy().tobytes() if plain.dtype.itemsize != 2 else plain.float().numpy().tobytes()
                )
        height, width = self.backbone.preprocess.size
        dtype = str(self.backbone.dtype).removeprefix("torch.")
        return Fingerprint(_hash(about.encode()), (height, width), dtype, weights.hexdigest())

    def decision_rule(
        self, false_alarms: float | None = None, *, review: float | None = None, confidence: float | None = None
    ) -> DecisionRule:
        """Thresholds for a false-alarm rate; nothing is fitted. See `vlmad_core.inspection.rule.make_rule`.

        Raises:
            ConfigError: There is no calibration, it belongs to another detector, or it cannot carry the rate.
        """
        stored = self._checked()
        key = ("rule", false_alarms, review, confidence)
        rule: DecisionRule = self._remembered(
            key,
            lambda: make_rule(stored.calibration, false_alarms=false_alarms, review=review, confidence=confidence),
        )
        return rule

    def pixel_rule(self, max_share: float | None = None) -> PixelRule:
        """The threshold of regions, in units of ``raw_map``; see `vlmad_core.inspection.pixel_rule.make_pixel_rule`.

        Raises:
            ConfigError: As `decision_rule`.
        """
        stored = self._checked()
        rule: PixelRule = self._remembered(
            ("pixels", max_share), lambda: make_pixel_rule(stored.calibration, max_share)
        )
        return rule

    def verdict(
        self,
        prediction: Prediction,
        false_alarms: float | None = None,
        confidence: float | None = None,
        *,
        review: float | None = None,
    ) -> Verdict:
        """Decide on one image.

        Args:
            prediction: Of this detector.
            false_alarms: Rate of good images that may be rejected, in (0, 1). None: 0.01, or 0.05 where the normals are
                fewer than 99; with fewer than 19 the verdict is ``uncalibrated``.
            confidence: The rate must hold with this probability, in (0, 1), not only on average.
            review: Rate of good images that may be rejected or reviewed; see `decision_rule`.

        Raises:
            ConfigError: The calibration belongs to another detector, or it cannot carry a rate that was asked for.
        """
        if self.stored_calibration is None and false_alarms is None and confidence is None and review is None:
            return uncalibrated(prediction.score, _NONE)
        stored = self._checked()
        if self.has_tiles and (
            problem := other_kind(stored.calibration, prediction.tiles, prediction.size, prediction.path)
        ):
            return uncalibrated(prediction.score, problem)
        try:
            rule = self.decision_rule(false_alarms, review=review, confidence=confidence)
        except ConfigError as error:
            if false_alarms is not None or confidence is not None or review is not None:
                raise
            return uncalibrated(prediction.score, str(error))
        return rule.verdict(prediction.score, self.distance_to_normals(prediction, rule))

    def distance_to_normals(self, prediction: Prediction, rule: DecisionRule) -> float | None:
        """Of the class token to the nearest of the normals that a rule rests on; None where there are no tokens."""
        tokens = None if self.stored_calibration is None else self.stored_calibration.tokens_of(rule.source)
        if tokens is None or not len(tokens) or prediction.class_token is None:
            return None
        return float(class_distance(prediction.class_token, tokens).min())

    # -- insides

    def _checked(self) -> StoredCalibration:
        """The calibration, if it is one of this detector as it is now."""
        stored = self.stored_calibration
        if stored is None:
            raise ConfigError(_NONE)
        tensors = [(id(tensor), tensor._version) for tensor in (*self.parameters(), *self.buffers())]
        size = (self.backbone.preprocess.size, self.views)
        key = (id(stored), self.class_name, str(self.backbone.dtype), size, *tensors)
        if self._rules.get("key") != key:
            stored.calibration.check_detector(self.fingerprint())
            tensors = [(id(tensor), tensor._version) for tensor in (*self.parameters(), *self.buffers())]
            key = (id(stored), self.class_name, str(self.backbone.dtype), size, *tensors)
            self._rules = {"key": key}
        return stored

    def _remembered(self, key: Hashable, make: Any) -> Any:
        if key not in self._rules:
            if len(self._rules) >= _MOST_RULES:  # a slider, or a server, asks for any number of rates
                self._rules.clear()
            self._rules[key] = make()
        return self._rules[key]


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
