"""The entry point that does not."""

raise RuntimeError("this half is broken")
