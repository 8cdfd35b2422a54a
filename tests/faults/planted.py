"""The faults that are planted: plausible mistakes in what people rely on most."""

from __future__ import annotations

from tests.faults import (
    planted_access,
    planted_archives,
    planted_dashboard,
    planted_data,
    planted_jobs,
    planted_routes,
    planted_science,
    planted_sets,
)
from tests.faults.fault import Fault

PLANTED: tuple[Fault, ...] = (
    *planted_jobs.FAULTS,
    *planted_science.FAULTS,
    *planted_sets.FAULTS,
    *planted_archives.FAULTS,
    *planted_data.FAULTS,
    *planted_access.FAULTS,
    *planted_routes.FAULTS,
    *planted_dashboard.FAULTS,
)
