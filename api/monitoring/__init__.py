"""Whether confidences still hold: labels, live calibration, recalibration."""
