"""The version of every distribution of vlmad; they move together."""

__version__ = "0.1.0"
