"""The `carot` command."""
