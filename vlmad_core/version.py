"""The version of every distribution of vlmad; they move together."""

__all__ = ["__version__"]

__version__ = "0.1.0"
