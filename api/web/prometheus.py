"""Prometheus metrics of requests. docs/operations.md lists every measurement."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# When each series began is a series more for each, and asked for by nobody.
disable_created_metrics()  # type: ignore[no-untyped-call]


class RequestMeasures:
    """How many requests there were, and how long they took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "carot_http_requests", "Requests", ["method", "route", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "carot_http_request_seconds",
            "Time to answer",
            ["method", "route"],
            buckets=SECONDS,
            registry=registry,
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        method = method if method in METHODS else "other"
        self.requests.labels(method, route, str(status)).inc()
        self.request_seconds.labels(method, route).observe(seconds)
