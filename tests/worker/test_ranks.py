"""Trainers of two processes, as a supervisor starts them: what they say, and how they end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from carot.data.formats.folder import open_folder
from carot.data.order import epoch_order
from carot.events import EVENT, AnyEvent
from tests.carot.tiny import save_tiny, write_images
from tests.worker.conftest import is_alive
from worker.ranks import status_of
from worker.trainer_process import COMMAND, TrainerProcess, trainer_command

PATIENCE_SECONDS = 90.0
slow = pytest.mark.slow


class Trained:
    """A job of a tiny model on drawn images, and its trainer."""

    def __init__(self, folder: Path, **training: Any) -> None:
        self.folder = folder
        write_images(folder / "images" / "train", each=10)
        write_images(folder / "images" / "test", each=4)
        write_images(folder / "images" / "calibration", each=4)
        save_tiny(folder / "model")
        spec = {
            "kind": "finetune",
            "model": {"folder": "model"},
            "dataset": "folder:images",
            "method": {"name": "carot", "anchor": {"weight": 1.0}},
            "training": {"batch_size": 5, "snapshot_every": 100_000, **training},
        }
        (folder / "spec.json").write_text(json.dumps(spec))
        self.lines: list[bytes] = []
        self.trainer: TrainerProcess | None = None

    def start(self, processes: int = 2) -> TrainerProcess:
        command = trainer_command(processes)
        self.trainer = TrainerProcess(command, self.folder, self.lines.append)
        return self.trainer

    def close(self) -> None:
        if self.trainer is not None:
            self.trainer.close()

    def events(self, kind: str = "") -> list[AnyEvent]:
        found = [EVENT.validate_json(line) for line in list(self.lines)]
        return [event for event in found if kind in ("", event.type)]

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.trainer and self.trainer.last_words()
            time.sleep(0.02)

    def end(self) -> int:
        assert self.trainer is not None
        trainer = self.trainer
        self.until(lambda: trainer.poll() is not None)
        code = trainer.poll()
        assert code is not None
        return code

    def until_it_trains(self) -> list[int]:
        """The processes that train, by rank."""
        self.until(lambda: self.events("step_done"))
        assert self.trainer is not None
        return processes_of(self.trainer.pid)


def processes_of(agent: int) -> list[int]:
    """The two processes that an agent has started, by rank."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            if parent == agent:
                settings = (stat.parent / "environ").read_bytes().split(b"\0")
                rank = next(s for s in settings if s.startswith(b"RANK="))
                found[int(rank.partition(b"=")[2])] = int(stat.parent.name)
        except (FileNotFoundError, ProcessLookupError):
            continue
    assert sorted(found) == [0, 1]
    return [found[0], found[1]]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Trained]]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made: list[Trained] = []

    def make(**training: Any) -> Trained:
        made.append(Trained(tmp_path, **training))
        return made[-1]

    yield make
    for each in made:
        each.close()


@slow
def test_a_run_to_the_end_says_everything_once(job: Callable[..., Trained]) -> None:
    trained = job(epochs=2)
    trained.start()
    assert trained.end() == 0, trained.trainer and trained.trainer.last_words()
    steps = [event.step for event in trained.events("step_done") if event.type == "step_done"]
    assert steps == list(range(1, 9))
    for kind in ("checkpoint_saved", "report_saved"):
        assert len(trained.events(kind)) == 1
    measured = [e.of for e in trained.events("evaluation_done") if e.type == "evaluation_done"]
    assert measured == ["model", "start"]
    assert (trained.folder / "checkpoint" / "head.safetensors").exists()
    assert not list(trained.folder.glob("failed-*"))


@slow
def test_a_stop_leaves_a_snapshot_that_one_process_takes_up(job: Callable[..., Trained]) -> None:
    trained = job(epochs=300)
    trainer = trained.start()
    trained.until_it_trains()
    trainer.stop(PATIENCE_SECONDS)
    assert trained.end() == 3
    [saved] = trained.events("snapshot_saved")
    assert trained.events()[-1] == saved
    last = trained.events("step_done")[-1]
    assert saved.type == "snapshot_saved"
    assert last.type == "step_done"
    assert saved.step == last.step
    trained.lines.clear()
    trainer = trained.start(processes=1)
    trained.until(lambda: trained.events("step_done"))
    trainer.kill()
    assert trained.end() == -9
    first = trained.events("step_done")[0]
    assert first.type == "step_done"
    assert first.step == saved.step + 1


@slow
def test_a_stop_at_the_start_is_not_lost(job: Callable[..., Trained]) -> None:
    trained = job(epochs=10_000)
    trainer = trained.start()
    # As early as a signal is heard at all: before that it is the interpreter's.
    trained.until(lambda: is_blocked(trainer.pid, signal.SIGTERM))
    trainer.stop(PATIENCE_SECONDS)
    assert trained.end() == 3
    assert not trained.events("failed")


def is_blocked(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigBlk:"))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


@slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_ends_all_by_its_signal(
    job: Callable[..., Trained], rank: int
) -> None:
    trained = job(epochs=10_000)
    trained.start()
    processes = trained.until_it_trains()
    os.kill(processes[rank], signal.SIGKILL)
    assert trained.end() == -9
    assert not any(is_alive(pid) for pid in processes)
    assert not trained.events("failed")


@slow
def test_none_outlives_the_supervisor(job: Callable[..., Trained]) -> None:
    """Its end is the agent's, and the agent's the others': here nobody is left to kill a group."""
    trained = job(epochs=10_000)
    program = f"""
import sys, time
from pathlib import Path
from worker.trainer_process import TrainerProcess, trainer_command
say = lambda line: print(line.decode(), end="", flush=True)
trainer = TrainerProcess(trainer_command(2), Path({str(trained.folder)!r}), say)
print(trainer.pid, flush=True)
time.sleep(600)
"""
    supervisor = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert supervisor.stdout is not None
    with supervisor.stdout as out:
        agent = int(out.readline())
        while b"step_done" not in out.readline():
            pass
        processes = [agent, *processes_of(agent)]
        assert all(is_alive(pid) for pid in processes)
        supervisor.kill()
        supervisor.wait()
        # The pipe has no writer left.
        while out.readline():
            pass
    trained.until(lambda: not any(is_alive(pid) for pid in processes))


@slow
def test_a_spec_at_fault_is_told_once(job: Callable[..., Trained]) -> None:
    trained = job(epochs=2)
    (trained.folder / "images" / "train" / "dark").rename(trained.folder / "dark")
    trained.start()
    assert trained.end() == 1
    [failed] = trained.events("failed")
    assert failed == trained.events()[-1]
    assert failed.type == "failed"
    assert failed.error == "DataError"


@slow
def test_what_another_process_than_the_first_meets_is_told(job: Callable[..., Trained]) -> None:
    trained = job(epochs=2)
    source = open_folder(trained.folder / "images", "train")
    of_the_second = int(epoch_order(len(source), None, 0, 0)[4])
    torn = source.keys[of_the_second]
    (trained.folder / "images" / torn).write_bytes(b"torn")
    trained.start()
    assert trained.end() == 1
    [failed] = trained.events("failed")
    assert failed.type == "failed"
    assert failed.error == "TooManyUnreadable"
    assert failed.names == (torn,)


@pytest.mark.parametrize(
    ("codes", "stopping", "expected"),
    [
        ([], False, 0),
        ([], True, 0),
        ([1, 4], False, 1),
        ([4, 1], False, 1),
        ([4, -9], False, -9),
        ([-9, 4], True, -9),
        ([3, 3], True, 3),
        ([3, -15], True, 3),
        ([-15, 4], True, 3),
        ([-15, 4], False, -15),
        ([4, 4], False, 4),
        ([-11, 1], False, -11),
    ],
)
def test_the_status_is_that_of_the_first_that_failed_for_a_reason(
    codes: list[int], stopping: bool, expected: int
) -> None:
    assert status_of(codes, stopping=stopping) == expected


def test_one_process_needs_no_agent() -> None:
    assert trainer_command(1) == COMMAND
    assert trainer_command(4)[-2:] == ("worker.ranks", "4")
