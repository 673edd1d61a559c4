"""Detectors over HTTP, and a page on which a person enrols products, inspects parts and sets thresholds."""
