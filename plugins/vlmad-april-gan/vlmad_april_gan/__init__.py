"""APRIL-GAN: learned linear maps from the patch tokens of several blocks to the space of the text."""
