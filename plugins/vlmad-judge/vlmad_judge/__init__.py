"""A multimodal language model as a second opinion on what a detector decided."""
