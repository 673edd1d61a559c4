"""Mutual scoring: unlabelled images are compared with each other."""
