"""The HTTP face of the service. Imports neither torch nor Celery's worker."""
