"""HEAD wherever there is GET: the same status and headers, and no body (RFC 9110, 9.3.2)."""

from __future__ import annotations

from anyio import CancelScope
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """Lets the application answer HEAD as it would answer GET, and keeps the body back.

    An answer that is made while it is sent, such as a stream of events, is broken off once its
    headers are known.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        answering = CancelScope()

        async def head_only(message: Message) -> None:
            if message["type"] != "http.response.start":
                # What is sent in one piece may have work behind it, which is done as ever.
                if message.get("more_body", False):
                    answering.cancel()
                return
            await send(message)
            await send({"type": "http.response.body", "body": b""})
            if "content-length" not in Headers(raw=message["headers"]):
                answering.cancel()

        # In place: who logs and measures the request finds its route in this scope.
        scope["method"] = "GET"
        try:
            with answering:
                await self.app(scope, receive, head_only)
        finally:
            scope["method"] = "HEAD"
