"""Calibrators made for shift: they look at zero-shot logits, unlabelled images or other domains."""
