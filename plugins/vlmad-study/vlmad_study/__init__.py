"""The six-way comparison on one's own data: what to look at, against what, in which words, and at what price."""
