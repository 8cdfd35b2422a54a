"""Backups and how they are restored."""
