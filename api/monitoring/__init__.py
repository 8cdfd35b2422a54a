"""Monitoring of confidences: labels, live calibration, recalibration."""
