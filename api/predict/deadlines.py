"""Deadlines and refusals: too late, too many, or the client has disconnected."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Request
from prometheus_client import Counter

from api.inference.batcher import DeadlinePassed
from api.inference.model_thread import Busy
from api.web.problems import Problem

T = TypeVar("T")
HEADER = "X-Deadline-Ms"


class ClientGone(Exception):
    """The connection ended before the answer was there."""


async def _deadline(
    milliseconds: Annotated[
        int | None,
        Header(
            alias=HEADER,
            ge=1,
            le=3_600_000,
            description="Milliseconds from the head of the request on, after which its answer is "
            "of no use: it is then dropped, and answered 504.",
        ),
    ] = None,
) -> float | None:
    return None if milliseconds is None else time.monotonic() + milliseconds / 1000


Deadline = Annotated[float | None, Depends(_deadline)]
"""When the client wants its answer at the latest, by `time.monotonic`; None if it does not say."""


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns, which is cancelled when the client hangs up.

    To be called once the body was read.

    Raises:
        ClientGone: it did.
    """
    working = asyncio.ensure_future(work)
    hanging_up = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({working, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone
    finally:
        hanging_up.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait({working})


@contextmanager
def refusing(refused: Counter, images: int) -> Iterator[None]:
    """Answer what an engine or a client refuses with a problem, and count the images."""
    try:
        yield
    except Busy:
        refused.labels("busy").inc(images)
        detail = "too many images are waiting already"
        raise Problem(503, "busy", detail, headers={"Retry-After": "1"}) from None
    except DeadlinePassed:
        refused.labels("deadline").inc(images)
        detail = "the answer would have come after the deadline"
        raise Problem(504, "deadline", detail, headers={"Retry-After": "1"}) from None
    except ClientGone:  # nobody reads this answer, but the log has its status
        refused.labels("gone").inc(images)
        raise Problem(499, "client_gone", "the client has hung up") from None


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
