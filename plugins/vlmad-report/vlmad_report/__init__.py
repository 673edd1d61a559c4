"""One HTML page of the results of vlmad predict, for a person who decides."""
