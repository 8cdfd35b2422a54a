"""Postgres and Redis of one's own, on ports that stay the same over a restart."""

from __future__ import annotations

import shutil
import signal

from sqlalchemy import make_url

from tests.programs import find_programs
from tests.services import (
    POSTGRES_OPTIONS,
    Server,
    make_folder,
    start_again,
    start_postgres,
    start_redis,
)

# What was committed must outlive an immediate stop. It is in the kernel by then, so that it does
# without waiting for the disk.
DURABLE = POSTGRES_OPTIONS | {"synchronous_commit": "on", "full_page_writes": "on"}


class OwnServer:
    """A server that this process started and may kill.

    Args:
        kind: `postgres` or `redis`.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._data = make_folder(kind)
        programs = find_programs(kind)
        self._server: Server
        if kind == "postgres":
            self._server, self.url = start_postgres(programs, self._data, DURABLE)
        else:
            self._server, self.url = start_redis(programs, self._data)
        self._cwd = self._data / "cluster" if kind == "postgres" else self._data

    @property
    def port(self) -> int:
        port = make_url(self.url).port
        assert port is not None
        return port

    def kill(self) -> None:
        """To Postgres the immediate stop, after which it recovers; to Redis SIGKILL."""
        self._server.send_signal(signal.SIGQUIT if self.kind == "postgres" else signal.SIGKILL)
        self._server.wait(30)

    def start_again(self) -> None:
        """Redis comes back empty, Postgres with its data."""
        self._server = start_again(self._server, self._cwd, self.port, kind=self.kind)

    def close(self) -> None:
        """End it and forget its data."""
        self._server.kill()
        self._server.wait()
        shutil.rmtree(self._data, ignore_errors=True)
