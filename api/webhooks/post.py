"""Sends one HTTP request to one receiver, at a checked address."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx

from api.webhooks.targets import Target

ADDRESSES = 3
"""So many of a receiver's addresses are tried in one attempt."""
DRAINED_BYTES = 4096
DRAIN_SECONDS = 0.5


@dataclass(frozen=True)
class Answer:
    """A receiver's answer. `retry_after` is in seconds, where the receiver sent it."""

    status: int
    retry_after: float = 0.0


def new_transport(ca_file: Path | None) -> httpx.AsyncHTTPTransport:
    """Connections that end with their request and know no proxy.

    Requests go straight to it. A client would add what must not be here: redirects, cookies that
    one receiver sets for another at the same address, variables of the environment.

    Raises:
        OSError: the file cannot be read, or holds no certificates.
    """
    context = httpx.create_ssl_context(trust_env=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits)


async def post(
    transport: httpx.AsyncHTTPTransport,
    target: Target,
    headers: dict[str, str],
    body: bytes,
    seconds: float,
) -> Answer:
    """Send a message. Its receiver has `seconds` for everything; the caller's clock decides.

    Raises:
        httpx.TransportError: no answer came.
    """
    addresses = target.addresses[:ADDRESSES]
    connect = seconds / len(addresses)
    for address in addresses[:-1]:
        request = _request(target, target.at(address), headers, body, connect, seconds)
        # Before there is a connection nothing was sent, so the next address may be tried.
        with contextlib.suppress(httpx.ConnectError, httpx.ConnectTimeout):
            return await _answer(transport, request)
    last = _request(target, target.at(addresses[-1]), headers, body, connect, seconds)
    return await _answer(transport, last)


def _request(
    target: Target,
    url: httpx.URL,
    headers: dict[str, str],
    body: bytes,
    connect: float,
    seconds: float,
) -> httpx.Request:
    # TLS asks for, and checks, the certificate of the name, though the URL has an address.
    extensions = {
        "sni_hostname": target.host,
        "timeout": httpx.Timeout(seconds, connect=connect).as_dict(),
    }
    named = {"Host": target.authority, **headers}
    return httpx.Request("POST", url, headers=named, content=body, extensions=extensions)


async def _answer(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> Answer:
    response = await transport.handle_async_request(request)
    try:
        # A little of the body is read, and forgotten, so that a receiver that says a few words is
        # not cut off. They are kept nowhere: nobody reads other hosts' pages through a webhook.
        with contextlib.suppress(TimeoutError, httpx.TransportError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await _drain(response)
    finally:
        await response.aclose()
    patience = response.headers.get("retry-after", "")
    seconds = float(patience) if patience.isdecimal() and len(patience) < 8 else 0.0
    return Answer(response.status_code, seconds)


async def _drain(response: httpx.Response) -> None:
    read = 0
    async for block in response.aiter_raw():
        read += len(block)
        if read > DRAINED_BYTES:
            return
