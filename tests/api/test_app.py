"""What holds for every request: ids, hosts, problems, health, the document of the API."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from fastapi.testclient import TestClient

from tests.api.helpers import Start, context_of


@pytest.mark.slow
def test_importing_the_app_loads_neither_torch_nor_a_worker() -> None:
    code = "import sys, api.app; print([m for m in ('torch','open_clip','worker','celery.worker')"
    code += " if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/jobs/", 404, "not_found"),
        ("DELETE", "/jobs", 405, "method_not_allowed"),
        ("POST", "/models/x", 405, "method_not_allowed"),
        ("GET", "/models/nobody", 404, "not_found"),
        ("DELETE", "/models/nobody", 404, "not_found"),
        ("GET", "/models/%00", 404, "not_found"),
        ("GET", "/checkpoints/ckpt_x", 404, "not_found"),
        ("GET", "/checkpoints/ckpt_x/download", 404, "not_found"),
        ("GET", "/reports/rep_x", 404, "not_found"),
        ("GET", "/datasets/ds_x", 404, "not_found"),
    ],
)
def test_errors_are_problems(
    client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == f"urn:carot:problem:{code}"
    assert problem["request_id"] == answer.headers["x-request-id"]


def test_405_says_what_is_allowed(client: TestClient) -> None:
    assert client.request("DELETE", "/health/live").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("sent", "kept"), [("abc-123", True), ("x" * 200, False), ("a b", False), ("a;b", False)]
)
def test_sane_request_ids_are_kept(client: TestClient, sent: str, kept: bool) -> None:
    answer = client.get("/health/live", headers={"X-Request-ID": sent})
    assert (answer.headers["x-request-id"] == sent) is kept
    assert len(answer.headers["x-request-id"]) <= 128


def test_what_nobody_expected_is_a_problem_without_details(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("api.jobs.routes.store.list_jobs", broken)
    answer = client.get("/jobs")
    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert "secret" not in answer.text


def test_a_database_that_is_away_is_no_error_of_ours(client: TestClient) -> None:
    context = context_of(client)
    file = context.settings.data_dir / "carot.db"
    context.database.close()
    file.rename(file.with_suffix(".away"))
    file.mkdir()
    answer = client.get("/jobs")
    assert answer.status_code == 503
    assert answer.json()["code"] == "unavailable"
    assert answer.headers["retry-after"] == "1"
    file.rmdir()
    file.with_suffix(".away").rename(file)
    assert client.get("/jobs").status_code == 200


# Hosts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8000", "[::1]:9", "LOCALHOST"])
def test_loopback_names_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/health/live", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "[::1", "10.0.0.1"])
def test_other_names_are_not(client: TestClient, host: str) -> None:
    answer = client.get("/health/live", headers={"Host": host})
    assert answer.status_code == 421
    assert answer.json()["code"] == "misdirected_request"


def test_names_can_be_added(start: Start) -> None:
    client = start(allowed_hosts="carot.example, other.example")
    assert client.get("/health/live", headers={"Host": "carot.example:80"}).status_code == 200


def test_pages_of_other_sites_cannot_write(client: TestClient) -> None:
    evil = {"Origin": "https://evil.example"}
    assert client.post("/jobs", json={}, headers=evil).status_code == 403
    own = {"Origin": "http://localhost:8000"}
    assert client.post("/jobs", json={}, headers=own).status_code == 422


def test_insecure_answers_anybody(start: Start) -> None:
    client = start(insecure=True)
    assert client.get("/health/live", headers={"Host": "anything"}).status_code == 200


# Bodies ---------------------------------------------------------------------------------------


def test_large_bodies_are_refused_whatever_they_claim(start: Start) -> None:
    client = start(max_body_bytes=2000)
    body = json.dumps({"kind": "x" * 5000}).encode()
    headers = {"Content-Type": "application/json"}
    told = client.post("/jobs", content=body, headers=headers)
    untold = client.post("/jobs", content=iter([body[:1500], body[1500:]]), headers=headers)
    for answer in (told, untold):
        assert answer.status_code == 413
        assert answer.json()["code"] == "too_large"


# Health and measurements ----------------------------------------------------------------------


def test_alive(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"status": "live"}


def test_the_index_leads_on(client: TestClient) -> None:
    index = client.get("/index").json()
    assert index["links"]["openapi"] == "/openapi.json"
    assert client.get("/docs").status_code == 404


def test_the_index_says_how_much_a_prediction_may_hold(start: Start) -> None:
    client = start(max_images=3, max_image_bytes=5000, max_body_bytes=10_000)
    most = client.get("/index").json()["predict"]
    assert most == {"images": 3, "image_bytes": 5000, "body_bytes": 10_000}


def test_the_document_has_problems_and_examples(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert "HTTPValidationError" not in json.dumps(document)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            content = operation["responses"]["default"]["content"]
            assert "application/problem+json" in content, path
    schemas = document["components"]["schemas"]
    assert schemas["FinetuneRequest"]["examples"][0]["model"] == {"architecture": "carot-mini"}


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/jobs", {"GET", "POST"}),
        ("/models/digits", {"GET", "PUT", "PATCH", "DELETE"}),
        ("/presets", {"GET"}),
    ],
)
def test_a_method_that_a_path_lacks_is_told_the_others(
    path: str, methods: set[str], client: TestClient
) -> None:
    response = client.request("TRACE", path)
    assert response.status_code == 405
    assert set(response.headers["allow"].split(", ")) == methods | {"HEAD"}


@pytest.mark.parametrize("moment", ["0.5", "1700000000", "-1"])
def test_a_number_is_no_time(moment: str, client: TestClient) -> None:
    response = client.get("/jobs", params={"updated_after": moment})
    assert response.status_code == 422
    assert "2026-01-31T12:00:00Z" in response.json()["detail"]
