"""It wants a vlmad-core of the future, and leaves a trace if it is imported all the same."""

import os

os.environ["VLMAD_WRONG_VERSION_IMPORTED"] = "1"
