"""Webhooks: HTTP notifications about a project's jobs and models."""
