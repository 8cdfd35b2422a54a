"""Forks trainers from a process that has loaded everything once: `python -m worker.fork_server`.

Loading torch takes seconds, a fork milliseconds. The server listens on a Unix socket; it trains
nothing and starts no thread. Each connection is one trainer:

    client ─► {"folder", "environment", "limits"} and two descriptors, for its output and its errors
           ◄─ {"pid": …}, or {"refused": why}
           ─► {"signal": …, "group": …}, as often as needed
           ◄─ {"exit": …}, negative for a signal, once its whole group has ended

A client that goes away takes its trainer along, and so does the end of the server. The server ends
with its owner, who holds the other end of its standard input.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import random
import resource
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.child import PARENT, PR_SET_PDEATHSIG

LIMITS = ("RLIMIT_AS", "RLIMIT_CORE", "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE")
FIXED = ("PYTHON", "LD_", "OMP_", "MKL_", "OPENBLAS_", "GOMP_", "KMP_", "MALLOC_", "TORCH_")
"""Variables that count when a process begins: with other ones a trainer is not forked."""
REQUEST_SECONDS = 10.0
PIECE = 1 << 16


@dataclass
class _Trainer:
    pid: int
    ended: int
    """A descriptor that can be read once the process has ended."""


class _Server:
    """The loop. Keys of the selector carry what their descriptor is."""

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(64)
        self._selector = selectors.DefaultSelector()
        self._selector.register(0, selectors.EVENT_READ, "owner")
        self._selector.register(self._listener, selectors.EVENT_READ, "listener")
        self._trainers: dict[socket.socket, _Trainer] = {}

    def run(self) -> None:
        """Until the owner is gone."""
        while True:
            for key, _ in self._selector.select():
                if key.data == "owner":
                    return
                if key.data == "listener":
                    self._accept()
                elif isinstance(key.data, socket.socket):
                    self._on_end(key.data)
                else:
                    self._on_message(key.fileobj)  # type: ignore[arg-type]

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(REQUEST_SECONDS)
        try:
            request, descriptors = _receive(connection)
        except (OSError, ValueError):
            connection.close()
            return
        try:
            refused = _difference(request["environment"])
            if refused is not None:
                _send(connection, {"refused": refused})
                connection.close()
                return
            pid = self._fork(connection, request, descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        trainer = _Trainer(pid, os.pidfd_open(pid))
        self._trainers[connection] = trainer
        self._selector.register(connection, selectors.EVENT_READ, "client")
        self._selector.register(trainer.ended, selectors.EVENT_READ, connection)
        _send(connection, {"pid": pid})

    def _on_end(self, connection: socket.socket) -> None:
        trainer = self._trainers.pop(connection)
        self._selector.unregister(trainer.ended)
        with suppress(KeyError):
            self._selector.unregister(connection)
        os.close(trainer.ended)
        # Before it is reaped: until then nobody else can get its id.
        with suppress(ProcessLookupError):
            os.killpg(trainer.pid, signal.SIGKILL)
        _, status = os.waitpid(trainer.pid, 0)
        _send(connection, {"exit": os.waitstatus_to_exitcode(status)})
        connection.close()

    def _on_message(self, connection: socket.socket) -> None:
        trainer = self._trainers.get(connection)
        if trainer is None:  # it ended in this same round
            return
        try:
            messages = _lines(connection)
        except OSError:
            messages = []
        if not messages:  # the client is gone; the end of its trainer is still heard
            messages = [{"signal": signal.SIGKILL, "group": True}]
            self._selector.unregister(connection)
        for message in messages:
            act = os.killpg if message["group"] else os.kill
            with suppress(ProcessLookupError):
                act(trainer.pid, message["signal"])

    def _fork(
        self, connection: socket.socket, request: Mapping[str, Any], descriptors: list[int]
    ) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        server = os.getpid()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writing)
            os.read(reading, 1)  # it has a group of its own, or is gone
            os.close(reading)
            return pid
        try:
            os.setsid()
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            for descriptor in (reading, writing):
                os.close(descriptor)
            connection.close()
            self._forget()
            status = _train(request, descriptors, server)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001 (as the interpreter would end)
            traceback.print_exc()
            status = 1
        with suppress(BaseException):
            atexit._run_exitfuncs()  # noqa: SLF001 (temporary folders are deleted there)
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)

    def _forget(self) -> None:
        """In the trainer: let go of all that is the server's."""
        self._selector.close()
        self._listener.close()
        for connection, trainer in self._trainers.items():
            connection.close()
            os.close(trainer.ended)


def _train(request: Mapping[str, Any], descriptors: list[int], server: int) -> int:
    out, errors = descriptors
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (out, 1), (errors, 2)):
        os.dup2(source, target)
    for descriptor in (null, out, errors):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.environ[PARENT] = str(server)
    for name, limit in request["limits"].items():
        if name in LIMITS:
            resource.setrlimit(getattr(resource, name), tuple(limit))
    os.sched_setaffinity(0, request["affinity"])
    _fresh_random_state()
    from worker.child import main

    return main(Path(request["folder"]))


def _fresh_random_state() -> None:
    """Two trainers of one server must not draw the same numbers where nobody sets a seed."""
    import numpy as np
    import torch

    random.seed()
    np.random.seed()  # noqa: NPY002 (the one that was forked along)
    torch.seed()


def _difference(environment: Mapping[str, str]) -> str | None:
    """A variable that counts when a process begins, and is another one here."""
    for name in sorted(environment.keys() | os.environ.keys()):
        if name.startswith(FIXED) and environment.get(name) != os.environ.get(name):
            return name
    return None


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """The request, one line, and the descriptors that come with its first bytes."""
    text, descriptors, _, _ = socket.recv_fds(connection, PIECE, 2)
    while not text.endswith(b"\n"):
        piece = connection.recv(PIECE)
        if not piece:
            raise ValueError("the request ended early")
        text += piece
    if len(descriptors) != 2:
        raise ValueError("two descriptors belong to a request")
    request: dict[str, Any] = json.loads(text)
    return request, descriptors


def _lines(connection: socket.socket) -> list[dict[str, Any]]:
    return [json.loads(line) for line in connection.recv(PIECE).splitlines()]


def _send(connection: socket.socket, message: Mapping[str, Any]) -> None:
    with suppress(OSError):  # the client is gone, which is noticed elsewhere
        connection.sendall(json.dumps(message).encode() + b"\n")


def _import_everything() -> None:
    """What every trainer loads. No thread and no GPU must be touched before a fork."""
    gc.disable()
    import open_clip  # noqa: F401

    import carot.run
    import carot.training.methods  # noqa: F401

    gc.enable()


def main(path: Path, listening: int) -> None:
    """Serve until the owner is gone; `listening` is written to once clients may connect."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    server = _Server(path)  # who connects early waits for the imports
    os.write(listening, b"1")
    os.close(listening)
    _import_everything()
    try:
        server.run()
    finally:
        with suppress(OSError):  # whoever made it is gone
            path.unlink()
            path.parent.rmdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
