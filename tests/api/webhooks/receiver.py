"""A receiver of webhooks: a real HTTP or HTTPS server that does what a test tells it to."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> dict[str, Any]:
        """The message, as an independent implementation reads and checks it."""
        message: dict[str, Any] = Webhook(secret).verify(self.body, self.headers)
        return message


Behaviour = Callable[[BaseHTTPRequestHandler], None]


def answer(status: int, body: bytes = b"", **headers: str) -> Behaviour:
    """An ordinary answer; underscores in names of headers become hyphens."""

    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return respond


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """No answer."""
    handler.close_connection = True


@dataclass
class Receiver:
    """A running one. `behave` answers every request; 204 unless it is set."""

    port: int = 0
    behave: Behaviour = field(default_factory=lambda: answer(204))
    received: list[Received] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, count: int, seconds: float = 30) -> list[Received]:
        """The requests, once there are `count`."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.received) >= count, seconds), (
                f"{len(self.received)} of {count} came"
            )
            return list(self.received)


def _handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with receiver.arrived:
                receiver.received.append(Received(self.path, headers, body))
                receiver.arrived.notify_all()
            # A sender that had enough hangs up; that is its right.
            with contextlib.suppress(OSError):
                receiver.behave(self)

        def log_message(self, format: str, *args: object) -> None:
            return None

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # some tests deliver more at once than the usual 5

    def handle_error(self, request: object, client_address: object) -> None:
        return None


@contextlib.contextmanager
def receiver(context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """A receiver on a free port of 127.0.0.1, with TLS if there is a context for it."""
    running = Receiver()
    server = _Server(("127.0.0.1", 0), _handler_of(running))
    running.port = server.server_address[1]
    if context is not None:

        def note(_: object, name: str | None, __: object) -> None:
            running.server_names.append(name)

        context.sni_callback = note
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Wait for something that a thread does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
