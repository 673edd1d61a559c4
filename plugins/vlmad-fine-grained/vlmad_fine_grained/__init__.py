"""Parts of a product, counted and placed: which is missing, extra or moved, in words."""
