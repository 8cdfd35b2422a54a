"""Checkpoints, aliases, calibrators, and what labels say about them."""
