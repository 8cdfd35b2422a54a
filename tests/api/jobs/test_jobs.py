"""Jobs over HTTP, without a worker."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient

from carot.specs import preset
from tests.api.helpers import archive, context_of, state_of

SPEC: dict[str, Any] = {
    "kind": "finetune",
    "model": {"architecture": "carot-mini"},
    "dataset": "builtin:digits",
    "training": {"epochs": 2},
}
NO_ID = "0" * 26


def changed(path: str, value: object) -> dict[str, Any]:
    """The spec with another value somewhere in it."""
    spec = copy.deepcopy(SPEC)
    *parents, last = path.split(".")
    place = spec
    for name in parents:
        place = place.setdefault(name, {})
    place[last] = value
    return spec


def submit(client: TestClient, body: dict[str, Any] = SPEC, **headers: str) -> dict[str, Any]:
    answer = client.post("/jobs", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    job: dict[str, Any] = answer.json()
    return job


def upload(client: TestClient, *arguments: Any) -> str:
    answer = client.post(
        "/datasets", content=archive(*arguments), headers={"Content-Type": "application/zip"}
    )
    identity: str = answer.json()["id"]
    return identity


def test_a_job_is_queued(client: TestClient) -> None:
    job = submit(client, SPEC | {"name": "first", "alias": "digits"})
    assert job["state"] == "queued"
    assert (job["name"], job["alias"], job["kind"], job["method"]) == (
        "first",
        "digits",
        "finetune",
        "carot",
    )
    assert job["dataset"] == "builtin:digits"
    assert job["spec"]["training"]["epochs"] == 2
    assert job["attempts"] == 0
    assert client.get(f"/jobs/{job['id']}").json() == job


def test_evaluation_jobs(client: TestClient) -> None:
    body = {
        "kind": "evaluate",
        "model": {"architecture": "carot-mini"},
        "dataset": "builtin:digits",
    }
    assert submit(client, body)["kind"] == "evaluate"


def test_the_list_has_pages_and_filters(client: TestClient) -> None:
    ids = [submit(client)["id"] for _ in range(5)]
    client.post(f"/jobs/{ids[0]}/cancel")
    seen: list[str] = []
    cursor = None
    while True:
        page = client.get(
            "/jobs", params={"limit": 2} | ({"cursor": cursor} if cursor else {})
        ).json()
        seen += [job["id"] for job in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]
    cancelled = client.get("/jobs?state=cancelled").json()["data"]
    assert [job["id"] for job in cancelled] == [ids[0]]
    assert client.get("/jobs?kind=evaluate").json()["data"] == []
    moments = [job["updated_at"] for job in client.get("/jobs").json()["data"]]
    last = max(moments, key=datetime.fromisoformat)  # whole seconds have no fraction
    assert client.get("/jobs", params={"updated_after": last}).json()["data"] == []
    assert client.get("/jobs", params={"updated_after": "2020-01-01T00:00:00Z"}).json()["data"]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "state=lost", "cursor=%00", "cursor=zz"])
def test_list_parameters_out_of_range(client: TestClient, query: str) -> None:
    answer = client.get(f"/jobs?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].removesuffix(".0") == query.partition("=")[0]


# Cancelling -----------------------------------------------------------------------------------


def test_a_queued_job_is_cancelled_at_once_and_only_once(client: TestClient) -> None:
    job = submit(client)
    first = client.post(f"/jobs/{job['id']}/cancel")
    assert (first.status_code, first.json()["state"]) == (200, "cancelled")
    second = client.post(f"/jobs/{job['id']}/cancel")
    assert second.status_code == 409
    assert second.json()["code"] == "illegal_transition"


def test_a_running_job_is_asked_to_stop(client: TestClient) -> None:
    from store.jobs.claims import claim

    job = submit(client)
    with context_of(client).database.session() as session:
        assert claim(session, job["id"], "worker-1", 60) is not None
    for _ in range(2):  # cancelling twice: the same answer
        answer = client.post(f"/jobs/{job['id']}/cancel")
        assert (answer.status_code, answer.json()["state"]) == (202, "cancelling")


# What is refused ------------------------------------------------------------------------------

REFUSED = [
    ("model.folder", "/etc", "model"),
    ("model", {"folder": "/etc"}, "model.folder"),
    ("model", {"checkpoint": f"ckpt_{NO_ID}"}, "model.checkpoint"),
    ("model", {"checkpoint": "../../etc"}, "model.checkpoint"),
    ("model", {"architecture": "ViT-B-99", "pretrained": "openai"}, "model.architecture"),
    ("model", {"architecture": "ViT-B-16", "pretrained": "/etc/passwd"}, "model.pretrained"),
    ("model", {"architecture": "ViT-B-16"}, "model"),
    ("dataset", f"ds_{NO_ID}", "dataset"),
    ("dataset", "builtin:letters", "dataset"),
    ("dataset", "folder:/etc", "dataset"),
    ("dataset", "csv:/etc/passwd", "dataset"),
    ("dataset", "", "dataset"),
    ("training.learning_rate", 0, "training.learning_rate"),
    ("training.learning_rate", -1e-4, "training.learning_rate"),
    ("training.learning_rate", 7, "training.learning_rate"),
    ("training.learning_rate", "fast", "training.learning_rate"),
    ("training.batch_size", 1, "training.batch_size"),
    ("training.batch_size", 10**9, "training.batch_size"),
    ("training.batch_size", 60_000, "training.batch_size"),
    ("training.epoch", 3, "training.epoch"),
    ("method", {"name": "magic"}, "method"),
    (
        "method",
        {"name": "carot", "teacher": {"final_momentum": 2}},
        "method.teacher.final_momentum",
    ),
    ("evaluation", {"datasets": []}, "evaluation.datasets"),
    (
        "evaluation",
        {"datasets": [{"name": "x", "dataset": "folder:/"}]},
        "evaluation.datasets.0.dataset",
    ),
    ("calibration", {"calibrator": "magic"}, "calibration.calibrator"),
    ("calibration", {"coverages": [1]}, "calibration.coverages.0"),
    ("calibration", {"also": ["domain_temperature"]}, "calibration.domains"),
    (
        "calibration",
        {"domains": [{"name": "x", "dataset": "folder:/"}]},
        "calibration.domains.0.dataset",
    ),
    ("name", "a\0b", "name"),
    ("name", "x" * 300, "name"),
    ("alias", "../up", "alias"),
    ("kind", "destroy", "body"),
    ("prompts", {"templates": ["a\0{}"]}, "body"),
    ("preset", "../../etc/passwd", "preset"),
    ("preset", "carot", "method.name"),
    ("selection", {"rule": "best"}, "selection.rule"),
]


@pytest.mark.parametrize(("path", "value", "field"), REFUSED)
def test_refused_with_the_field_named(
    client: TestClient, path: str, value: object, field: str
) -> None:
    body = changed(path, value)
    if field == "method.name":  # a preset beside another method than its own
        body["method"] = {"name": "flyp"}
    answer = client.post("/jobs", json=body)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert field in [error["field"] for error in problem["errors"]], problem
    assert field == "body" or field in problem["detail"]
    assert client.get("/jobs").json()["data"] == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_none(client: TestClient, number: str) -> None:
    body = (
        '{"kind":"finetune","model":{"architecture":"carot-mini"},"dataset":"builtin:digits",'
        f'"training":{{"max_gradient_norm":{number}}}}}'
    )
    answer = client.post("/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422


@pytest.mark.parametrize("body", ["{", "nonsense", "", "[" * 100_000, b"\xff\xfe"])
def test_a_body_that_is_not_json(client: TestClient, body: str | bytes) -> None:
    answer = client.post("/jobs", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_of_another_kind(client: TestClient) -> None:
    answer = client.post("/jobs", content="a=b", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_a_batch_larger_than_the_training_split(client: TestClient) -> None:
    dataset = upload(client, 10)
    answer = client.post("/jobs", json=changed("training.batch_size", 64) | {"dataset": dataset})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "training.batch_size"


def test_a_job_that_names_no_method_gets_the_default_recipe(client: TestClient) -> None:
    bare = {key: value for key, value in SPEC.items() if key not in ("method", "preset")}
    spec = submit(client, bare)["spec"]
    assert (spec["preset"], spec["method"]["name"]) == ("carot", "carot")
    assert spec["method"]["anchor"]["weight"] == preset("carot")["method"]["anchor"]["weight"] > 0


def test_a_preset_fills_in_what_the_job_leaves_out(client: TestClient) -> None:
    job = submit(client, SPEC | {"preset": "carot"})
    assert (job["method"], job["spec"]["preset"]) == ("carot", "carot")
    assert job["spec"]["training"]["epochs"] == 2


def test_class_lists_that_differ(client: TestClient) -> None:
    one, other = upload(client, 40), upload(client, 40, ("cat", "fish"))
    evaluation = {"datasets": [{"name": "other", "dataset": other}]}
    body = SPEC | {"dataset": one, "evaluation": evaluation, "training": {"batch_size": 8}}
    answer = client.post("/jobs", json=body)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "class_mismatch"
    assert problem["errors"][0]["field"] == "evaluation.datasets.0.dataset"
    assert "dog" in problem["detail"]
    assert "fish" in problem["detail"]


def test_domains_have_the_classes_of_the_data_set(client: TestClient) -> None:
    one, other = upload(client, 40), upload(client, 40, ("cat", "fish"))
    body = SPEC | {"dataset": one, "training": {"batch_size": 8}}
    domain = {"name": "x", "dataset": one, "split": "calibration"}
    for changes, field in (
        ({"dataset": other}, "dataset"),
        ({"shift": "printed"}, "shift"),
    ):
        asked = {"calibration": {"domains": [domain | changes]}}
        answer = client.post("/jobs", json=body | asked)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == f"calibration.domains.0.{field}"
    job = submit(client, body | {"calibration": {"domains": [domain]}})
    assert job["spec"]["calibration"]["domains"][0]["dataset"] == one


def test_a_data_set_of_a_domain_stays_while_its_job_may_run(client: TestClient) -> None:
    one, other = upload(client, 40), upload(client, 40)
    domains = [{"name": "x", "dataset": other}]
    body = SPEC | {"dataset": one, "training": {"batch_size": 8}}
    submit(client, body | {"calibration": {"domains": domains}})
    assert client.delete(f"/datasets/{other}").status_code == 409


def test_printed_digits_go_with_the_bundled_ones(client: TestClient) -> None:
    dataset = upload(client, 40)
    row = {"name": "x", "dataset": dataset, "shift": "printed"}
    body = SPEC | {"dataset": dataset, "evaluation": {"datasets": [row]}}
    answer = client.post("/jobs", json=body | {"training": {"batch_size": 8}})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "evaluation.datasets.0.shift"


@pytest.mark.parametrize("identity", [f"job_{NO_ID}", "job_x", "%00", "'; DROP TABLE jobs"])
@pytest.mark.parametrize("rest", ["", "/events", "/events/stream", "/metrics"])
def test_jobs_that_do_not_exist(client: TestClient, identity: str, rest: str) -> None:
    answer = client.get(f"/jobs/{identity}{rest}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


# Idempotency ----------------------------------------------------------------------------------


def test_the_same_request_twice_is_one_job(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = client.post("/jobs", json=SPEC, headers=headers)
    reordered = dict(reversed(SPEC.items()))
    second = client.post("/jobs", json=reordered, headers=headers)
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    assert first.headers["location"] == second.headers["location"]
    assert len(client.get("/jobs").json()["data"]) == 1
    other = client.post("/jobs", json=SPEC | {"name": "x"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "key_reused")


def test_a_refused_request_leaves_its_key_free(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    bad = changed("dataset", f"ds_{NO_ID}")
    assert client.post("/jobs", json=bad, headers=headers).status_code == 422
    assert client.post("/jobs", json=SPEC, headers=headers).status_code == 201


# The door bell --------------------------------------------------------------------------------


def test_the_bell_rings_after_the_row_is_there(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = context_of(client)
    notified: list[tuple[str, str]] = []

    def notify(job_id: str, queue: str) -> None:
        with context.database.session() as session:
            from store.jobs.transitions import find

            notified.append((find(session, job_id).id, queue))

    monkeypatch.setattr(state_of(client).jobs.notifier, "notify", notify)
    job = submit(client)
    assert notified == [(job["id"], "cpu")]


@pytest.mark.slow
def test_a_broker_that_is_down_loses_nothing(start: Any) -> None:
    client = start(broker_url="redis://127.0.0.1:9/0")
    assert submit(client)["state"] == "queued"


@pytest.mark.parametrize("name", ["digits", "corruptions"])
def test_a_suite_whose_data_the_service_has(name: str, client: TestClient) -> None:
    job = submit(client, changed("evaluation", {"suite": name, "severities": [1, 5]}))
    assert job["spec"]["evaluation"]["suite"] == name
    assert job["spec"]["evaluation"]["datasets"] is None


def test_corruptions_of_an_uploaded_data_set(client: TestClient) -> None:
    body = {"dataset": upload(client, 40), "training": {"batch_size": 8}}
    submit(client, changed("evaluation.suite", "corruptions") | body)
    # Its classes are no digits.
    answer = client.post("/jobs", json=changed("evaluation.suite", "digits") | body)
    assert answer.status_code == 422
    assert answer.json()["code"] == "class_mismatch"
    assert answer.json()["errors"][0]["field"] == "evaluation.suite"


@pytest.mark.parametrize(
    ("evaluation", "field", "message"),
    [
        ({"suite": "cifar"}, "evaluation.suite", "no suite 'cifar'; there are corruptions, digits"),
        ({"suite": "imagenet", "root": "data"}, "evaluation.root", "no data set root"),
        ({"suite": "imagenet-c"}, "evaluation.root", "needs root"),
        ({"suite": "digits", "root": "/data"}, "evaluation.root", "takes no root"),
        ({"root": "/data"}, "evaluation.root", "goes with a suite"),
        (
            {"suite": "digits", "datasets": [{"name": "x", "dataset": "builtin:digits"}]},
            "evaluation.suite",
            "exclude one another",
        ),
    ],
)
def test_suites_that_are_refused(
    evaluation: dict[str, Any], field: str, message: str, client: TestClient
) -> None:
    answer = client.post("/jobs", json=changed("evaluation", evaluation))
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"].endswith(field)
    assert message in error["message"]


def test_a_row_with_some_of_the_classes(client: TestClient) -> None:
    dataset, part = upload(client, 40, ("ant", "bee", "cat")), upload(client, 40, ("cat", "ant"))
    row = {"name": "part", "dataset": part}
    body = {"dataset": dataset, "training": {"batch_size": 8}}
    answer = client.post("/jobs", json=changed("evaluation.datasets", [row]) | body)
    assert answer.json()["code"] == "class_mismatch"
    submit(client, changed("evaluation.datasets", [row | {"restrict": True}]) | body)
    other = row | {"dataset": upload(client, 40, ("cat", "fish")), "restrict": True}
    answer = client.post("/jobs", json=changed("evaluation.datasets", [other]) | body)
    assert answer.json()["code"] == "class_mismatch"
    assert "fish" in answer.json()["detail"]


def test_how_a_job_is_to_be_run(client: TestClient) -> None:
    wanted = {"queue": "gpu", "processes": 4}
    job = submit(client, changed("resources", wanted) | {"priority": 7, "max_seconds": 3600})
    assert {key: job[key] for key in ("queue", "processes", "priority", "max_seconds")} == {
        "queue": "gpu",
        "processes": 4,
        "priority": 7,
        "max_seconds": 3600.0,
    }
    assert "resources" not in job["spec"]
    plain = submit(client)
    assert (plain["queue"], plain["processes"], plain["priority"]) == ("cpu", 1, 0)
    assert (plain["max_seconds"], plain["retries"], plain["not_responding_since"]) == (
        None,
        0,
        None,
    )


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("priority", 101, "priority"),
        ("priority", 0.5, "priority"),
        ("max_seconds", 0, "max_seconds"),
        ("resources", {"queue": "tpu"}, "resources.queue"),
        ("resources", {"processes": 0}, "resources.processes"),
        ("resources", {"gpus": 2}, "resources.gpus"),
    ],
)
def test_wishes_that_cannot_be(field: str, value: Any, named: str, client: TestClient) -> None:
    response = client.post("/jobs", json=changed(field, value))
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == named


def test_a_waiting_job_is_paused_resumed_cancelled_and_tried_again(client: TestClient) -> None:
    url = f"/jobs/{submit(client)['id']}"

    def ask(what: str) -> tuple[int, str]:
        response = client.post(f"{url}/{what}")
        return response.status_code, response.json().get("state") or response.json()["code"]

    refused = (409, "illegal_transition")
    assert [ask("resume"), ask("retry")] == [refused, refused]
    assert [ask("pause"), ask("pause")] == [(200, "paused"), (200, "paused")]
    assert [ask("resume"), ask("cancel")] == [(200, "queued"), (200, "cancelled")]
    assert [ask("pause"), ask("resume"), ask("retry")] == [refused, refused, (200, "queued")]
    assert client.get(url).json()["retries"] == 1


def test_a_running_job_is_asked_to_pause(client: TestClient) -> None:
    from store.jobs.claims import claim, mark_paused

    job, context = submit(client), context_of(client)
    with context.database.session() as session:
        held = claim(session, job["id"], "w", 60)
    assert held is not None
    response = client.post(f"/jobs/{job['id']}/pause")
    assert (response.status_code, response.json()["state"]) == (202, "pausing")
    assert client.post(f"/jobs/{job['id']}/resume").status_code == 409
    with context.database.session() as session:
        mark_paused(session, held)
    assert client.post(f"/jobs/{job['id']}/resume").json()["state"] == "queued"


def test_a_priority_can_be_changed_while_the_job_lives(client: TestClient) -> None:
    url = f"/jobs/{submit(client)['id']}"
    assert client.patch(url, json={"priority": -3}).json()["priority"] == -3
    assert client.patch(url, json={"priority": 1000}).status_code == 422
    assert client.patch(url, json={"state": "succeeded", "priority": 1}).status_code == 422
    client.post(f"{url}/cancel")
    assert client.patch(url, json={"priority": 1}).status_code == 409
    assert client.patch("/jobs/job_none", json={"priority": 1}).status_code == 404


def test_a_check_says_what_would_be_chosen_and_queues_nothing(client: TestClient) -> None:
    body = {k: v for k, v in SPEC.items() if k != "training"}
    answer = client.post("/jobs/check", json=body)
    assert answer.status_code == 200, answer.text
    training = answer.json()["spec"]["training"]
    assert training["learning_rate"] == 5e-4
    assert training["batch_size"] <= 128
    assert training["epochs"] >= 10
    assert answer.json()["warnings"] == []
    assert client.get("/jobs").json()["data"] == []
    assert submit(client, body)["spec"]["training"] == training


def test_a_check_warns_of_a_rate_far_from_the_models_own(client: TestClient) -> None:
    body = changed("training.learning_rate", 1e-5)
    [warning] = client.post("/jobs/check", json=body).json()["warnings"]
    assert warning["code"] == "unusual_learning_rate"
    assert warning["action"]


def test_a_check_says_why_a_job_would_be_refused(client: TestClient) -> None:
    answer = client.post("/jobs/check", json=changed("dataset", "ds_" + NO_ID))
    assert answer.status_code == 200
    assert answer.json()["spec"] is None
    assert [each["field"] for each in answer.json()["errors"]] == ["dataset"]
    assert client.post("/jobs/check", json=changed("training.epochs", 0)).status_code == 422
