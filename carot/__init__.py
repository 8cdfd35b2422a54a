"""CaRot: calibrated, robust fine-tuning of CLIP-like models.

Importing this package loads no torch: specs, errors and events are for every process.
"""

__version__ = "0.1.0"
