"""Compare methods on one's own images, and write a report that recommends one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
