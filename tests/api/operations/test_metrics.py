"""`/metrics`: parsed by Prometheus' own parser, documented, and what its figures mean."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from api.inference.engine import Engine
from api.predict import prometheus_by_model as served_module
from api.predict.prometheus import PredictionMeasures
from store.jobs.claims import claim, lose_attempt
from store.jobs.exits import Exit, ExitReason
from store.tables import DEFAULT_PROJECT
from tests.api.helpers import Start, bearer, context_of, new_key
from tests.api.jobs.test_jobs import submit
from tests.api.predict.test_predict import Brightness, Service, png
from tests.api.rows import add_checkpoint, add_report
from tests.paths import DOCS

PAGE = (DOCS / "operations.md").read_text(encoding="utf-8")


def families(client: TestClient) -> dict[str, Metric]:
    """Every family of the page."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def value(client: TestClient, name: str, **labels: str) -> float | None:
    """One sample; None when there is none."""
    for family in families(client).values():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    return None


@pytest.fixture
def service(client: TestClient) -> Service:
    service = Service(client)
    measures = service.state.predictions.measures
    service.state.predictions.engine.close()
    service.state.predictions.engine = Engine(
        service._load,
        capacity=8,
        wait_seconds=0.0,
        on_batch=measures.batch,
        on_wait=measures.wait_seconds.observe,
    )
    return service


def shown(family: Metric) -> str:
    """The name that is written in queries."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_the_page_lists_what_is_measured_with_its_labels(service: Service) -> None:
    answer = service.form(png(255), png(0))
    assert answer.status_code == 200
    id = answer.json()["predictions"][0]["id"]
    assert service.client.post(f"/predictions/{id}/label", json={"label": 0}).status_code == 200
    add_report(service.context, service.checkpoint, REPORT)
    exposed = {}
    for family in families(service.client).values():
        labels = {name for sample in family.samples for name in sample.labels} - {"le"}
        exposed[shown(family)] = (family.type, labels)
    documented = {}
    for line in PAGE.splitlines():
        row = re.match(r"\| `(carot_\w+)` \| (\w+) \| ([^|]*) \| [^|]+ \|$", line)
        if row:
            documented[row[1]] = (row[2], set(re.findall(r"`(\w+)`", row[3])))
    assert documented == exposed


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2", True),
        ("text/plain, Application/OpenMetrics-Text; version=1.0.0", True),
        ("text/plain;version=0.0.4", False),
        ("*/*", False),
        ("application/openmetrics-text;q=0, text/plain", False),
        ("application/openmetrics-texts", False),
        ("", False),
    ],
)
def test_openmetrics_for_who_asks(client: TestClient, accept: str, openmetrics: bool) -> None:
    client.get("/jobs")
    answer = client.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind == ("application/openmetrics-text" if openmetrics else "text/plain")
    assert answer.text.endswith("# EOF\n") == openmetrics
    parse = parse_openmetrics if openmetrics else text_string_to_metric_families
    names = {family.name for family in parse(answer.text)}
    assert names == families(client).keys()


def test_queries_of_the_page_ask_for_what_there_is(service: Service) -> None:
    assert service.form(png(255)).status_code == 200
    samples = {s.name for family in families(service.client).values() for s in family.samples}
    samples |= {shown(family) for family in families(service.client).values()}
    blocks = re.findall(r"```(?:promql|yaml)\n(.*?)```", PAGE, re.DOTALL)
    asked = set(re.findall(r"\bcarot_\w+", " ".join(blocks)))
    assert asked
    assert asked - samples == set()


def test_rules_of_the_page_are_rules() -> None:
    [block] = re.findall(r"```yaml\n(groups:.*?)```", PAGE, re.DOTALL)
    rules = [rule for group in yaml.safe_load(block)["groups"] for rule in group["rules"]]
    assert len(rules) >= 5
    for rule in rules:
        assert {"alert", "expr", "for", "labels", "annotations"} <= rule.keys()
        assert rule["annotations"]["summary"]
        assert rule["expr"].count("(") == rule["expr"].count(")")


def test_requests(client: TestClient) -> None:
    client.get("/jobs/job_x")
    labels = {"method": "GET", "route": "/jobs/{job_id}"}
    assert value(client, "carot_http_requests_total", **labels, status="404") == 1
    assert value(client, "carot_http_request_seconds_count", **labels) == 1


def test_jobs(client: TestClient) -> None:
    context = context_of(client)
    assert value(client, "carot_jobs", state="queued", kind="finetune") == 0
    first, second = submit(client), submit(client)
    with context.database.session() as session:
        held = claim(session, first["id"], "w", 60)
    assert held is not None
    assert value(client, "carot_jobs", state="queued", kind="finetune") == 1
    assert value(client, "carot_jobs", state="running", kind="finetune") == 1
    assert value(client, "carot_queue_jobs", queue="cpu") == 1
    assert value(client, "carot_queue_jobs", queue="gpu") == 0
    assert value(client, "carot_workers", lease="current") == 1
    with context.database.session() as session:
        lose_attempt(session, held, Exit(ExitReason.OUT_OF_MEMORY, "full"))
    client.post(f"/jobs/{second['id']}/cancel")
    assert value(client, "carot_attempts_ended_total", reason="out_of_memory") == 1
    assert value(client, "carot_attempts_ended_total", reason="signal") == 0
    ended = {"kind": "finetune", "outcome": "cancelled"}
    assert value(client, "carot_jobs_ended_total", **ended) == 1
    assert value(client, "carot_job_seconds_count", **ended) == 0


def test_what_the_process_knows_is_told_without_the_database(client: TestClient) -> None:
    with context_of(client).database.session() as session:
        session.execute(text("ALTER TABLE jobs RENAME TO elsewhere"))
    assert value(client, "carot_check_ok", check="database") == 0
    assert value(client, "carot_prediction_pending_images") == 0
    assert "carot_jobs" not in families(client)


# Predictions ----------------------------------------------------------------------------------

REPORT: dict[str, Any] = {
    "datasets": [
        {
            "in_distribution": True,
            "raw": {"accuracy": 0.8, "ece": 0.2, "mean_confidence": 0.9},
            "calibrated": {"accuracy": 0.8, "ece": 0.05, "mean_confidence": 0.82},
        }
    ]
}
DIGITS = {"project": DEFAULT_PROJECT, "model": "digits"}


def test_predictions_are_measured_by_model(service: Service) -> None:
    answer = service.form(png(255), png(0), b"no image").json()
    tops = [p["top"][0] for p in answer["predictions"] if p["top"]]
    client = service.client
    assert value(client, "carot_prediction_seconds_count", **DIGITS) == 1
    assert value(client, "carot_predictions_total") == 2
    assert value(client, "carot_prediction_wait_seconds_count") == 2
    assert value(client, "carot_prediction_batch_images_sum") == 2
    assert value(client, "carot_prediction_images_refused_total", reason="unreadable") == 1
    calibrated, raw = (sum(top[name] for top in tops) for name in ("confidence", "raw_confidence"))
    assert calibrated < raw
    assert value(client, "carot_served_confidence_sum", **DIGITS) == pytest.approx(calibrated)
    assert value(client, "carot_served_confidence_count", **DIGITS) == 2
    assert value(client, "carot_served_raw_confidence_sum", **DIGITS) == pytest.approx(raw)
    assert value(client, "carot_models_in_memory", state="loaded") == 1


def test_names_that_nobody_gave_are_no_labels(service: Service) -> None:
    for name in ("unknown", "x" * 90, "digits2"):
        assert service.form(png(255), model=name).status_code == 404
    page = service.client.get("/metrics").text
    assert "unknown" not in page
    assert "digits2" not in page
    assert "xxx" not in page


def test_checkpoints_that_are_asked_for_directly_share_a_label(service: Service) -> None:
    files = [("images", ("0.png", png(255)))]
    answer = service.client.post("/predict", files=files, data={"checkpoint": service.checkpoint})
    assert answer.status_code == 200
    labels = {"project": DEFAULT_PROJECT, "model": "(checkpoint)"}
    assert value(service.client, "carot_prediction_seconds_count", **labels) == 1
    assert value(service.client, "carot_served_confidence_count", **labels) is None


def test_images_that_are_not_taken(start: Start) -> None:
    service = Service(start(max_image_bytes=2000))
    assert service.form(bytes(3000)).status_code == 422
    reason = "carot_prediction_images_refused_total"
    assert value(service.client, reason, reason="too_large") == 1
    assert service.form(*[png(0)] * 9).status_code == 503
    assert value(service.client, reason, reason="busy") == 9


def test_what_was_measured_stands_beside_what_is_claimed(service: Service) -> None:
    client = service.client
    assert value(client, "carot_model_accuracy", **DIGITS) is None
    info = DIGITS | {"checkpoint": service.checkpoint}
    assert value(client, "carot_model_info", **info) == 1
    other = add_checkpoint(service.context, b"other")
    add_report(service.context, other, REPORT)
    client.put("/models/other", json={"checkpoint": other})
    labels = DIGITS | {"model": "other"}
    assert value(client, "carot_model_accuracy", **labels) == 0.8
    assert value(client, "carot_model_calibration_error", **labels) == 0.05
    assert value(client, "carot_model_mean_confidence", **labels) == 0.82


def test_a_model_that_is_gone_is_a_label_no_more(service: Service) -> None:
    assert service.form(png(255)).status_code == 200
    assert value(service.client, "carot_served_confidence_count", **DIGITS) == 1
    assert service.client.delete("/models/digits").status_code == 204
    service.client.get("/metrics")  # which finds out
    assert 'model="digits"' not in service.client.get("/metrics").text


def test_a_model_that_points_elsewhere_begins_anew(service: Service) -> None:
    assert service.form(png(255)).status_code == 200
    second = add_checkpoint(service.context, b"second", ("dark", "bright"))
    service.state.predictions.engine.close()
    service.state.predictions.engine = Engine(lambda _: Brightness())
    service.client.put("/models/digits", json={"checkpoint": second})
    for count in (1, 2):
        assert service.form(png(0)).status_code == 200
        assert value(service.client, "carot_served_confidence_count", **DIGITS) == count


def test_models_of_all_projects_are_for_the_operator(service: Service) -> None:
    """Its answers name models of every project, so it is not for every project."""
    assert service.form(png(255)).status_code == 200
    own, other = (new_key(service.client, "admin", project=p) for p in ("default", "other"))
    assert "digits" in service.client.get("/metrics", headers=bearer(own)).text
    refused = service.client.get("/metrics", headers=bearer(other))
    assert refused.status_code == 403
    assert "digits" not in refused.text


def test_labels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_module, "MAX_MODELS", 2)
    registry = CollectorRegistry()
    measures = PredictionMeasures(registry)
    for number in range(5):
        measures.served.record("p", f"m{number}", "ckpt", 0.1, [(0.9, 0.8)])
    measures.served.record("q", "m9", "ckpt", 0.1, [])
    page = generate_latest(registry).decode()
    assert 'model="m1"' in page
    assert 'model="m2"' not in page
    assert 'carot_prediction_seconds_count{model="(other)",project="p"} 3.0' in page
    assert 'model="m9"' in page  # of another project, which has room
    measures.served.keep({("p", "m0"): "ckpt"})
    measures.served.record("p", "m4", "ckpt", 0.1, [])
    page = generate_latest(registry).decode()
    assert 'model="m4"' in page
    assert 'model="m1"' not in page
