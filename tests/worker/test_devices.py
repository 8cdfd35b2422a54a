"""GPUs as the driver tells them; the driver is a script and a folder here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from worker.devices import devices

LISTING = """\
0, GPU-11111111-aaaa, 81559, NVIDIA H100 80GB HBM3
1, GPU-22222222-bbbb, 24564, NVIDIA RTX A5000, rev. 2
2, GPU-22333333-cccc, [N/A], NVIDIA GB10
"""
H100 = {"name": "NVIDIA H100 80GB HBM3", "memory_bytes": 81559 << 20}
A5000 = {"name": "NVIDIA RTX A5000, rev. 2", "memory_bytes": 24564 << 20}
GB10 = {"name": "NVIDIA GB10", "memory_bytes": None}


@pytest.fixture
def says(tmp_path: Path) -> Callable[..., tuple[str, ...]]:
    def says(text: str, status: int = 0) -> tuple[str, ...]:
        path = tmp_path / "nvidia_smi.py"
        path.write_text(f"import sys\nprint({text!r}, end='')\nsys.exit({status})\n")
        return sys.executable, str(path)

    return says


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, [H100, A5000, GB10]),
        ("1,0", [A5000, H100]),
        ("GPU-222", [A5000]),
        ("GPU-22", []),  # of two
        ("", []),
        ("-1", []),
        ("0,7,1", [H100]),
    ],
)
def test_those_that_cuda_sees(
    says: Callable[..., tuple[str, ...]], visible: str | None, expected: list[object]
) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert devices(says(LISTING), Path("/nowhere"), environment) == expected


def test_names_from_the_drivers_files(says: Callable[..., tuple[str, ...]], tmp_path: Path) -> None:
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        folder = tmp_path / "gpus" / bus
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t NVIDIA L4\nBus Location: \t {bus}\n")
    for command in (says("failed to initialise", 9), ("/nowhere/nvidia-smi",)):
        found = devices(command, tmp_path / "gpus", {})
        assert found == [{"name": "NVIDIA L4", "memory_bytes": None}] * 2


def test_none_where_there_is_no_driver() -> None:
    assert devices(("/nowhere/nvidia-smi",), Path("/nowhere"), {}) == []


def test_none_where_it_finds_none(says: Callable[..., tuple[str, ...]]) -> None:
    assert devices(says("No devices were found\n"), Path("/nowhere"), {}) == []
