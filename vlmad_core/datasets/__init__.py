"""Data sets: samples with labels and masks, from the layouts in which the field publishes them."""
