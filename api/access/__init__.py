"""Authentication and limits: keys, sessions, request rates, allowed hosts, idempotency."""
