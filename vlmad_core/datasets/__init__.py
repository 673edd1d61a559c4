"""Layouts of data sets: what they hold, how they are read and checked. Reading is free of torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
