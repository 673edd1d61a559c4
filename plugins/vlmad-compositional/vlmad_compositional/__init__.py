"""Compositional prompt ensembles: states of an object times templates of a sentence."""
