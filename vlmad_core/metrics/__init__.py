"""Exact metrics on raw scores and maps: every threshold counts, ties are treated right, nothing is binned."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
