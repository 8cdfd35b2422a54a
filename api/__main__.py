"""`python -m api`: the API process. Ends open event streams when told to stop."""

from __future__ import annotations

import argparse
import socket
import sys

import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from api import logs
from api.app import create_app
from api.context import Context
from api.exposure import has_keys, is_loopback, refusal
from api.settings import ApiSettings

GRACE_SECONDS = 10


class Server(uvicorn.Server):
    """Knows when it is stopping, which uvicorn tells the application only afterwards."""

    def stopping(self) -> bool:
        """Whether a signal to stop has come."""
        return bool(self.should_exit)


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m api", description=__doc__)
    parser.add_argument("--host", help="address to listen on; CAROT_HOST by default")
    parser.add_argument("--port", type=int, help="CAROT_PORT by default")
    parser.add_argument("--fd", type=int, help="a listening socket that was inherited")
    arguments = parser.parse_args()
    settings = ApiSettings()
    logs.configure(settings.log_level)
    sockets = None if arguments.fd is None else [socket.socket(fileno=arguments.fd)]
    host = arguments.host or settings.host
    for listening in [host] if sockets is None else map(_address, sockets):
        _refuse_strangers(settings, listening)
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=host,
        port=settings.port if arguments.port is None else arguments.port,
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config)
    context: Context = app.state.context
    context.stopping = server.stopping
    server.run(sockets=sockets)


def _address(listener: socket.socket) -> str:
    name = listener.getsockname()
    return "127.0.0.1" if listener.family is socket.AF_UNIX else str(name[0])


def _refuse_strangers(settings: ApiSettings, host: str) -> None:
    """Leave when other machines can reach `host`, nobody needs a key, and nobody allowed that."""
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
