"""Clients that ask without a pause, and how long each answer took."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

BOUNDARY = "carot-benchmark-boundary"


class Figures(NamedTuple):
    """What one run of one way came to.

    Attributes:
        images_per_second: over the whole run.
        p50, p99: milliseconds of a request.
    """

    images_per_second: float
    p50: float
    p99: float


def figures(seconds: Sequence[float], whole: float) -> Figures:
    """Figures of requests that took so long each, and `whole` seconds together."""
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))]
    return Figures(len(ordered) / whole, 1000 * statistics.median(ordered), 1000 * p99)


def form(image: bytes, field: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> bytes:
    """A whole HTTP request with one image in a form."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    name = f'name="{field}"; filename="image.jpg"'
    kind = "Content-Type: image/jpeg"
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {name}\r\n{kind}\r\n\r\n"
    body = b"".join([*parts, head.encode(), image, f"\r\n--{BOUNDARY}--\r\n".encode()])
    lines = {
        "Host": "127.0.0.1",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Length": str(len(body)),
        **headers,
    }
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST /predict HTTP/1.1\r\n{text}\r\n".encode() + body


def run(port: int, requests: Sequence[bytes], clients: int, count: int) -> Figures:
    """Send `count` requests from as many clients, each on a connection of its own that it keeps.

    Raises:
        SystemExit: an answer is not a 200.
    """
    return asyncio.run(_run(port, requests, clients, count))


async def _run(port: int, requests: Sequence[bytes], clients: int, count: int) -> Figures:
    links = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
    todo = iter(range(count))
    seconds: list[float] = []

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in todo:
            began = time.perf_counter()
            writer.write(requests[number % len(requests)])
            await _answer(reader)
            seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(client(*link) for link in links))
    whole = time.perf_counter() - began
    for _, writer in links:
        writer.close()
        await writer.wait_closed()
    return figures(seconds, whole)


async def _answer(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.split("content-length:", 1)[1].split("\r\n", 1)[0])
    body = await reader.readexactly(length)
    if " 200 " not in head.split("\r\n", 1)[0]:
        raise SystemExit(f"{head}{body.decode('utf-8', 'replace')}")


def alone(answer: Callable[[bytes], object], images: Sequence[bytes], count: int) -> Figures:
    """One image after the other, in this thread."""
    seconds = []
    began = time.perf_counter()
    for number in range(count):
        start = time.perf_counter()
        answer(images[number % len(images)])
        seconds.append(time.perf_counter() - start)
    return figures(seconds, time.perf_counter() - began)


def together(
    answer: Callable[[Sequence[bytes]], object], images: Sequence[bytes], batch: int, count: int
) -> Figures:
    """Batches of `batch` images in this thread; an image takes as long as its batch."""
    seconds: list[float] = []
    began = time.perf_counter()
    for first in range(0, count, batch):
        start = time.perf_counter()
        numbers = range(first, min(first + batch, count))
        answer([images[number % len(images)] for number in numbers])
        seconds += [time.perf_counter() - start] * len(numbers)
    return figures(seconds, time.perf_counter() - began)
