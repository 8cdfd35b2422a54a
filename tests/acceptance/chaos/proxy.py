"""Between the service and Redis: while it meddles, messages are lost, doubled or late.

A message is one `LPUSH` to a queue of the service. What sends it is told that it arrived.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections import Counter

from redis import Redis
from redis.exceptions import RedisError

WAYS = ("dropped", "duplicated", "reordered")
QUEUE = b"carot."
LONGEST_DELAY = 3.0


class Proxy:
    """Listens on a port of its own; forwards to the Redis at `port`, whether that is up or not.

    Attributes:
        meddling: whether messages are interfered with.
        count: of messages, by what was done to them.
    """

    def __init__(self, port: int, rng: random.Random) -> None:
        self.meddling = False
        self.count: Counter[str] = Counter()
        self._upstream = port
        self._rng = rng
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            server = socket.create_connection(("127.0.0.1", self._upstream), 5.0)
            server.settimeout(None)
            threading.Thread(target=_pump, args=(server, client), daemon=True).start()
            with server:
                while data := client.recv(1 << 16):
                    if not (self.meddling and self._meddle(client, data)):
                        server.sendall(data)

    def _meddle(self, client: socket.socket, data: bytes) -> bool:
        """Whether the message was dealt with; what is no single message passes."""
        match _parts(data):
            case [command, queue, message] if command.upper() == b"LPUSH" and QUEUE in queue:
                way = self._rng.choice(WAYS)
            case _:
                return False
        self.count[way] += 1
        delays = {
            "dropped": [],
            "duplicated": [0.0, self._rng.uniform(0, LONGEST_DELAY)],
            "reordered": [self._rng.uniform(0.2, LONGEST_DELAY)],
        }[way]
        for delay in delays:
            threading.Timer(delay, self._push, (queue, message)).start()
        client.sendall(b":1\r\n")
        return True

    def _push(self, queue: bytes, message: bytes) -> None:
        with contextlib.suppress(RedisError), Redis(port=self._upstream) as redis:
            redis.lpush(queue, message)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _parts(data: bytes) -> list[bytes]:
    """The parts of a command that is all of `data`, as Redis' protocol has them; else none."""
    if not data.startswith(b"*3\r\n") or not data.endswith(b"\r\n"):
        return []
    parts, rest = [], data[4:]
    while rest.startswith(b"$"):
        length, _, rest = rest[1:].partition(b"\r\n")
        parts.append(rest[: int(length)])
        rest = rest[int(length) + 2 :]
    return parts if not rest and len(parts) == 3 else []


def awaited(proxy: Proxy, seconds: float) -> int:
    """Meddle until at least one message was met and `seconds` are over, at most 15 s."""
    before, began = proxy.count.total(), time.monotonic()
    proxy.meddling = True
    while (passed := time.monotonic() - began) < 15:
        if passed >= seconds and proxy.count.total() > before:
            break
        time.sleep(0.02)
    proxy.meddling = False
    return proxy.count.total() - before
