"""The process that trains: `python -m worker.child FOLDER`.

Reads `FOLDER/spec.json`, runs it there, and writes one event a line, as JSON, to its standard
output. Ends with 0 when the run is done, 1 after a `failed` event, 3 when SIGTERM stopped it; with
anything else, or by a signal, it crashed.

Under `worker.ranks` it is one of several processes that train together. The first of them does all
of the above; the others train along, say nothing, and leave their `failed` event in a file. Any of
them ends with 4 when another one's end left it without a partner.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from types import FrameType
from typing import TextIO

from carot.errors import CarotError, Interrupted, RankLost
from carot.events import AnyEvent, Failed, Reporter
from worker import layout

DONE, FAILED, INTERRUPTED, LOST = 0, 1, 3, 4
PARENT = "CAROT_SUPERVISOR_PID"
PR_SET_PDEATHSIG = 1
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MAX_NAMES = 1000
"""An event is one line, and the supervisor reads no line of any length."""


class LineReporter:
    """Writes every event as one line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def report(self, event: AnyEvent) -> None:
        """Write one event, now."""
        with self._lock:
            self._out.write(_line(event))
            self._out.flush()


class FollowerReporter:
    """Of a process among several: writes its failure to a file.

    Args:
        out: where the first process says everything; the others, which train along, say nothing
            but their end, and that only where the disk is full.
    """

    def __init__(self, path: Path, out: LineReporter, *, first: bool) -> None:
        self._path = path
        self._out = out
        self._first = first

    def report(self, event: AnyEvent) -> None:
        """Relay the event if this is the first process, and write it down if it is the end."""
        if self._first:
            self._out.report(event)
        if isinstance(event, Failed):
            try:
                self._path.write_text(_line(event), encoding="utf-8", errors="replace")
            except OSError:
                if not self._first:
                    self._out.report(event)


def main(folder: Path) -> int:
    """Run the spec in `folder`; the exit status."""
    die_with_parent()
    stop = threading.Event()

    def on_term(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_term)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # References to data in the spec are relative to the folder.
    os.chdir(folder)
    lines = LineReporter(own_stdout())
    reporter: Reporter = lines
    if "RANK" in os.environ:
        rank = int(os.environ["RANK"])
        reporter = FollowerReporter(Path(layout.failure_name(rank)), lines, first=rank == 0)
    try:
        _execute(reporter, stop)
    except Interrupted:
        return INTERRUPTED
    except RankLost:
        traceback.print_exc()
        return LOST
    except CarotError as error:
        reporter.report(_failure(error))
        return FAILED
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        reporter.report(Failed(error="NoSpace", message=f"no space left on the disk: {error}"))
        return FAILED
    return DONE


def _execute(reporter: Reporter, stop: threading.Event) -> None:
    # Only this process loads torch, and only after it can be stopped. Looking through what is
    # loaded for garbage would be a quarter of the time that loading takes.
    gc.disable()
    from pydantic import TypeAdapter

    from carot.distributed import Ranks
    from carot.run import assist, execute
    from carot.specs import AnySpec, RunSpec

    gc.enable()
    adapter: TypeAdapter[AnySpec] = TypeAdapter(RunSpec)
    spec = adapter.validate_json(Path("spec.json").read_bytes())
    ranks = Ranks.of_environment()
    if ranks.first:
        execute(spec, Path(), reporter, should_stop=stop.is_set, ranks=ranks)
    else:
        assist(spec, Path(), should_stop=stop.is_set, ranks=ranks)


def _line(event: AnyEvent) -> str:
    # Not escaped: the stream then replaces what is no text, such as odd bytes of a file name,
    # which the reader would refuse together with the event.
    return json.dumps(event.model_dump(mode="json"), ensure_ascii=False) + "\n"


def _failure(error: CarotError) -> Failed:
    cause = error.__cause__
    full = isinstance(cause, OSError) and cause.errno in NO_SPACE
    names = getattr(error, "names", None) or ()
    return Failed(
        error="NoSpace" if full else type(error).__name__,
        message=error.message,
        field=error.field,
        names=tuple(str(name) for name in names[:MAX_NAMES]),
    )


def own_stdout() -> TextIO:
    """Standard output as it was; what prints by accident goes to standard error from now on."""
    sys.stdout.flush()
    events = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    os.dup2(2, 1)
    return events


def die_with_parent() -> None:
    """Have the kernel kill this process with its supervisor, which alone reads its events."""
    parent = os.environ.get(PARENT)
    if parent is None:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before the kernel was told
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
