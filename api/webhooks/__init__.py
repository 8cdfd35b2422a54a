"""Tells others, over HTTP, what became of a project's jobs."""
