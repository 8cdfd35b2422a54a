"""Trainers that are forked: their ends, their signals, and what they take along."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from carot.events import EVENT, Failed
from tests.paths import ROOT
from worker.child import FAILED
from worker.launch import SHARED, Forked, ForkServer, start_server, trainer_environment
from worker.trainer_process import COMMAND, TrainerProcess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="trainers are forked on Linux only"),
]
PATIENCE_SECONDS = 300.0


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for all tests of this file that do not kill it."""
    process, path = start_server(tmp_path_factory.mktemp("server"))
    with process:
        yield str(path)
        assert process.stdin is not None
        process.stdin.close()  # as when its owner is gone
        assert process.wait(PATIENCE_SECONDS) == 0
    assert not path.parent.exists()


@pytest.fixture
def shared(address: str, monkeypatch: pytest.MonkeyPatch) -> ForkServer:
    monkeypatch.setenv(SHARED, address)
    return ForkServer()


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer]:
    monkeypatch.delenv(SHARED, raising=False)
    server = ForkServer()
    yield server
    server.close()


def waiting(folder: Path) -> Path:
    """The folder of a trainer that waits for its spec."""
    folder.mkdir()
    os.mkfifo(folder / "spec.json")
    return folder


def bad(folder: Path) -> Path:
    """The folder of a trainer that ends at once with a failure."""
    folder.mkdir()
    spec = {
        "kind": "evaluate",
        "model": {"architecture": "carot-mini"},
        "dataset": "folder:nowhere",
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    return folder


@contextmanager
def fork(server: ForkServer, folder: Path) -> Iterator[Forked]:
    forked = server.fork(folder, trainer_environment())
    assert forked is not None
    with forked.stdout, forked.stderr:
        yield forked
        forked.signal(signal.SIGKILL, group=True)
        assert forked.wait() == -signal.SIGKILL


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def end(trainer: TrainerProcess) -> int:
    until(lambda: trainer.poll() is not None)
    code = trainer.poll()
    assert code is not None
    return code


def test_what_it_says_and_how_it_ends_is_heard(shared: ForkServer, tmp_path: Path) -> None:
    lines: list[bytes] = []
    trainer = TrainerProcess(COMMAND, bad(tmp_path / "run"), lines.append, shared)
    assert end(trainer) == FAILED
    [*_, last] = [EVENT.validate_json(line) for line in lines]
    assert isinstance(last, Failed)
    assert last.field == "dataset"


def test_it_leads_a_session_and_keeps_no_descriptor_of_the_server(
    shared: ForkServer, tmp_path: Path
) -> None:
    here = tmp_path / "second"
    with fork(shared, waiting(tmp_path / "first")), fork(shared, waiting(here)) as second:
        assert os.getsid(second.pid) == os.getpgid(second.pid) == second.pid
        until(lambda: Path(f"/proc/{second.pid}/cwd").readlink() == here)
        held = [str(each.readlink()) for each in Path(f"/proc/{second.pid}/fd").iterdir()]
        assert not [each for each in held if each.startswith(("socket:", "anon_inode:"))]


def test_it_stops_when_asked(shared: ForkServer, tmp_path: Path) -> None:
    trainer = TrainerProcess(COMMAND, waiting(tmp_path / "run"), print, shared)
    trainer.stop(grace_seconds=0.5)  # it waits for its spec, so the grace passes
    assert end(trainer) < 0


def test_limits_are_those_of_its_supervisor(shared: ForkServer, tmp_path: Path) -> None:
    before, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    folder = waiting(tmp_path / "run")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before - 1, highest))
    try:
        with fork(shared, folder) as forked:
            until(lambda: Path(f"/proc/{forked.pid}/cwd").readlink() == folder)
            limits = Path(f"/proc/{forked.pid}/limits").read_text().splitlines()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, highest))
    assert f" {before - 1} " in next(each for each in limits if "open files" in each)


def test_another_interpreter_is_wanted_where_variables_say_so(
    shared: ForkServer, tmp_path: Path
) -> None:
    environment = trainer_environment() | {"OMP_NUM_THREADS": "97"}
    assert shared.fork(bad(tmp_path / "run"), environment) is None


def test_it_ends_with_its_client(address: str, tmp_path: Path) -> None:
    waiting(tmp_path / "run")
    program = """
import os, sys
from pathlib import Path
from worker.launch import ForkServer, trainer_environment
print(ForkServer().fork(Path(sys.argv[1]), trainer_environment()).pid, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "run")],
        env=trainer_environment() | {SHARED: address},
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    pid = int(done.stdout)
    until(lambda: not is_alive(pid))


def test_it_ends_with_the_server_and_the_next_has_another(own: ForkServer, tmp_path: Path) -> None:
    trainer = TrainerProcess(COMMAND, waiting(tmp_path / "run"), print, own)
    process = own._process
    assert process is not None
    process.kill()
    assert end(trainer) == -signal.SIGKILL
    until(lambda: not is_alive(trainer.pid))
    again = TrainerProcess(COMMAND, bad(tmp_path / "again"), lambda _: None, own)
    assert end(again) == FAILED
    assert own._process is not process


def test_nothing_of_a_crash_is_passed_on(own: ForkServer, tmp_path: Path) -> None:
    trainer = TrainerProcess(COMMAND, waiting(tmp_path / "run"), print, own)
    os.kill(trainer.pid, signal.SIGSEGV)
    assert end(trainer) == -signal.SIGSEGV
    assert own._process is None
