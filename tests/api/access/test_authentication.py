"""Every route of the application, as a stranger, without the scope, and from another project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from fastapi.testclient import TestClient

from api.access.callers import Anyone, OpenRoutes, UndeclaredScope, declared_scopes, is_open
from carot.data.digits import handwritten_digits
from store.access.keys import revoke_key
from store.access.projects import find_project
from store.access.scopes import SCOPES, Scope
from store.jobs.claims import claim_next
from store.queues import QUEUES
from store.tables import DEFAULT_PROJECT
from store.webhooks.webhooks import create_webhook
from tests.api.helpers import Start, bearer, context_of, new_key
from tests.api.reports.stored_logits import Row, add_measured
from tests.api.rows import add_checkpoint, add_prediction, add_predictions, add_report, add_worker

# The dashboard's page and files hold no data; what they show, they ask for with a session.
FILES = {
    ("GET", "/"),
    ("GET", "/dashboard/plotly/{version}/plotly.min.js"),
    ("GET", "/dashboard/{build}/{name:path}"),
}
OPEN = FILES | {
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    ("POST", "/session"),
}
DIGIT = handwritten_digits("test").keys[0]
# What a request needs to get as far as looking the id in its path up.
BODIES: dict[tuple[str, str], Any] = {
    ("PATCH", "/jobs/{job_id}"): {"priority": 1},
    ("PATCH", "/models/{alias}"): {"log_rate": 0.5},
    ("POST", "/predictions/{prediction_id}/label"): {"label": "a"},
    ("POST", "/models/{alias}/recalibrate"): {"dry_run": True},
}
QUERIES = {
    ("GET", "/datasets/{dataset_id}/image"): {"split": "test", "key": DIGIT},
    ("GET", "/reports/{report_id}/image"): {"key": DIGIT},
}
# Nobody owns presets; an alias of one's own may have the name of somebody else's.
OWNERLESS = {("GET", "/presets/{name}"), ("PUT", "/models/{alias}")} | FILES
# Without labels there is nothing to fit.
UNREADY = {("POST", "/models/{alias}/recalibrate")}
NOWHERE = ("GET", "/nowhere")
JOB = {
    "kind": "finetune",
    "model": {"architecture": "carot-mini"},
    "dataset": "builtin:digits",
    "name": "private",
}


def routes(client: TestClient) -> Iterator[tuple[str, str, RouteContext]]:
    """Every method of every route of the application, its own document among them."""
    app = client.app
    assert isinstance(app, FastAPI)
    for route in iter_route_contexts(app.routes):
        for method in sorted(route.methods or ()):
            yield method, str(route.path), route


def ask(client: TestClient, method: str, path: str, **options: Any) -> httpx.Response:
    """A request; for the id in a path without values, one that nothing has."""
    filled = path
    for name in (
        "dataset",
        "job",
        "checkpoint",
        "report",
        "key",
        "webhook",
        "delivery",
        "prediction",
    ):
        filled = filled.replace(f"{{{name}_id}}", f"{name[:4]}_{26 * '0'}")
    for name in ("alias", "name", "version"):
        filled = filled.replace(f"{{{name}}}", "x")
    assert "{" not in filled, f"{path}: say what to put in its place"
    return client.request(method, filled, **options)  # type: ignore[return-value]


@pytest.fixture
def things(client: TestClient, tmp_path: Path) -> dict[str, str]:
    """One of each thing, in the default project; the value for each parameter of a path."""
    owner = bearer(new_key(client, "admin"))
    dataset = client.post("/datasets", json={"source": "builtin:digits"}, headers=owner).json()
    job = client.post("/jobs", json=JOB, headers=owner).json()
    add_predictions(context_of(client), job["id"], b"secret answers")
    checkpoint = add_checkpoint(context_of(client), b"secret weights")
    measured = replace(Row.of(), keys=handwritten_digits("test").keys[:300])
    report, _ = add_measured(context_of(client), tmp_path, [measured], checkpoint=checkpoint)
    done = client.put("/models/private", json={"checkpoint": checkpoint}, headers=owner)
    assert done.status_code == 200
    prediction = add_prediction(
        context_of(client), checkpoint, alias="private", image=b"a secret image"
    )
    [key] = client.get("/keys", headers=owner).json()["data"]
    with context_of(client).database.session() as session:
        url = "https://hooks.example/carot"
        webhook = create_webhook(session, DEFAULT_PROJECT, url, ["succeeded"]).id
        held = claim_next(session, "worker", 60.0, QUEUES)
    assert held is not None
    assert held.job_id == job["id"]
    add_worker(context_of(client), "worker")
    return {
        "dataset_id": dataset["id"],
        "job_id": job["id"],
        "checkpoint_id": checkpoint,
        "report_id": report,
        "alias": "private",
        "version": checkpoint,
        "key_id": key["id"],
        "webhook_id": webhook,
        "prediction_id": prediction,
    }


# Strangers ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_walk_sees_the_application(client: TestClient) -> None:
    seen = {(method, path) for method, path, _ in routes(client)}
    assert {("GET", "/openapi.json"), ("POST", "/jobs"), ("GET", "/")} | OPEN <= seen
    assert len(seen) > 25


def test_only_these_routes_are_open(client: TestClient) -> None:
    found = {
        (method, path)
        for method, path, route in routes(client)
        if path != "/openapi.json" and is_open(route)
    }
    assert found == OPEN


@pytest.mark.parametrize(
    "kind", ["none", "other scheme", "malformed", "wrong", "expired", "revoked"]
)
def test_every_route_is_shut_to_strangers(start: Start, kind: str) -> None:
    client = start(failures_per_minute=0)
    token = new_key(client, "admin", expires=-1 if kind == "expired" else None)
    if kind == "revoked":
        with context_of(client).database.session() as session:
            revoke_key(session, None, token.partition(".")[0])
    flipped = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    headers = {
        "none": {},
        "other scheme": {"Authorization": f"Basic {token}"},
        "malformed": bearer("nonsense"),
        "wrong": bearer(flipped),
    }.get(kind, bearer(token))
    for method, path in [(m, p) for m, p, _ in routes(client) if (m, p) not in OPEN] + [NOWHERE]:
        answer = ask(client, method, path, headers=headers)
        assert answer.status_code == 401, (method, path, answer.text)
        if method != "HEAD":
            assert answer.json()["code"] == "unauthenticated"
            assert token not in answer.text
            assert flipped not in answer.text
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_no_byte_of_a_strangers_body_is_read(client: TestClient) -> None:
    new_key(client, "admin")
    read = []
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        read.append(True)
        return {"type": "http.request", "body": b"{", "more_body": True}

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/jobs",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "query_string": b"",
        "client": ("127.0.0.1", 1),
    }
    anyio.run(client.app, scope, receive, send)
    assert messages[0]["status"] == 401
    assert read == []


def test_open_routes_stay_open(client: TestClient) -> None:
    new_key(client, "admin")
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").status_code == 200
    assert client.post("/session", json={}).status_code == 422


def test_a_valid_key_opens_the_index_and_the_document(client: TestClient) -> None:
    key = bearer(new_key(client, "predict"))
    for path in ("/index", "/openapi.json", "/session"):
        assert client.get(path, headers=key).status_code == 200


# Scopes ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_route_needs_its_scope(client: TestClient) -> None:
    wanted = {frozenset(declared_scopes(route)) for _, _, route in routes(client)} - {frozenset()}
    assert frozenset.union(*wanted) == set(SCOPES)
    without = {}
    for scopes in wanted:
        others = [each for each in SCOPES if each not in {*scopes, "admin"}]
        without[scopes] = bearer(new_key(client, *others))
    only = {scope: bearer(new_key(client, scope)) for scope in SCOPES}
    for method, path, route in routes(client):
        if not (scopes := frozenset(declared_scopes(route))):
            continue
        refused = ask(client, method, path, headers=without[scopes])
        assert refused.status_code == 403, (method, path, refused.text)
        assert refused.json()["code"] == "forbidden"
        for scope in scopes:
            assert scope in refused.json()["detail"]
        for scope in {*scopes, "admin"}:
            let_in = ask(client, method, path, headers=only[scope])
            assert let_in.status_code not in (401, 403), (method, path, let_in.text)


def test_what_the_routes_need(client: TestClient) -> None:
    expected: dict[str, set[Scope]] = {
        "GET /jobs": {"jobs:read"},
        "GET /jobs/{job_id}/events/stream": {"jobs:read"},
        "GET /datasets/{dataset_id}": {"jobs:read"},
        "GET /presets": {"jobs:read"},
        "GET /jobs/{job_id}/predictions": {"jobs:read"},
        "DELETE /jobs/{job_id}/predictions": {"jobs:write"},
        "GET /workers": {"jobs:read"},
        "GET /datasets/{dataset_id}/samples": {"jobs:read"},
        "GET /datasets/{dataset_id}/image": {"jobs:read"},
        "GET /reports/{report_id}/image": {"models:read"},
        "GET /comparisons": {"models:read"},
        "POST /jobs": {"jobs:write"},
        "POST /jobs/{job_id}/cancel": {"jobs:write"},
        "POST /datasets": {"jobs:write"},
        "PUT /models/{alias}": {"jobs:write"},
        "DELETE /models/{alias}": {"jobs:write"},
        "DELETE /checkpoints/{checkpoint_id}": {"jobs:write"},
        "DELETE /datasets/{dataset_id}": {"jobs:write"},
        "GET /models": {"models:read", "predict"},
        "GET /models/{alias}": {"models:read", "predict"},
        "GET /checkpoints/{checkpoint_id}/download": {"models:read"},
        "GET /reports/{report_id}": {"models:read"},
        "POST /predict": {"predict"},
        "GET /v2": set(),
        "GET /v2/models/{alias}": {"predict"},
        "GET /v2/models/{alias}/versions/{version}/ready": {"predict"},
        "POST /v2/models/{alias}/infer": {"predict"},
        "POST /predictions/{prediction_id}/label": {"predict"},
        "POST /labels": {"predict"},
        "GET /predictions": {"models:read"},
        "GET /predictions/{prediction_id}/image": {"models:read"},
        "PATCH /models/{alias}": {"jobs:write"},
        "GET /models/{alias}/calibration": {"models:read"},
        "GET /models/{alias}/alerts": {"models:read"},
        "GET /models/{alias}/calibrators": {"models:read"},
        "GET /models/{alias}/history": {"models:read"},
        "POST /models/{alias}/recalibrate": {"jobs:write"},
        "GET /metrics": {"admin"},
        "POST /keys": {"admin"},
        "GET /keys": {"admin"},
        "DELETE /keys/{key_id}": {"admin"},
        "GET /index": set(),
        "DELETE /session": set(),
    }
    found = {f"{m} {p}": declared_scopes(route) for m, p, route in routes(client)}
    assert {name: found[name] for name in expected} == expected


def test_a_route_that_says_nothing_is_no_route() -> None:
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.get("/forgotten")
    def forgotten() -> None: ...

    with pytest.raises(UndeclaredScope, match="/forgotten"):
        OpenRoutes(app)


def test_mounts_say_nothing_either() -> None:
    app = FastAPI(docs_url=None, redoc_url=None)
    app.mount("/static", FastAPI())
    with pytest.raises(UndeclaredScope, match="/static"):
        OpenRoutes(app)


def test_a_route_is_open_for_the_methods_that_say_so() -> None:
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.get("/pages/{name}", dependencies=[Anyone])
    def page(name: str) -> str:
        return name

    open_routes = OpenRoutes(app)
    assert open_routes.include("GET", "/pages/start")
    assert not open_routes.include("POST", "/pages/start")
    assert not open_routes.include("GET", "/pages/start/more")


def test_the_document_says_who_may_and_what_they_get_else(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["key"]["scheme"] == "bearer"
    assert (schemes["session"]["in"], schemes["session"]["name"]) == ("cookie", "carot_session")
    assert set(document["components"]["responses"]) == {
        "Unauthenticated",
        "Forbidden",
        "TooManyRequests",
    }
    for method, path, route in routes(client):
        if path == "/openapi.json" or (method, path) in FILES:
            continue
        operation = document["paths"][path][method.lower()]
        assert operation["responses"]["429"] == {"$ref": "#/components/responses/TooManyRequests"}
        if (method, path) in OPEN:
            assert "security" not in operation
            continue
        assert {"401", "403"} <= set(operation["responses"])
        alternatives = [[scope] for scope in sorted(declared_scopes(route))] or [[]]
        assert operation["security"] == [
            {scheme: scopes} for scopes in alternatives for scheme in ("key", "session")
        ]


# Projects -------------------------------------------------------------------------------------


def test_ids_of_another_project_are_unknown(client: TestClient, things: dict[str, str]) -> None:
    other = bearer(new_key(client, "admin", project="other"))
    own = bearer(new_key(client, "admin"))
    looked_at = set()
    for method, path, _ in sorted(routes(client), key=lambda each: each[0] == "DELETE"):
        if "{" not in path or (method, path) in OWNERLESS:
            continue
        filled = path.format(**things)
        options: dict[str, Any] = {"params": QUERIES.get((method, path))}
        if (method, path) in BODIES:
            options["json"] = BODIES[method, path]
        answer = client.request(method, filled, headers=other, **options)
        assert answer.status_code == 404, (method, filled, answer.text)
        assert answer.json()["code"] == "not_found"
        if path.endswith("/stream"):
            continue  # the owner's would not end before the job
        if path.endswith("/infer"):
            continue  # these weights are none
        # Perhaps not in this state, but there.
        fine = (422,) if (method, path) in UNREADY else (200, 202, 204, 409)
        assert client.request(method, filled, headers=own, **options).status_code in fine, filled
        looked_at.add(path)
    assert len(looked_at) >= 10


def test_lists_show_nothing_of_another_project(client: TestClient, things: dict[str, str]) -> None:
    other = bearer(new_key(client, "admin", project="other"))
    own = bearer(new_key(client, "admin"))
    lists = 0
    for method, path, _ in routes(client):
        if method != "GET" or "{" in path or (method, path) in FILES:
            continue
        theirs = client.get(path, headers=other)
        for value in things.values():
            assert value not in theirs.text, path
        mine = client.get(path, headers=own).json() if path != "/metrics" else {}
        if "data" in mine and path != "/presets":
            lists += 1
            assert mine["data"], path
    assert lists >= 6
    assert client.get("/metrics", headers=other).status_code == 403, "it is of all projects"


@pytest.mark.parametrize("path", ["/checkpoints", "/reports"])
def test_filters_do_not_reach_across(client: TestClient, path: str) -> None:
    checkpoint = add_checkpoint(context_of(client), b"weights")
    add_report(context_of(client), checkpoint, {})
    own, other = (bearer(new_key(client, "models:read", project=p)) for p in ("default", "other"))
    job = client.get(f"/checkpoints/{checkpoint}", headers=own).json()["job_id"]
    assert len(client.get(path, params={"job_id": job}, headers=own).json()["data"]) == 1
    assert client.get(path, params={"job_id": job}, headers=other).json()["data"] == []


@pytest.mark.slow
def test_jobs_cannot_name_what_another_project_has(
    client: TestClient, things: dict[str, str]
) -> None:
    other = bearer(new_key(client, project="other"))

    def refusals(dataset: str, checkpoint: str) -> list[tuple[int, Any]]:
        bodies = [
            JOB | {"dataset": dataset},
            JOB | {"evaluation": {"datasets": [{"dataset": dataset, "name": "x"}]}},
            JOB | {"model": {"checkpoint": checkpoint}},
            {"kind": "evaluate", "model": {"checkpoint": checkpoint}, "dataset": "builtin:digits"},
            {"kind": "interpolate", "model": {"checkpoint": checkpoint}, "dataset": JOB["dataset"]},
            {
                "kind": "merge",
                "models": [{"checkpoint": checkpoint}, {"checkpoint": f"ckpt_{26 * '1'}"}],
                "dataset": "builtin:digits",
                "method": {"name": "average"},
            },
            {
                "kind": "select",
                "models": [{"checkpoint": checkpoint}, {"checkpoint": f"ckpt_{26 * '1'}"}],
                "dataset": "builtin:digits",
            },
        ]
        answers = [client.post("/jobs", json=body, headers=other) for body in bodies]
        told = [(each.status_code, each.json()["detail"]) for each in answers]
        put = client.put("/models/mine", json={"checkpoint": checkpoint}, headers=other)
        image = {"images": [("images", ("a.png", b"x"))]}["images"]
        asked = client.post("/predict", files=image, data={"checkpoint": checkpoint}, headers=other)
        told += [(each.status_code, each.json()["detail"]) for each in (put, asked)]
        names = (dataset, checkpoint)
        return [(s, d.replace(names[0], "DATASET").replace(names[1], "CKPT")) for s, d in told]

    foreign = refusals(things["dataset_id"], things["checkpoint_id"])
    missing = refusals(f"ds_{26 * '0'}", f"ckpt_{26 * '0'}")
    assert foreign == missing
    assert [status for status, _ in foreign] == [422] * 8 + [404]


def test_predictions_by_alias_stay_in_the_project(
    client: TestClient, things: dict[str, str]
) -> None:
    other = bearer(new_key(client, project="other"))
    files = [("images", ("a.png", b"x"))]
    answer = client.post("/predict", files=files, data={"model": "private"}, headers=other)
    assert answer.status_code == 404


def test_the_same_alias_twice(client: TestClient, things: dict[str, str]) -> None:
    other = bearer(new_key(client, "admin", project="other"))
    with context_of(client).database.reading() as session:
        project = find_project(session, "other").id
    checkpoint = add_checkpoint(context_of(client), b"others", project=project)
    answer = client.put("/models/private", json={"checkpoint": checkpoint}, headers=other)
    assert answer.status_code == 200
    own = bearer(new_key(client, "admin"))
    kept = client.get("/models/private", headers=own).json()["checkpoint_id"]
    assert kept == things["checkpoint_id"]
    assert client.delete("/models/private", headers=other).status_code == 204
    assert client.get("/models/private", headers=own).status_code == 200


def test_idempotency_keys_do_not_reach_across(client: TestClient) -> None:
    own, other = (bearer(new_key(client, project=p)) for p in ("default", "other"))
    once = {"Idempotency-Key": "the-same"}
    first = client.post("/jobs", json=JOB, headers=own | once)
    again = client.post("/jobs", json=JOB, headers=own | once)
    assert again.json()["id"] == first.json()["id"]
    theirs = client.post("/jobs", json=JOB | {"name": "else"}, headers=other | once)
    assert theirs.status_code == 201
    assert theirs.json()["id"] != first.json()["id"]


def test_jobs_know_their_key(client: TestClient) -> None:
    token = new_key(client)
    job = client.post("/jobs", json=JOB, headers=bearer(token)).json()
    with context_of(client).database.reading() as session:
        from store.tables import Job

        row = session.get_one(Job, job["id"])
        assert row.key_id == token.partition(".")[0]
