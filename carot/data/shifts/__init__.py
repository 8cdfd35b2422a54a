"""Images as they look after a shift."""
