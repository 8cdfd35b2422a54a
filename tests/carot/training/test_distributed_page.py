"""docs/distributed.md: its program trains, alone and under torchrun's variables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.carot.run.listener import finetune
from tests.carot.tiny import save_tiny, write_images
from tests.paths import DOCS, ROOT

PAGE = (DOCS / "distributed.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_program_of_the_page_runs_under_torchrun(tmp_path: Path) -> None:
    [program] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "program.py").write_text(program)
    for split in ("train", "calibration", "test"):
        write_images(tmp_path / "images" / split, each=8)
    spec = finetune(save_tiny(tmp_path / "model"), tmp_path / "images")
    (tmp_path / "spec.json").write_text(spec.model_dump_json())
    options = ["--standalone", "--local-addr=localhost", "--nproc-per-node=2"]
    settings = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *options, "program.py"],
        cwd=tmp_path,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "report.json").exists()


def test_the_command_of_the_page_is_the_workers() -> None:
    from worker.trainer_process import trainer_command

    [command] = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    assert command.split()[1:] == [*trainer_command(2)[1:], "run"]
