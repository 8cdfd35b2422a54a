"""Jobs: submitted, checked, followed, asked to stop."""
