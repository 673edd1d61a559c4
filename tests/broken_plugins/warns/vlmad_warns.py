"""It warns while it is imported, which is an error where warnings are errors."""

import warnings

warnings.warn("old news", DeprecationWarning, stacklevel=1)
