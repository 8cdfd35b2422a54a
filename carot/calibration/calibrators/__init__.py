"""Maps from logits to calibrated probabilities, and how each is fitted."""
