"""Projects, keys, sessions and idempotency keys."""
