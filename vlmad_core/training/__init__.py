"""Train the parts of a detector that have parameters: losses, data, cached features, the loop, states that resume."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
