"""Jobs over HTTP that name files of the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.helpers import Start, archive, picture

SPEC: dict[str, Any] = {
    "kind": "finetune",
    "model": {"architecture": "carot-mini"},
    "training": {"epochs": 2},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("pets/cat/0.png", "pets/dog/0.png", "wds/train-0.tar", "hf/data/train.parquet"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(0))
    (root / "pets" / "pets.csv").write_text("filepath,label\ncat/0.png,cat\n")
    (tmp_path / "secret").mkdir()
    (root / "out").symlink_to(tmp_path / "secret")
    return root


@pytest.fixture
def client(start: Start, root: Path) -> TestClient:
    return start(dataset_root=root)


REFERENCES = [
    "folder:pets", "folder:.", "csv:pets/pets.csv", "webdataset:wds", "webdataset:wds/train-0.tar",
    "webdataset:wds/train-{0..0}.tar", "parquet:hf", "parquet:hf/data/train.parquet",
]  # fmt: skip


@pytest.mark.parametrize("reference", REFERENCES)
def test_files_beneath_the_root(client: TestClient, reference: str) -> None:
    rows = [{"name": "there", "dataset": reference, "split": "train", "shift": "noise"}]
    body = SPEC | {"dataset": reference, "evaluation": {"datasets": rows}}
    answer = client.post("/jobs", json=body)
    assert answer.status_code == 201, answer.text
    job = answer.json()
    # The job keeps what was asked for; each worker finds it beneath its own root.
    assert job["dataset"] == job["spec"]["dataset"] == reference


def test_the_run_finds_out_about_classes_and_counts(client: TestClient) -> None:
    upload = client.post(
        "/datasets", content=archive(40), headers={"Content-Type": "application/zip"}
    ).json()["id"]
    rows = [{"name": "there", "dataset": "folder:pets"}, {"name": "here", "dataset": upload}]
    for dataset in ("folder:pets", upload):
        spec = SPEC | {"dataset": dataset, "evaluation": {"datasets": rows}}
        answer = client.post("/jobs", json=spec | {"training": {"batch_size": 8}})
        assert answer.status_code == 201, answer.text


WRONG = [
    "folder:/etc", "folder:", "folder:..", "folder:pets/../..", "folder:out", "folder:missing",
    "folder:a\0b", "csv:/etc/passwd", "csv:../secret", "csv:pets/missing.csv", "webdataset:/",
    "webdataset:wds/train-{0..1}.tar", "webdataset:wds/{0..999999999}.tar", "webdataset:{a,b}",
    "parquet:~", "parquet:out", "parquet:" + "x" * 1000, "file:pets", "Folder:pets", "builtin:pets",
]  # fmt: skip


@pytest.mark.parametrize("reference", WRONG)
@pytest.mark.parametrize("field", ["dataset", "evaluation.datasets.0.dataset"])
def test_files_elsewhere_are_refused(
    client: TestClient, root: Path, reference: str, field: str
) -> None:
    body = SPEC | {"dataset": "folder:pets"}
    if field == "dataset":
        body["dataset"] = reference
    else:
        body["evaluation"] = {"datasets": [{"name": "x", "dataset": reference}]}
    answer = client.post("/jobs", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"] == field
    assert str(root.parent) not in answer.text
    assert client.get("/jobs").json()["data"] == []


@pytest.mark.parametrize("reference", REFERENCES)
def test_without_a_root_no_file_can_be_named(start: Start, reference: str) -> None:
    answer = start().post("/jobs", json=SPEC | {"dataset": reference})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "dataset"
    assert "CAROT_DATASET_ROOT" in answer.json()["detail"]
    assert "POST /datasets" in answer.json()["detail"]
