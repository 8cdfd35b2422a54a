"""Comparisons: two to ten models on the same images."""
