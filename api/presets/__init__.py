"""Presets, by name."""
