"""One fault: planted, looked for by its tests, taken out again."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.copies import Copy
from tests.faults.fault import Fault, Lost, Sources, files_of

QUICK = "not services and not slow and not acceptance"
REST = "services or slow or acceptance"
MOST_SECONDS = 900
HALT_SECONDS = 15
"""Who wakes up so late was stopped for a while, and with it the clocks of the tests ran on."""
NEVER = "(no test ended in time)"
DIED = "(the tests ended without a word)"
OPTIONS = (
    "-q", "-x", "-p", "faults_watcher", "-p", "no:cacheprovider", "--hypothesis-seed=0",
    "--tb=line", "--no-header",
)  # fmt: skip


@dataclass
class Found:
    """What came of one fault.

    Attributes:
        verdict: `caught`, `missed`, or why nothing can be said: `lost` (not in this tree), `no
            tests`, `broken` (does not import), `unsound` (its test fails without it as well).
        by: the test that noticed it, or why there is no verdict.
        file: where it was planted.
        ran: tests that were run until then.
        seconds, cpu_seconds: what it took, the run without the fault included.
    """

    verdict: str
    by: str = ""
    file: str = ""
    ran: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    tests: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """What one pytest process did."""

    status: int | None
    ran: list[str]
    failed: list[str]
    unread: list[str]


def try_fault(fault: Fault, copy: Copy, sources: Sources, python: Path, passing: set[str]) -> Found:
    """Plant a fault and see which test notices it; that test has to pass without the fault.

    Args:
        passing: tests that are known to pass without; it grows.
    """
    started, spent = time.monotonic(), _spent()
    try:
        place = sources.place(fault)
    except Lost as lost:
        return Found("lost", str(lost))
    tests = files_of(copy.root, fault)
    with copy.planted(place):
        found = _look(fault, tests, copy, python, is_page=place.path.endswith(".js"))
    if found.verdict == "caught" and found.by not in (NEVER, DIED, *passing):
        if _pytest(copy, python, [found.by]).status == 0:
            passing.add(found.by)
        else:
            found.verdict = "unsound"
    found.file, found.tests = place.path, tests
    found.seconds = round(time.monotonic() - started, 1)
    found.cpu_seconds = round(_spent() - spent, 1)
    return found


def _look(fault: Fault, tests: list[str], copy: Copy, python: Path, *, is_page: bool) -> Found:
    """Run the quick tests first, then the others; for a page in a browser there are no quick ones.

    Where none of the tests that a fault names notices it, all tests of its files are run.
    """
    ran = 0
    marks = (REST, QUICK) if is_page else (QUICK, REST)
    for only in dict.fromkeys((fault.only, "")):
        for mark in marks if tests else ():
            run = _pytest(copy, python, ["-m", mark, *(["-k", only] if only else []), *tests])
            ran += len(run.ran)
            if run.unread:
                return Found("broken", run.unread[0], ran=ran)
            if run.failed:
                return Found("caught", run.failed[0], ran=ran)
            if run.status is None:
                return Found("caught", NEVER, ran=ran)
            if run.status not in (0, 5):  # 5: nothing was to be run
                return Found("caught", DIED, ran=ran)
    return Found("missed", ran=ran) if ran else Found("no tests", ", ".join(fault.tests))


def _pytest(copy: Copy, python: Path, arguments: list[str]) -> Run:
    """Run tests of the copy.

    Again if everything was stopped meanwhile: waiting tests have given up by then.

    Raises:
        RuntimeError: modules were imported from elsewhere than the copy.
    """
    command = ["nice", "-n", "5", str(python), "-m", "pytest", *OPTIONS]
    command += [f"--basetemp={copy.beside / 'pytest'}", *arguments]
    halted = True
    while halted:
        copy.said.unlink(missing_ok=True)
        status, halted = _finished(command, copy)
    said: dict[str, list[str]] = {"ran": [], "failed": [], "unread": [], "strangers": []}
    if copy.said.exists():
        said = json.loads(copy.said.read_text(encoding="utf-8"))
    if said["strangers"]:
        raise RuntimeError(f"imported from elsewhere: {said['strangers']}")
    return Run(status, said["ran"], said["failed"], said["unread"])


def _finished(command: list[str], copy: Copy) -> tuple[int | None, bool]:
    """The status of a process, and whether this one was stopped meanwhile.

    The status is None when it took too long and was ended with all its children.
    """
    with (copy.beside / "output.txt").open("wb") as output:
        process = subprocess.Popen(
            command, cwd=copy.root, env=copy.environment(), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    end = time.monotonic() + MOST_SECONDS
    halted = False
    try:
        while time.monotonic() < end:
            asleep, status = time.monotonic(), None
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(1)
            halted |= time.monotonic() - asleep > HALT_SECONDS
            if status is not None:
                return status, halted
        return None, halted
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _spent() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
