"""The trainer process itself: what it says, how it ends, and that it dies with its supervisor."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from carot.events import EVENT
from store.jobs.states import JobState
from tests.acceptance.stored import store_tiny
from tests.worker.conftest import SPEC, Workshop, is_alive
from worker.supervisor import Supervisor

# Real trainer processes; one of them trains.
pytestmark = pytest.mark.acceptance


def child(folder: Path, spec: dict[str, Any], **environment: str) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    (folder / "spec.json").write_text(json.dumps({"kind": "finetune", **spec}))
    return subprocess.Popen(
        [sys.executable, "-m", "worker.child", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | environment,
    )


def test_prints_do_not_get_between_the_events(tmp_path: Path) -> None:
    program = """
import os, subprocess, sys
from worker import child
from carot.events import PhaseStarted
reporter = child.LineReporter(child.own_stdout())
print("printed")
os.system("echo from a shell")
reporter.report(PhaseStarted(phase="saving"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert [EVENT.validate_json(line).type for line in done.stdout.splitlines()] == [
        "phase_started"
    ]
    assert sorted(done.stderr.split()) == [b"a", b"from", b"printed", b"shell"]


def hears_sigterm(pid: int) -> bool:
    """Whether a process has a handler of its own; the trainer sets it once it is tied to us."""
    with contextlib.suppress(FileNotFoundError):
        status = Path(f"/proc/{pid}/status").read_text()
        [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
        return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)
    return False


def test_it_does_not_outlive_its_supervisor(tmp_path: Path) -> None:
    """The supervisor is killed without a chance to say goodbye."""
    program = f"""
import sys, time
from pathlib import Path
from worker.trainer_process import TrainerProcess
trainer = TrainerProcess([sys.executable, "-m", "worker.child"], Path({str(tmp_path)!r}), print)
print(trainer.pid, flush=True)
time.sleep(600)
"""
    spec = SPEC | {"training": {"epochs": 10_000}, "kind": "finetune"}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    supervisor = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert supervisor.stdout is not None
    pid = int(supervisor.stdout.readline())
    deadline = time.monotonic() + 60
    while not hears_sigterm(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    deadline = time.monotonic() + 20
    while is_alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_orphan_does_not_even_begin(tmp_path: Path) -> None:
    process = child(tmp_path, SPEC, CAROT_SUPERVISOR_PID="1")
    out, _ = process.communicate()
    assert (process.returncode, out) == (3, b"")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_real_run_stopped_in_the_middle_goes_on_and_ends_well(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    tiny = store_tiny(workshop.database, workshop.artifacts, tmp_path)
    training = {"epochs": 150, "batch_size": 12, "learning_rate": 1e-3}
    job_id = workshop.job(**tiny, training=training)
    supervisor = Supervisor(
        workshop.settings.model_copy(
            update={"cancel_grace_seconds": 120, "heartbeat_seconds": 0.2}
        ),
        workshop.database,
        workshop.artifacts,
        worker="tester",
        stopping=workshop.stopping,
    )
    thread = threading.Thread(target=supervisor.run_one, daemon=True)
    thread.start()
    workshop.until_step(job_id, 1)
    workshop.stopping.set()
    thread.join(150)
    job = workshop.look(job_id)
    assert job.state == JobState.QUEUED, workshop.events(job_id)[-1].message
    assert job.snapshot_step is not None
    workshop.stopping.clear()
    supervisor.run_one()
    job = workshop.look(job_id)
    assert job.state == JobState.SUCCEEDED, workshop.events(job_id)[-1].message
    warnings = [row.message for row in workshop.events(job_id) if row.type == "warning"]
    # So few images determine no temperature; nothing else is to be said.
    assert [each for each in warnings if "calibration images do not" not in each] == []
