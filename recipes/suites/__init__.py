"""Evaluation suites as data: `NAME.yaml` holds `description` and `rows` (`carot.suites`)."""
