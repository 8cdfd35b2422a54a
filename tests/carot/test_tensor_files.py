"""Tensor files: equal contents give equal bytes, whichever process writes them."""

import ast
import subprocess
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load

from carot.tensor_files import to_bytes, write
from tests.paths import ROOT

WRITES = """
import sys
from pathlib import Path

import torch

from carot.calibration.sets.shift_score import ShiftScore
from carot.calibration.sets.unseen_score import UnseenScore
from carot.tensor_files import write

folder = Path(sys.argv[1])
folder.mkdir()
ones, more, most = (torch.full((3,), 1.0 + n, dtype=torch.float64) for n in range(3))
shift = ShiftScore("calibration", ones, torch.eye(3, dtype=torch.float64), more)
(folder / "shift_score").write_bytes(shift.to_bytes())
(folder / "unseen_score").write_bytes(UnseenScore("calibration", ones, more, most).to_bytes())
write({"b": ones, "a": more}, folder / "file", {f"key {n}": "é\\n\\"" for n in range(20)})
"""


def test_two_processes_write_equal_bytes(tmp_path: Path) -> None:
    """Twenty keys in a random order agree by chance once in 10^18 times."""
    for name in ("one", "two"):
        subprocess.run([sys.executable, "-c", WRITES, str(tmp_path / name)], check=True, cwd=ROOT)
    names = ("shift_score", "unseen_score", "file")
    one, two = ([(tmp_path / run / name).read_bytes() for name in names] for run in ("one", "two"))
    assert one == two


def test_files_and_bytes_are_the_same_and_the_library_reads_them(tmp_path: Path) -> None:
    tensors = {"z": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([1, 2]), "h": torch.ones(1)}
    metadata = {"split": "é „x“ \u2028\x7f\x01\t\\", "format": "pt", "chosen": "", "möglich": "{}"}
    path = tmp_path / "some.safetensors"
    write(tensors, path, metadata)
    data = path.read_bytes()
    assert data == to_bytes(tensors, metadata)
    with safe_open(path, framework="pt") as opened:
        assert opened.metadata() == metadata
    read = load(data)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], each) for name, each in tensors.items())
    assert data.index(b'"chosen"') < data.index(b'"format"') < data.index(b'"split"')


def test_nothing_in_the_product_writes_tensors_another_way() -> None:
    others = []
    for package in ("api", "carot", "cli", "store", "worker"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module == "safetensors.torch":
                    names = {alias.name for alias in node.names}
                    others += [str(path.relative_to(ROOT))] * bool(names & {"save", "save_file"})
    assert others == ["carot/tensor_files.py"]
