"""Figures of calibration and accuracy over whole sets, with their intervals."""
