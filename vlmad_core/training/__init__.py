"""Training of whatever parts have parameters: losses, data, cached features, the loop, and states that resume."""
