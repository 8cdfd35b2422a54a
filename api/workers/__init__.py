"""Workers, to look at."""
