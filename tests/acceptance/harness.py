"""The service in processes of its own, as it is deployed, and small data to feed it."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from carot.data.digits import handwritten_digits
from cli.client import TERMINAL, Client, Document
from tests.environment import service_environment

START_SECONDS = 60.0
STOP_SECONDS = 30.0
PORTS = iter(random.SystemRandom().sample(range(11000, 32000), 5000))
"""Those of this test process, each given away once; browsers refuse some below."""
CLASSES = ("zero", "one", "four")
ATTEMPT = re.compile(r"(job_[0-9a-z]{26})-(\d+)")
EACH = {"train": 12, "validation": 4, "calibration": 8, "test": 8}


class Process:
    """One process of the service, in a group of its own, that ends with the tests."""

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=folder,  # not the repository: what it runs must be installed
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self) -> None:
        """Fail when the process has ended."""
        status = self._process.poll()
        assert status is None, f"{self.name} ended with status {status}:\n{self.tail()}"

    def finish(self, seconds: float) -> int:
        """Wait until the process ends by itself; its status."""
        return self._process.wait(seconds)

    def stop(self) -> int:
        """Ask the process to end, and wait for it; its status."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not stop:\n{self.tail()}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def tail(self) -> str:
        """The end of what it said."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])


class Deployment:
    """API and worker on the addresses in `environment`; a client of theirs."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = {
            **service_environment(),
            "CAROT_HOST": "127.0.0.1",
            "CAROT_PORT": str(self.port),
            # Quick to notice that a worker is gone.
            "CAROT_LEASE_SECONDS": "6",
            "CAROT_HEARTBEAT_SECONDS": "1",
            "CAROT_SWEEP_SECONDS": "0.5",
            "CAROT_RING_SECONDS": "5",
            "CAROT_MAX_ATTEMPTS": "3",
            "CAROT_LOG_LEVEL": "WARNING",
            **environment,
        }
        self.client = Client(f"http://127.0.0.1:{self.port}")
        self.processes: dict[str, Process] = {}

    def start(self, name: str, *command: str) -> Process:
        """Start `python -m command…` with a data folder of its own."""
        data_dir = self.folder / f"{name}-data"
        data_dir.mkdir(exist_ok=True)
        environment = {"CAROT_DATA_DIR": str(data_dir), **self.environment}
        process = Process(name, [sys.executable, "-m", *command], environment, self.folder)
        self.processes[name] = process
        return process

    def migrate(self) -> None:
        """Bring the database to the newest revision."""
        process = self.start("migrate", "migrations.upgrade")
        assert process.finish(START_SECONDS) == 0, process.tail()
        del self.processes["migrate"]

    def await_ready(self) -> None:
        """Wait until the API says that it is ready."""
        deadline = time.monotonic() + START_SECONDS
        while not self.client.wait_until_ready(0.5):
            self.check()
            assert time.monotonic() < deadline, self.processes["api"].tail()

    def check(self) -> None:
        """Fail when a process has ended by itself."""
        for process in self.processes.values():
            process.check()

    def stop(self) -> None:
        """End every process, the last one started first."""
        self.client.__exit__()
        with contextlib.ExitStack() as stack:
            for process in self.processes.values():
                stack.callback(process.stop)

    def await_job(
        self, job: Document, until: Callable[[Document], bool], seconds: float = 90.0
    ) -> Document:
        """Poll a job until `until(job)` holds; fails when it ends or time is up before that."""
        deadline = time.monotonic() + seconds
        while True:
            job = self.client.get(f"/jobs/{job['id']}")
            if until(job):
                return job
            assert job["state"] not in TERMINAL, f"ended too early: {job}"
            assert time.monotonic() < deadline, f"too slow: {job}\n{self.logs()}"
            self.check()
            time.sleep(0.05)

    def await_end(self, job: Document, seconds: float = 90.0) -> Document:
        """Wait until a job has ended, whichever way."""
        return self.await_job(job, lambda now: now["state"] in TERMINAL, seconds)

    def logs(self) -> str:
        """The ends of all logs, for a failure's message."""
        return "\n".join(f"--- {p.name}\n{p.tail()}" for p in self.processes.values())

    def trainer(self, of: str = "worker") -> int:
        """The process that trains for a worker."""
        deadline = time.monotonic() + START_SECONDS
        while not (found := self.trainers(of)):
            assert time.monotonic() < deadline, "no trainer runs"
            time.sleep(0.05)
        return found[0][0]

    def trainers(self, worker: str) -> list[tuple[int, str, int]]:
        """Process, job and fence of what trains for a worker: it works in the attempt's folder."""
        own = self.folder / f"{worker}-data"
        return list(_trainers_in(Path(self.environment.get("CAROT_DATA_DIR", own)) / "scratch"))


def training(dataset: str, **training: Any) -> Document:
    """A job that fine-tunes carot-mini with CaRot: by default eight steps of 18 images."""
    return {
        "kind": "finetune",
        "name": "acceptance",
        "model": {"architecture": "carot-mini"},
        "dataset": dataset,
        "method": {"name": "carot"},
        "training": {"epochs": 4, "batch_size": 18, "learning_rate": 1e-4} | training,
    }


def digit_png(name: str, number: int = 0, split: str = "test") -> bytes:
    """One handwritten digit of a class as PNG."""
    source = handwritten_digits(split)
    label = source.classes.index(name)
    index = [i for i, each in enumerate(source.labels) if each == label][number]
    return png(source.image(index))


def png(image: Image.Image) -> bytes:
    """An image as a PNG file's content."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def write_digits(path: Path, *, spoil: Callable[[bytes], bytes] | None = None) -> Path:
    """A zip `split/class/number.png` of three digits; `spoil` changes every training image."""
    with zipfile.ZipFile(path, "w") as archive:
        for split, each in EACH.items():
            for name in CLASSES:
                for number in range(each):
                    content = digit_png(name, number, split)
                    if spoil is not None and split == "train":
                        content = spoil(content)
                    archive.writestr(f"{split}/{name}/{number}.png", content)
    return path


def digits_folder(folder: Path, *, spoil: Callable[[bytes], bytes] | None = None) -> Path:
    """The same as folders."""
    with zipfile.ZipFile(write_digits(folder.with_suffix(".zip"), spoil=spoil)) as archive:
        archive.extractall(folder)
    return folder


def free_port() -> int:
    """A port of the loopback interface that hardly anybody takes before it is bound.

    The system gives away those from 32768 on by itself, to whoever connects or has no wish.
    """
    for port in PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is left")


def await_answer(url: str, seconds: float = START_SECONDS) -> None:
    """Wait until a server answers a GET with 200."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=2.0).status_code == 200:
                return
        assert time.monotonic() < deadline, f"no answer from {url}"
        time.sleep(0.1)


def _trainers_in(scratch: Path) -> Iterator[tuple[int, str, int]]:
    """Processes that lead a session and work in the folder of an attempt (Linux)."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            place, pid = (process / "cwd").readlink(), int(process.name)
            match = ATTEMPT.fullmatch(place.name)
            if match and place.parent == scratch and os.getsid(pid) == pid:
                yield pid, match[1], int(match[2])


def _die_with_parent() -> None:
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
