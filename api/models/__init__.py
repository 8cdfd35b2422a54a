"""Checkpoints, and the aliases that point to them."""
