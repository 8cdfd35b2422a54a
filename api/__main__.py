"""`python -m api`: the API process. Drains before it stops."""

from __future__ import annotations

import argparse
import socket
import sys
import time
from types import FrameType

import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from api.access.exposure import has_keys, is_loopback, refusal
from api.app import create_app
from api.context import Context
from api.settings import ApiSettings
from carot import threads
from store import logs

GRACE_SECONDS = 10
SWITCH_SECONDS = 0.0005
"""How long a thread may keep others from Python. The models' thread gives it back with each of the
hundreds of operations of a pass, and would wait for up to Python's 5 ms to get it again, behind the
event loop. Measured on two busy cores, that was half of the throughput with many clients."""


class Server(uvicorn.Server):
    """Drains before it stops, and ends with status 0 when it was asked to end.

    The first signal begins the drain, in which everything is still answered but readiness says no.
    When that is over, or with a second signal, it stops: it accepts nothing more, finishes what is
    under way, and ends event streams. A third signal ends it at once.

    Args:
        drain_seconds: how long a drain takes; 0 for none.
    """

    def __init__(self, config: uvicorn.Config, drain_seconds: float = 0.0) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds
        self._drained_at: float | None = None

    def draining(self) -> bool:
        """Whether a signal to stop has come."""
        return self._drained_at is not None

    def stopping(self) -> bool:
        """Whether what is under way is to end."""
        return bool(self.should_exit)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn would send itself the signal again at the end, and not end with status 0.
        if self.should_exit:
            self.force_exit = True
        elif self._drained_at is not None or self._drain_seconds == 0:
            self.should_exit = True
        self._drained_at = self._drained_at or time.monotonic() + self._drain_seconds

    async def on_tick(self, counter: int) -> bool:
        if self._drained_at is not None and time.monotonic() >= self._drained_at:
            self.should_exit = True
        return await super().on_tick(counter)


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", help="address to listen on; CAROT_HOST by default")
    parser.add_argument("--port", type=int, help="CAROT_PORT by default")
    parser.add_argument("--fd", type=int, help="a listening socket that was inherited")
    arguments = parser.parse_args()
    sys.setswitchinterval(SWITCH_SECONDS)
    threads.prepare()
    settings = ApiSettings()
    logs.configure("api", settings.log_level, settings.log_format)
    sockets = None if arguments.fd is None else [socket.socket(fileno=arguments.fd)]
    host = arguments.host or settings.host
    for listening in [host] if sockets is None else map(_address, sockets):
        _refuse_strangers(settings, listening)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=host,
        port=settings.port if arguments.port is None else arguments.port,
        # httptools, which uvicorn would prefer where it is installed, is faster, but holds request
        # lines and headers without any limit, and lets requests without a Host pass.
        http="h11",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config, settings.drain_seconds)
    context: Context = app.state.context
    context.draining, context.stopping = server.draining, server.stopping
    server.run(sockets=sockets)


def _address(listener: socket.socket) -> str:
    name = listener.getsockname()
    return "127.0.0.1" if listener.family is socket.AF_UNIX else str(name[0])


def _refuse_strangers(settings: ApiSettings, host: str) -> None:
    """Exit when other machines can reach `host`, there are no keys, and `insecure` is not set."""
    if is_loopback(host) or settings.insecure:
        return
    try:
        closed = has_keys(settings.database_url)
    except SQLAlchemyError as error:
        kind = type(error).__name__  # its text may hold the database's address
        sys.exit(f"cannot ask the database whether there are keys ({kind}), so {host} stays closed")
    if not closed:
        sys.exit(refusal(host))


if __name__ == "__main__":
    main()
