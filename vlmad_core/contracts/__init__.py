"""The contracts between parts: the data that flows, open towers, base classes of parts, shared operations, images."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
