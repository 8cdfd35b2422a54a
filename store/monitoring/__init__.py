"""Statistics over all jobs and models."""
