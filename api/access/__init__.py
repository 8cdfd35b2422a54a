"""Who may ask: keys, sessions, rates of requests, and requests that are made once."""
