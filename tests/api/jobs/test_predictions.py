"""Jobs of the kind `predict` over HTTP: what is refused, and the file that they leave."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from store.retention.retention import tidy
from store.tables import DEFAULT_PROJECT, Artifact
from tests.api.helpers import Start, archive, context_of
from tests.api.rows import add_checkpoint, add_predictions

CONTENT = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def checkpoint(client: TestClient) -> str:
    return add_checkpoint(context_of(client), b"weights")


def asked(checkpoint: str, **changes: Any) -> dict[str, Any]:
    model = {"checkpoint": checkpoint}
    return {"kind": "predict", "model": model, "dataset": "builtin:digits"} | changes


def submit(client: TestClient, body: dict[str, Any]) -> tuple[int, Any]:
    answer = client.post("/jobs", json=body)
    document = answer.json()
    return answer.status_code, [each["field"] for each in document.get("errors", [])] or document


def test_a_job_keeps_what_was_asked(client: TestClient, checkpoint: str) -> None:
    wanted = {"split": "test", "shift": "noise", "coverage": 0.9, "max_risk": 0.05, "top_k": 3}
    status, job = submit(client, asked(checkpoint, **wanted))
    assert status == 201, job
    assert (job["kind"], job["method"], job["report_id"]) == ("predict", None, None)
    assert {name: job["spec"][name] for name in wanted} == wanted
    assert [j["id"] for j in client.get("/jobs?kind=predict").json()["data"]] == [job["id"]]
    assert client.get(f"/jobs/{job['id']}/predictions").status_code == 404
    # It needs the checkpoint as long as it has not ended.
    assert client.delete(f"/checkpoints/{checkpoint}").status_code == 409


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"model": {"architecture": "carot-mini"}}, ["model"]),
        ({"model": {"folder": "/etc"}}, ["model.folder"]),
        ({"model": {"checkpoint": f"ckpt_{26 * '0'}"}}, ["model.checkpoint"]),
        ({"dataset": "nothing"}, ["dataset"]),
        ({"dataset": "images:pets"}, ["dataset"]),  # no root
        ({"dataset": "images:pets", "split": "test"}, ["split"]),
        ({"split": "x"}, ["split"]),
        ({"shift": "printed", "dataset": f"ds_{26 * '0'}"}, ["dataset"]),
        ({"coverage": 1}, ["coverage"]),
        ({"max_risk": 0}, ["max_risk"]),
        ({"max_shift": 1.5}, ["max_shift"]),
        ({"transductive": {"dataset": "nothing"}, "split": "test"}, ["transductive.dataset"]),
        ({"transductive": {"dataset": "images:pets"}}, ["transductive.dataset"]),
        ({"transductive": {"dataset": "builtin:digits"}}, ["transductive"]),
        ({"transductive": {}}, ["transductive.dataset"]),
        ({"alias": "x"}, ["alias"]),
        ({"evaluation": {}}, ["evaluation"]),
    ],
)
def test_what_is_refused(
    changes: dict[str, Any], fields: list[str], client: TestClient, checkpoint: str
) -> None:
    assert submit(client, asked(checkpoint, **changes)) == (422, fields)


def test_a_data_set_of_other_classes(client: TestClient, checkpoint: str) -> None:
    headers = {"Content-Type": "application/zip"}
    made = client.post("/datasets?name=pets", content=archive(), headers=headers).json()
    assert submit(client, asked(checkpoint, dataset=made["id"]))[0] == 201
    assert client.delete(f"/datasets/{made['id']}").status_code == 409
    for name in ("calibration", "test", "train", "validation"):
        beside = {"dataset": made["id"], "split": name}
        status, found = submit(client, asked(checkpoint, split="test", transductive=beside))
        there = client.get(f"/datasets/{made['id']}").json()["splits"].get(name)
        assert (status, found if status == 422 else None) == (
            (201, None) if there else (422, ["transductive.split"])
        )
    body = asked(checkpoint, dataset=made["id"], shift="printed")
    assert submit(client, body) == (422, ["shift"])


def test_images_without_classes_beneath_the_root(start: Start, tmp_path: Path) -> None:
    (tmp_path / "root" / "loose").mkdir(parents=True)
    client = start(dataset_root=tmp_path / "root")
    checkpoint = add_checkpoint(context_of(client), b"weights")
    assert submit(client, asked(checkpoint, dataset="images:loose"))[0] == 201
    for path in ("missing", "../elsewhere", str(tmp_path)):
        assert submit(client, asked(checkpoint, dataset=f"images:{path}")) == (422, ["dataset"])
    finetune = {
        "kind": "finetune", "model": {"architecture": "carot-mini"}, "dataset": "images:loose"
    }  # fmt: skip
    assert submit(client, finetune) == (422, ["dataset"])
    rows = [{"name": "x", "dataset": "images:loose"}]
    evaluated = finetune | {"dataset": "builtin:digits", "evaluation": {"datasets": rows}}
    assert submit(client, evaluated) == (422, ["evaluation.datasets.0.dataset"])


def test_the_file(client: TestClient, checkpoint: str) -> None:
    _, job = submit(client, asked(checkpoint))
    add_predictions(context_of(client), job["id"], CONTENT)
    path = f"/jobs/{job['id']}/predictions"
    whole = client.get(path)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert whole.headers["etag"] == f'"{SHA256}"'
    assert whole.headers["content-type"] == "application/vnd.apache.parquet"
    assert whole.headers["content-disposition"] == f'attachment; filename="{job["id"]}.parquet"'
    assert client.get(path, headers={"If-None-Match": f'"{SHA256}"'}).status_code == 304
    rest = client.get(path, headers={"Range": "bytes=299990-", "If-Range": f'"{SHA256}"'})
    assert (rest.status_code, rest.content) == (206, CONTENT[-10:])
    assert rest.headers["content-range"] == "bytes 299990-299999/300000"
    assert client.get(path, headers={"Range": "bytes=300000-"}).status_code == 416


def test_the_file_stays_until_it_is_deleted(client: TestClient, checkpoint: str) -> None:
    _, job = submit(client, asked(checkpoint))
    context = context_of(client)
    add_predictions(context, job["id"], CONTENT)
    path = f"/jobs/{job['id']}/predictions"
    tidy(context.database, context.artifacts, context.settings)
    assert client.get(path).content == CONTENT
    with context.database.reading() as session:
        key = session.query(Artifact).filter_by(kind="predictions").one().blob_key
    assert key is not None
    assert client.delete(path).status_code == 204
    assert not context.artifacts.exists(key)
    for answer in (client.get(path), client.delete(path)):
        assert answer.status_code == 410
    assert client.get(f"/jobs/{job['id']}").status_code == 200


def test_deleted_bytes_go_with_the_next_sweep_where_a_process_died(
    client: TestClient, checkpoint: str
) -> None:
    from store.predictions.files import delete_predictions

    _, job = submit(client, asked(checkpoint))
    context = context_of(client)
    add_predictions(context, job["id"], CONTENT)
    with context.database.session() as session:
        row = session.get_one(Artifact, delete_predictions(session, DEFAULT_PROJECT, job["id"]))
        key = row.blob_key
    assert key is not None
    assert context.artifacts.exists(key)
    tidy(context.database, context.artifacts, context.settings)
    assert not context.artifacts.exists(key)
