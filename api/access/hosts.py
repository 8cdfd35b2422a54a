"""Allowed host names, and protection against requests from other sites' pages.

Without keys, a web page could make its own name point to this machine and so talk to the service
with the rights of the person who looks at the page: requests have to call the server by a name of
its own, and pages of other sites may change nothing. With keys such a page gains nothing: it does
not know a key, and a browser sends the cookie of this server's name to no other name. Any name is
answered then, unless `CAROT_ALLOWED_HOSTS` lists those that are.
"""

from __future__ import annotations

from collections.abc import Set
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from api.web.problems import Problem

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARDS = frozenset({"0.0.0.0", "::"})
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class Hosts:
    """The names of this server.

    Args:
        allowed: those that were added to its own; when there are some, no other is answered.
        own: the address that it listens on.
    """

    def __init__(self, allowed: Set[str], own: str) -> None:
        self._listed = bool(allowed)
        self._names = frozenset(allowed) | LOOPBACK | {own.lower()} - WILDCARDS

    def include(self, name: str) -> bool:
        """Whether this is a name of this server."""
        return name in self._names

    def refusal(self, headers: Headers, method: str, *, keyed: bool) -> Problem | None:
        """Why a request is refused, if it is.

        Args:
            keyed: whether the server has keys.
        """
        host, origin = headers.get("host", ""), headers.get("origin")
        if (not keyed or self._listed) and not self.include(hostname(f"//{host}")):
            return Problem(
                421,
                "misdirected_request",
                f"this server does not answer as {host[:100]!r}; CAROT_ALLOWED_HOSTS adds names",
            )
        foreign = origin is not None and not self.include(hostname(origin))
        if not keyed and method not in SAFE_METHODS and foreign:
            return Problem(403, "forbidden", "requests from other sites' pages are refused")
        return None


def is_same_origin(headers: Headers, hosts: Hosts) -> bool:
    """Whether a browser says that a request comes from one of this server's own pages.

    A proxy may have changed `Host`; its public name is then one of the allowed hosts.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        authority = urlsplit(origin).netloc
    except ValueError:
        return False
    host = headers.get("host", "")
    return bool(authority) and (authority == host or hosts.include(hostname(origin)))


def is_foreign(headers: Headers, hosts: Hosts) -> bool:
    """Whether a browser says that a request comes from another site; programs say nothing."""
    told = headers.get("sec-fetch-site") is not None or headers.get("origin") is not None
    return told and not is_same_origin(headers, hosts)


def hostname(url: str) -> str:
    """The host of a URL, in lower case and without its port; empty when there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
