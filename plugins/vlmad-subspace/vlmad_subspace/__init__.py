"""How far a region lies outside the subspace that normal regions span."""
