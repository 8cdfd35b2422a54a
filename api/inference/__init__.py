"""Checkpoints in memory, and images in batches. Torch is loaded with the first checkpoint."""
