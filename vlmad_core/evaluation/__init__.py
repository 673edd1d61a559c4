"""How good is it: exact metrics on raw scores and maps."""
