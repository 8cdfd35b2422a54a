"""Reports, down to classes and mistakes."""
