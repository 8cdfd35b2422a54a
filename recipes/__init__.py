"""Presets as data: `NAME.yaml` holds `description`, `source`, `method` and `training`."""
