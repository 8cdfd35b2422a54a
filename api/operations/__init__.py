"""For operators: health, readiness, measurements."""
