"""Deletion, by request or by age."""
