"""Patch tokens in which the background of an object cannot look defective."""
