"""From a model and data sets to a report."""
