"""A trainer of several processes: `python -m worker.ranks COUNT FOLDER`, in place of worker.child.

This process is torchrun's agent: it starts COUNT times `worker.child`, ends all when one fails, and
ends with the status that one trainer would end with (see `worker.child`): 0, 1, 3, or by the signal
that ended the first of them. Standard output has the events, each once. SIGTERM is passed on; the
processes agree on a step to stop at. When this process dies, the kernel kills the others.

No port is open to others: processes find each other over files, and talk over loopback.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from carot.events import EVENT, Failed
from carot.threads import available_cores
from worker import layout
from worker.child import DONE, FAILED, INTERRUPTED, LOST, PARENT, LineReporter, die_with_parent

POLL_SECONDS = 0.1


def main(count: int, folder: Path) -> int:
    """Run the spec in `folder` on `count` processes; the exit status, negative for a signal."""
    die_with_parent()
    # Blocked before any thread is started, and in the processes to come until they can handle it:
    # none of them is ended by it without a word.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    stop = _PassedOn()
    stop.start()
    reporter = LineReporter(os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace"))
    sys.stdout = sys.stderr  # descriptor 1 is for the events of the first process
    ended = _launch(count, folder)
    status = status_of([code for _, code in ended], stopping=stop.seen.is_set())
    # Whatever the first process had to say it has said itself, also if another one's end made the
    # agent stop it on its way out.
    if status == FAILED and _failure(folder, 0) is None:
        for rank, code in ended:
            failure = _failure(folder, rank) if code == FAILED else None
            if failure is not None:
                reporter.report(failure)
                break
    return status


def status_of(codes: Iterable[int], *, stopping: bool) -> int:
    """The status for the whole, from those of the processes that failed, in the order of failing.

    A process that ended because another was gone says nothing of the reason.
    """
    codes = list(codes)
    reasons = [code for code in codes if code != LOST]
    if not reasons:
        return LOST if codes else DONE
    if stopping and reasons[0] == -signal.SIGTERM:
        return INTERRUPTED
    return reasons[0]


def _launch(count: int, folder: Path) -> list[tuple[int, int]]:
    """Rank and status of the processes that failed, in the order of failing."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    place = folder.absolute() / layout.RANKS
    place.mkdir(exist_ok=True)
    cores = available_cores()
    os.environ |= {
        PARENT: str(os.getpid()),
        "CAROT_RANKS_STORE": str(place / "store"),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # it would listen on all interfaces
    }
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // count)))
    for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(variable, "lo")
    options = {
        "nnodes": "1",
        "nproc-per-node": str(count),
        "max-restarts": "0",
        "rdzv-backend": "c10d",
        "rdzv-conf": "store_type=file",
        "rdzv-endpoint": str(place / "rendezvous"),
        "rdzv-id": str(os.getpid()),
        "local-addr": "localhost",
        "log-dir": str(place),
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    try:
        run.run(run.parse_args([*arguments, "-m", "worker.child", str(folder)]))
    except ChildFailedError as error:
        return [(rank, failure.exitcode) for rank, failure in error.failures.items()]
    return []


def _failure(folder: Path, rank: int) -> Failed | None:
    with contextlib.suppress(OSError, ValueError):
        event = EVENT.validate_json((folder / layout.failure_name(rank)).read_bytes())
        return event if isinstance(event, Failed) else None
    return None


class _PassedOn(threading.Thread):
    """Waits for SIGTERM, and sends it to each child once, also to those that come later.

    Attributes:
        seen: whether it came.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen = threading.Event()

    def run(self) -> None:
        signal.sigwait({signal.SIGTERM})
        self.seen.set()
        told: set[int] = set()
        while True:
            for child in set(_children(os.getpid())) - told:
                told.add(child)
                # To the trainer alone, not to what it started.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGTERM)
            threading.Event().wait(POLL_SECONDS)


def _children(parent: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            status = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            # The name in parentheses may hold anything; state and parent follow it.
            if int(status.rpartition(")")[2].split()[1]) == parent:
                yield int(entry.name)


def _end_by(number: int) -> None:
    """End as one of the processes did, so that the supervisor sees the same signal."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # SIGKILL has no handler
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)


if __name__ == "__main__":
    code = main(int(sys.argv[1]), Path(sys.argv[2]))
    if code < 0:
        _end_by(-code)
    sys.exit(code)
