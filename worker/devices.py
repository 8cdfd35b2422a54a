"""Which GPUs a worker has, asked of the driver: torch is for the trainer's process only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

QUERY = ("nvidia-smi", "--query-gpu=index,uuid,memory.total,name", "--format=csv,noheader,nounits")
SECONDS = 20.0
DRIVER = Path("/proc/driver/nvidia/gpus")
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Device:
    """A GPU. `memory_bytes` is None where only the driver's files were there to read."""

    name: str
    memory_bytes: int | None


def devices(
    command: Sequence[str] = QUERY,
    driver: Path = DRIVER,
    environment: Mapping[str, str] = os.environ,
) -> list[dict[str, Any]]:
    """The GPUs that a trainer started here may use, as data; none on a machine without.

    `CUDA_VISIBLE_DEVICES` is heeded; the numbers in it are taken to be the driver's, as with
    `CUDA_DEVICE_ORDER=PCI_BUS_ID`.
    """
    found = _asked(command)
    if found is None:
        return [asdict(device) for device in _from_driver(driver)]
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    return [asdict(device) for device in _visible(found, visible)]


Listed = tuple[str, str, Device]
"""Number, unique name, and the device."""


def _asked(command: Sequence[str]) -> list[Listed] | None:
    """What `nvidia-smi` says; None where there is none, or it fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    lines = (line.split(",", 3) for line in done.stdout.splitlines())
    return [_listed(*map(str.strip, parts)) for parts in lines if len(parts) == 4]


def _listed(number: str, unique: str, mebibytes: str, name: str) -> Listed:
    memory = int(mebibytes) * MEBIBYTE if mebibytes.isdecimal() else None
    return number, unique, Device(name, memory)


def _visible(found: Sequence[Listed], visible: str | None) -> list[Device]:
    """As CUDA reads the variable: what it does not know hides whatever follows."""
    if visible is None:
        return [device for _, _, device in found]
    chosen: list[Device] = []
    for wanted in map(str.strip, visible.split(",")):
        match = [
            device
            for number, unique, device in found
            if wanted == number or (wanted.startswith("GPU-") and unique.startswith(wanted))
        ]
        if len(match) != 1:
            break
        chosen += match
    return chosen


def _from_driver(driver: Path) -> list[Device]:
    """The names in the driver's own files, for containers without `nvidia-smi`."""
    names = []
    for path in sorted(driver.glob("*/information")):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        names += [
            value.strip() for key, _, value in (li.partition(":") for li in lines) if key == "Model"
        ]
    return [Device(name, None) for name in names]
