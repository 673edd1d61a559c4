"""How a detector holds under corruptions, other light and adversarial images, at its own threshold."""
