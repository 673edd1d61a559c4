"""Runs a detector that `vlmad export` wrote, without torch: ``vlmad_edge.load("nut.onnx").predict("x.png")``."""

from __future__ import annotations

from vlmad_edge.detector import EdgeDetector, load
from vlmad_edge.prediction import Prediction

__all__ = ["EdgeDetector", "Prediction", "load"]
