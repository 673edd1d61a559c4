"""Learned prompts for normal and abnormal, and AnomalyCLIP."""
