"""Evaluation suites as data, read by `carot.evaluation.suites`."""
