"""Predictions with calibrated confidence, and the log of them."""
