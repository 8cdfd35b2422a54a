"""`python -m api`: the API process. Ends open event streams when told to stop."""

from __future__ import annotations

import argparse
import socket

import uvicorn

from api import logs
from api.app import create_app
from api.context import Context
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
    app = create_app(settings)
    config = uvicorn.Config(
        app,
        host=arguments.host or settings.host,
        port=settings.port if arguments.port is None else arguments.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config)
    context: Context = app.state.context
    context.stopping = server.stopping
    sockets = None if arguments.fd is None else [socket.socket(fileno=arguments.fd)]
    server.run(sockets=sockets)


if __name__ == "__main__":
    main()
