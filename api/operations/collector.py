"""Measurements that are taken when `/metrics` is read: from database, disk and memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import get_args

import structlog
from prometheus_client import Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics import exposition as open_metrics
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from api.inference.engine import Engine
from api.jobs.schemas import KindName
from api.operations.readiness import OK
from api.operations.state import OperationsState
from carot.calibration.monitoring.live import LiveAccuracy
from store.jobs.exits import ExitReason
from store.jobs.states import TERMINAL, JobState
from store.monitoring.statistics import (
    DURATIONS,
    Durations,
    ServedModel,
    Standing,
    Totals,
    standing,
    targets_of,
)
from store.monitoring.watched import WatchedModel, watched
from store.queues import QUEUES

LEASES = ("current", "late", "expired")
KINDS: tuple[str, ...] = get_args(KindName)
log = structlog.get_logger("api.metrics")


def page(state: OperationsState, *, openmetrics: bool = False) -> bytes:
    """Everything that is measured, in Prometheus' text format or that of OpenMetrics."""
    found = _Page([*state.context.registry.collect(), *collect(state)])
    if not openmetrics:
        return generate_latest(found)
    text: bytes = open_metrics.generate_latest(found)  # type: ignore[no-untyped-call]
    return text


def collect(state: OperationsState) -> Iterator[Metric]:
    """Every family, with all of its labels, so that none appears only when it matters.

    When the database is away its figures are missing, and `carot_check_ok` says why.
    """
    checks = state.readiness.check()
    yield _gauge(
        "carot_check_ok",
        "1 when a check of readiness passes",
        ["check"],
        [((name,), float(answer == OK)) for name, answer in checks.items()],
    )
    if checks["disk"] == OK:
        free = state.readiness.free_bytes()
        yield _gauge("carot_disk_free_bytes", "Room in the data folder", [], [((), free)])
    yield from _memory(state.predictions.engine)
    if checks["database"] == OK:
        yield from _stored(state)


def _stored(state: OperationsState) -> Iterator[Metric]:
    served = state.predictions.measures.served
    try:
        with state.database.reading() as session:
            now = standing(session, state.settings)
            totals = state.ledger.read(session)
            models = state.models.read(session)
            current = targets_of(session, served.models())
            suspects = watched(session)
        figures = [state.monitoring.live.read(each.served) for each in suspects]
    except SQLAlchemyError:
        log.exception("no_statistics")
        return
    served.keep(current)
    yield from _standing(now)
    yield from _totals(totals)
    yield from _measured(models)
    yield from _watched(suspects, figures)


def _memory(engine: Engine) -> Iterator[Metric]:
    loaded, loading = engine.models()
    yield _gauge(
        "carot_models_in_memory",
        "Checkpoints",
        ["state"],
        [(("loaded",), loaded), (("loading",), loading)],
    )
    yield _gauge(
        "carot_models_memory_bytes",
        "Memory that loaded checkpoints take",
        [],
        [((), engine.memory_bytes())],
    )
    yield _gauge(
        "carot_prediction_pending_images",
        "Images being decoded or waiting",
        [],
        [((), engine.pending)],
    )


def _standing(now: Standing) -> Iterator[Metric]:
    pairs = [(state.value, kind) for state in JobState for kind in KINDS]
    yield _gauge(
        "carot_jobs",
        "Jobs",
        ["state", "kind"],
        [(pair, now.jobs.get(pair, 0)) for pair in pairs],
    )
    yield _gauge(
        "carot_queue_jobs",
        "Jobs that wait",
        ["queue"],
        [((queue,), now.queued.get(queue, 0)) for queue in QUEUES],
    )
    yield _gauge(
        "carot_queue_oldest_seconds",
        "How long the job has waited that has waited longest",
        ["queue"],
        [((queue,), now.oldest_seconds.get(queue, 0.0)) for queue in QUEUES],
    )
    yield _gauge(
        "carot_workers",
        "Workers that hold a job",
        ["lease"],
        [((lease,), now.workers.get(lease, 0)) for lease in LEASES],
    )
    yield _gauge(
        "carot_lease_age_max_seconds",
        "Since the lease was extended that was not for the longest time",
        [],
        [((), now.lease_age_seconds)],
    )


def _totals(totals: Totals) -> Iterator[Metric]:
    keys = [(kind, end.value) for kind in KINDS for end in sorted(TERMINAL)]
    ended = CounterMetricFamily("carot_jobs_ended", "Jobs that ended", labels=["kind", "outcome"])
    seconds = HistogramMetricFamily(
        "carot_job_seconds", "From a job's first start to its end", labels=["kind", "outcome"]
    )
    for key in keys:
        ended.add_metric(key, totals.ended[key])
        durations = totals.durations.get(key, Durations())
        bounds = [*(str(float(bound)) for bound in DURATIONS), "+Inf"]
        counts = [*durations.counts, durations.count]
        seconds.add_metric(key, list(zip(bounds, counts, strict=True)), durations.seconds)
    exits = CounterMetricFamily(
        "carot_attempts_ended", "Attempts that ended before their job did", labels=["reason"]
    )
    for reason in ExitReason:
        exits.add_metric([reason.value], totals.exits[reason.value])
    yield from (ended, seconds, exits)


def _measured(models: Iterable[ServedModel]) -> Iterator[Metric]:
    labels = ["project", "model"]
    yield _gauge(
        "carot_model_info",
        "1 for the checkpoint that an alias points to",
        [*labels, "checkpoint"],
        [((each.project, each.alias, each.checkpoint), 1) for each in models],
    )
    for name, field, meaning in (
        ("carot_model_accuracy", "accuracy", "Accuracy measured in distribution"),
        ("carot_model_calibration_error", "ece", "Calibration error measured in distribution"),
        ("carot_model_mean_confidence", "mean_confidence", "Mean confidence, in distribution"),
    ):
        rows = [((m.project, m.alias), m.measured[field]) for m in models if m.measured]
        yield _gauge(name, meaning, labels, rows)


def _watched(
    models: Sequence[WatchedModel], figures: Sequence[LiveAccuracy | None]
) -> Iterator[Metric]:
    labels = ["project", "model"]
    keys = [(each.served.project, each.served.alias) for each in models]
    for name, meaning, values in (
        (
            "carot_calibration_evidence",
            "E-value against confidences being true",
            [each.standing.evidence for each in models],
        ),
        (
            "carot_calibration_alert",
            "1 while an alert is open",
            [float(each.alerted) for each in models],
        ),
        (
            "carot_calibration_labels",
            "Labels that the test has seen",
            [float(each.standing.labels) for each in models],
        ),
    ):
        yield _gauge(name, meaning, labels, zip(keys, values, strict=True))
    for name, field, meaning in (
        ("carot_live_accuracy", "accuracy", "Accuracy by the newest labels"),
        ("carot_live_ece", "ece", "Calibration error by the newest labels"),
    ):
        found = [(key, getattr(each, field, None)) for key, each in zip(keys, figures, strict=True)]
        yield _gauge(name, meaning, labels, [(k, value) for k, value in found if value is not None])


def _gauge(
    name: str, meaning: str, labels: list[str], rows: Iterable[tuple[tuple[str, ...], float]]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


class _Page(Collector):
    """Families in a row."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
