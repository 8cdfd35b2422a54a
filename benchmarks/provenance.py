"""Where and with what a result was measured, and the one way of writing it down."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
# What benchmarks write does not alter what they measure.
OUTPUTS = ("benchmarks/results", "docs/img")


def provenance() -> dict[str, Any]:
    """Machine, versions, commit and day (UTC) of a measurement; no host names, no paths.

    Commit and day are those of the process' start, see `revision`.
    """
    return {
        "machine": {
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": importlib.metadata.version("numpy"),
            "open_clip": importlib.metadata.version("open_clip_torch"),
        },
        **STARTED,
    }


def write_results(path: Path, document: Mapping[str, Any]) -> None:
    """Write `document` as JSON with `provenance` in front, and make the folder if need be.

    Raises:
        ValueError: `document` holds a number that JSON lacks (NaN, infinity).
    """
    whole = {"provenance": provenance(), **document}
    text = json.dumps(whole, indent=2, allow_nan=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def cpu_model() -> str:
    """The processor's name as the system tells it, or its architecture."""
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def revision() -> dict[str, Any]:
    """Commit, whether files other than results and plots differ from it, and today's date.

    Outside a git checkout the first two are None.
    """
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--", ".", *(f":!{path}" for path in OUTPUTS))
    dirty = None if commit is None or changes is None else changes != ""
    return {"commit": commit, "dirty": dirty, "date": datetime.now(UTC).date().isoformat()}


def _git(*arguments: str) -> str | None:
    """What git prints about this checkout; None where there is no git or no checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


# A checkout may move on while a measurement runs; what runs is what was there at the start.
STARTED = revision()
