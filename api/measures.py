"""What Prometheus is told of this process. docs/operations.md lists every measurement."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.registry import Collector

from api.served import Served

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# When each series began is a series more for each, and asked for by nobody.
disable_created_metrics()  # type: ignore[no-untyped-call]
SIZES = (1, 2, 4, 8, 16, 32, 64)
REFUSALS = ("unreadable", "too_large", "not_finite", "busy", "deadline", "gone")


class Measures:
    """One registry per application, so that two in one process do not collide.

    Attributes:
        refused: images that were not classified, by reason (`REFUSALS`).
        served: predictions by model.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "carot_http_requests", "Requests", ["method", "route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "carot_http_request_seconds",
            "Time to answer",
            ["method", "route"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.predictions = Counter("carot_predictions", "Images classified", registry=self.registry)
        self.refused = Counter(
            "carot_prediction_images_refused",
            "Images not classified",
            ["reason"],
            registry=self.registry,
        )
        self.wait_seconds = Histogram(
            "carot_prediction_wait_seconds",
            "Time that a decoded image waits for its pass of a model",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch_sizes = Histogram(
            "carot_prediction_batch_images",
            "Images in one pass of a model",
            buckets=SIZES,
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "carot_prediction_batch_seconds",
            "Time of one pass of a model",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.loads = Counter(
            "carot_model_loads", "Models loaded", ["outcome"], registry=self.registry
        )
        self.load_seconds = Histogram(
            "carot_model_load_seconds",
            "Time to load a model and warm it up",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.served = Served(self.registry, SECONDS)
        for reason in REFUSALS:
            self.refused.labels(reason)
        for outcome in ("ready", "failed"):
            self.loads.labels(outcome)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        method = method if method in METHODS else "other"
        self.requests.labels(method, route, str(status)).inc()
        self.request_seconds.labels(method, route).observe(seconds)

    def batch(self, images: int, seconds: float) -> None:
        """Count one pass of a model."""
        self.predictions.inc(images)
        self.batch_sizes.observe(images)
        self.batch_seconds.observe(seconds)

    def load(self, seconds: float | None) -> None:
        """Count one model that is ready, or with None one that could not be loaded."""
        self.loads.labels("failed" if seconds is None else "ready").inc()
        if seconds is not None:
            self.load_seconds.observe(seconds)

    def text(self, more: Iterable[Metric] = ()) -> bytes:
        """The page in Prometheus' text format.

        Args:
            more: families that are not kept here.
        """
        return generate_latest(_Page([*self.registry.collect(), *more]))


class _Page(Collector):
    """Families in a row."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
