"""The environment of processes that tests start."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.services import FOLDER, PROCESS, ensure
from worker.launch import SHARED


def plain_environment() -> dict[str, str]:
    """That of the tests without settings of the service."""
    others = ("CAROT_", "PYTEST_", "COV_", "PYTHONDONTWRITEBYTECODE")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(others)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    changes = {"PATH": path, "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    # The models are tiny: more threads than this only wait for each other.
    return kept | changes | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def service_environment() -> dict[str, str]:
    """The same for a worker, whose trainers are forked from one server of the whole session."""
    environment = plain_environment()
    if sys.platform == "linux" and FOLDER in os.environ:
        folder, process = Path(os.environ[FOLDER]), int(os.environ[PROCESS])
        environment[SHARED] = ensure("trainers", folder, process)
    return environment
