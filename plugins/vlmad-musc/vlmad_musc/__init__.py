"""Mutual scoring: images without labels judge each other."""
