"""Jobs: states, transitions, claims, events."""
