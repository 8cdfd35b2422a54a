"""Metrics over whole data sets, reliability curves and calibrators."""
