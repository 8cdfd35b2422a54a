"""How many threads linear algebra has, and how they wait. To be said before torch is loaded.

OpenMP's threads spin while they wait for each other. With another busy process on the machine, one
of them is often not running, and the others burn their cores until it does: a step costs several
times the processor time (`findings/torch_threads_beside_a_busy_process.sh`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""For GNU's OpenMP, which PyTorch's wheels have, and for Intel's."""
COUNT = "OMP_NUM_THREADS"
CGROUP = Path("/sys/fs/cgroup")


def available_cores(cgroup: Path = CGROUP) -> int:
    """Those that this process may use: by its affinity and by the quota of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _quota(cgroup)
    return max(1, min(cores or 1, math.ceil(quota) if quota is not None else cores or 1))


def with_threads(environment: Mapping[str, str], cgroup: Path = CGROUP) -> dict[str, str]:
    """Variables for a process that loads torch; what is said already stays."""
    said = PASSIVE | dict(environment)
    if COUNT not in said and _quota(cgroup) is not None:
        said[COUNT] = str(available_cores(cgroup))
    return said


def prepare() -> None:
    """The same for this process; without effect on a torch that is loaded."""
    os.environ.update(with_threads(os.environ))


def _quota(cgroup: Path) -> float | None:
    """Cores' worth of time of the control group, of version 2 or else 1; None for no limit."""
    try:
        limit, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        try:
            limit = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        except OSError:
            return None
    try:
        quota = int(limit) / int(period)
    except ValueError:  # `max`
        return None
    return quota if quota > 0 else None
