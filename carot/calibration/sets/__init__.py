"""What calibration images guarantee: prediction sets, risks, evidence, shift."""
