"""Middleware for every request: its id, its log line, the size of its body."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable

import structlog
from anyio import fail_after
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.web.problems import Problem, problem_of, response_of
from api.web.prometheus import RequestMeasures

SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
log = structlog.get_logger("api.access")


class RequestContext:
    """Gives a request its id, measures it, logs it, and answers uncaught exceptions."""

    def __init__(
        self, app: ASGIApp, measures: RequestMeasures, draining: Callable[[], bool] = lambda: False
    ) -> None:
        self.app = app
        self.measures = measures
        self.draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        offered = Headers(scope=scope).get("x-request-id", "")
        request_id = offered if SANE_ID.fullmatch(offered) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = request_id
                headers.setdefault("x-content-type-options", "nosniff")
                if self.draining():
                    # The client comes back on a new connection, which may lead elsewhere, instead
                    # of losing this one in the middle of a request.
                    headers["connection"] = "close"
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_with_id)
            except Exception as error:
                log.error("unhandled", path=scope["path"], exc_info=error)
                if status:
                    raise  # the answer is under way: all that is left is to break it off
                await response_of(problem_of(error), scope)(scope, receive, send_with_id)
            finally:
                self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self.measures.request(scope["method"], route, status, seconds)
        quiet = route.startswith("/health") or route == "/metrics"
        write = log.debug if quiet else log.info
        write(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            milliseconds=round(1000 * seconds, 2),
        )


class BodyLimit:
    """Counts the bytes of a body as they come; what Content-Length says is only a first hint.

    Args:
        limit_for: path and media type to the most bytes.
        pause_seconds: how long a body may pause before its request is given up.
    """

    def __init__(
        self, app: ASGIApp, limit_for: Callable[[str, str], int], pause_seconds: float
    ) -> None:
        self.app = app
        self.limit_for = limit_for
        self.pause_seconds = pause_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limit = self.limit_for(scope["path"], media_type_of(headers))
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > limit:
            await response_of(too_large(limit), scope)(scope, receive, send)
            return
        received, complete = 0, False

        async def counted() -> Message:
            nonlocal received, complete
            if complete:  # from here on it waits for the client to go
                return await receive()
            try:
                with fail_after(self.pause_seconds):
                    message = await receive()
            except TimeoutError:
                raise too_slow(self.pause_seconds) from None
            complete = not message.get("more_body", False)
            received += len(message.get("body", b""))
            if received > limit:
                raise too_large(limit)
            return message

        try:
            await self.app(scope, counted, send)
        except Problem as problem:
            await response_of(problem, scope)(scope, receive, send)


def media_type_of(headers: Headers) -> str:
    """What a body says it is, without parameters, in lower case."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def too_slow(seconds: float) -> Problem:
    """Nothing of the body has come for as long as this."""
    return Problem(
        408,
        "request_timeout",
        f"nothing of the body has come for {seconds:g} seconds",
        headers={"Connection": "close"},
    )


def too_large(limit: int) -> Problem:
    """The body is larger than this path takes."""
    return Problem(
        413,
        "too_large",
        f"the body is larger than the {limit} bytes that are accepted here",
        headers={"Connection": "close"},
    )
