"""Targets of webhooks: parses the URL, resolves its name once, checks every address.

Whoever sends connects to an address that was checked here, never to a name: between a check and a
second look-up, a name may be pointed elsewhere.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address

import httpx
import structlog

from api.web.addresses import Address, Allowed, is_name, is_public

Lookup = Callable[[str, int], Sequence[str]]
"""From a name and a port to addresses as text. Raises OSError."""
LOOKUPS = 64
"""Names that are looked up at once. A look-up cannot be broken off: it may go on for several times
as long as whoever asked has waited, and there must be threads for those of other projects."""
HTTPS_PORT, HTTP_PORT = 443, 80
UNPRIVILEGED = 1024
log = structlog.get_logger("api.webhooks")


class TargetRefused(Exception):
    """A URL that no webhook may have, or that leads where none may."""


@dataclass(frozen=True)
class Target:
    """A receiver. `host` is a name in lower case, without a trailing dot, or an address."""

    url: httpx.URL
    host: str
    port: int
    addresses: tuple[Address, ...] = ()

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.url.port is None else f"{host}:{self.url.port}"

    def at(self, address: Address) -> httpx.URL:
        """The URL with an address in the place of the name."""
        return self.url.copy_with(host=str(address))


def system_lookup(host: str, port: int) -> list[str]:
    """The addresses that the system's resolver knows."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Targets:
    """Checks URLs in threads, with a time limit.

    Args:
        allowed: what may be called although it is not public.
        lookup: finds a name's addresses.
    """

    def __init__(self, allowed: Allowed, lookup: Lookup = system_lookup) -> None:
        self._allowed = allowed
        self._lookup = lookup
        self._pool = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="webhook-lookup")

    def submit(self, url: str) -> Future[Target]:
        """Begin to check; the future has the target, or raises `TargetRefused`."""
        return self._pool.submit(self.check, url)

    def check(self, url: str) -> Target:
        """The target with its addresses, of which every one may be called.

        Raises:
            TargetRefused: the URL may not be called, or its name is not known.
        """
        target = parse(url)
        addresses = tuple(dict.fromkeys(self._addresses(target)))
        if not addresses:
            raise TargetRefused(f"{target.host!r} has no address")
        self._judge(target, addresses)
        return Target(target.url, target.host, target.port, addresses)

    def close(self) -> None:
        """Begin no further look-up."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _addresses(self, target: Target) -> Iterable[Address]:
        if not is_name(target.host):
            return [ip_address(target.host)]
        try:
            return [ip_address(text) for text in self._lookup(target.host, target.port)]
        except (OSError, ValueError) as error:
            raise TargetRefused(f"the name {target.host!r} is not known: {error}") from None

    def _judge(self, target: Target, addresses: Sequence[Address]) -> None:
        if self._allowed.has_all(target.host, addresses):
            return
        for address in addresses:
            if not is_public(address) and not self._allowed.has(address):
                # Which one is for operators: a network's addresses are not for users to find out.
                log.info("target_refused", host=target.host, address=str(address))
                raise TargetRefused(
                    f"{target.host!r} leads to an address that is not a public one; "
                    "CAROT_WEBHOOK_ALLOW of the server names exceptions"
                )
        if target.url.scheme != "https":
            raise TargetRefused("https is needed; http serves only what CAROT_WEBHOOK_ALLOW names")
        if target.port != HTTPS_PORT and target.port < UNPRIVILEGED:
            raise TargetRefused(f"port {target.port} belongs to another service; use 443 or 1024+")


def parse(url: str) -> Target:
    """A URL taken apart, before anything is looked up.

    Raises:
        TargetRefused: it is none, or has parts that a webhook's cannot have.
    """
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise TargetRefused(f"not a URL: {error}") from None
    if parsed.scheme not in ("http", "https"):
        raise TargetRefused("a URL that begins with https:// is needed")
    if parsed.userinfo:
        raise TargetRefused("user names and passwords do not belong into the URL")
    if "#" in url:
        raise TargetRefused("fragments (#…) are never sent, so leave it out")
    default = HTTPS_PORT if parsed.scheme == "https" else HTTP_PORT
    port = default if parsed.port is None else parsed.port
    if not 0 < port < 1 << 16:
        raise TargetRefused(f"there is no port {port}")
    return Target(parsed, _host(parsed), port)


def _host(url: httpx.URL) -> str:
    # Not `url.host`, which shows international names as people read them.
    host = url.raw_host.decode("ascii").lower().removesuffix(".")
    if is_name(host):
        return host
    try:
        address = ip_address(host)
    except ValueError:
        raise TargetRefused(
            f"{host[:100]!r} is neither a name nor an address as it is usually written"
        ) from None
    if "%" in host:
        raise TargetRefused("an address with a scope leads to a local network")
    return str(address)
