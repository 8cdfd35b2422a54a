"""Projects, keys, sessions, and requests that are made once."""
