"""vlmad: find defects in images with vision-language models, from parts that anyone can exchange.

The public names are listed in ``__init__.pyi``; each is imported on first use, so that ``import vlmad_core`` costs
nothing. Authors of parts find theirs in :mod:`vlmad_core.registry` and :mod:`vlmad_core.contracts`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
