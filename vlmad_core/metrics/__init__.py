"""Exact metrics on raw scores and maps: every threshold counts, ties are treated right, nothing is binned.

AUROC with its interval, average precision, F1max, AUPRO, AU-sPRO, the 200-step AUPRO of published tables, a streaming
sketch of maps with proven bounds, the bootstrap, and tests of two detectors on the same images.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
