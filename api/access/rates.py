"""Rate limits, and the headers that report them.

Counts lie in this process's memory: with several API processes each lets the full rate pass.
"""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from api.web.problems import Problem

Policy = Literal["key", "address", "failures"]
WINDOW_SECONDS = 60
IPV6_NETWORK = 64
"""Who has one IPv6 address has at least this many bits of them."""


@dataclass(frozen=True)
class Standing:
    """How much of a rate is left to a caller. `reset` is in seconds."""

    policy: Policy
    quota: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """The fields of draft-ietf-httpapi-ratelimit-headers (11)."""
        return {
            "RateLimit-Policy": f'"{self.policy}";q={self.quota};w={WINDOW_SECONDS}',
            "RateLimit": f'"{self.policy}";r={self.remaining};t={self.reset}',
        }


class Rates:
    """Counts requests by key, by address, and those that failed to prove who they are.

    The window slides: what was asked in the minute before counts as far as it reaches into this
    one. A counter takes the same room whatever its quota is, and goes when it is not used.

    Args:
        requests: a minute for each key, and for each address without one; 0: any number.
        failures: a minute for each address that shows wrong keys; 0: any number.
    """

    def __init__(self, requests: int, failures: int) -> None:
        self._quotas: Mapping[Policy, int] = {
            "key": requests,
            "address": requests,
            "failures": failures,
        }
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def take(self, policy: Policy, who: str) -> Standing | None:
        """Count one request of a key or an address; None where nothing is counted.

        Raises:
            Problem: 429, it has had its share for now.
        """
        quota = self._quotas[policy]
        if quota == 0:
            return None
        taken = self._limiter.hit(RateLimitItemPerMinute(quota), policy, who)
        standing = self._standing(policy, who)
        if not taken:
            raise too_many(standing)
        return standing

    def note_failure(self, address: str, key_id: str | None = None) -> None:
        """Count a wrong key. Right ones are never held up by it: they are looked up first.

        Args:
            address: where it came from.
            key_id: whose secret it would be, if it says so; guessed at from many addresses.

        Raises:
            Problem: 429, there were too many before.
        """
        quota = self._quotas["failures"]
        if quota == 0:
            return
        for who in (address,) if key_id is None else (address, key_id):
            if not self._limiter.hit(RateLimitItemPerMinute(quota), "failures", who):
                raise too_many(self._standing("failures", who))

    def _standing(self, policy: Policy, who: str) -> Standing:
        quota = self._quotas[policy]
        stats = self._limiter.get_window_stats(RateLimitItemPerMinute(quota), policy, who)
        left = max(1, math.ceil(stats.reset_time - time.time()))
        return Standing(policy, quota, stats.remaining, min(left, WINDOW_SECONDS))


def too_many(standing: Standing) -> Problem:
    """The answer to a caller beyond its rate."""
    what = "wrong keys" if standing.policy == "failures" else "requests"
    headers = {"Retry-After": str(standing.reset), **standing.headers()}
    return Problem(
        429,
        "too_many_requests",
        f"more than {standing.quota} {what} in {WINDOW_SECONDS} s",
        headers=headers,
    )


def address_of(scope: Mapping[str, Any]) -> str:
    """Who is counted when there is no key: the client's address, in IPv6 its network."""
    host = peer(scope)
    if host is None:
        return "local"
    if isinstance(host, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((host, IPV6_NETWORK), strict=False))
    return str(host)


def peer(scope: Mapping[str, Any]) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The client's address; None when it came through no network."""
    try:
        host = ipaddress.ip_address((scope.get("client") or ("",))[0])
    except ValueError:
        return None
    mapped = host.ipv4_mapped if isinstance(host, ipaddress.IPv6Address) else None
    return mapped or host
