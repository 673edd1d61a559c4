"""Residual adapters in both towers of a frozen model."""
