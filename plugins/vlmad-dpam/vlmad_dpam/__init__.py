"""A second, local path through a vision transformer: value-to-value attention and its relatives."""
