"""Predictions that were logged, and their labels."""
