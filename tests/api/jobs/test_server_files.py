"""Jobs over HTTP that name files of the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.datasets.bundled import DIGITS
from tests.api.helpers import Start, archive, picture

SPEC: dict[str, Any] = {
    "kind": "finetune",
    "model": {"architecture": "carot-mini"},
    "training": {"epochs": 2},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in (
        "pets/cat/0.png",
        "pets/dog/0.png",
        "pets/weather/fog/3/0.png",
        "wds/train-0.tar",
        "hf/data/train.parquet",
    ):
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
    "imagenet:pets", "imagenet-r:pets", "objectnet:pets",
    "imagenet-c:pets/cat", "imagenet-c:pets/fog/3", "fashion:pets",
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


SUITES = {
    "imagenet": ["imagenet", *(f"imagenet-{x}" for x in ("v2", "r", "a", "sketch")), "objectnet"],
    "imagenet-c": [
        "imagenet",
        # Some as in the archives, some not.
        *(f"imagenet-c/{kind}{name}/3" for kind, names in (
            ("noise/", ("gaussian_noise", "shot_noise", "impulse_noise")),
            ("", ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur")),
            ("weather/", ("snow", "frost", "fog", "brightness")),
            ("", ("contrast", "elastic_transform", "pixelate", "jpeg_compression")),
        ) for name in names),
    ],
}  # fmt: skip


def build(folder: Path, suite: str) -> None:
    for name in SUITES[suite]:
        (folder / name).mkdir(parents=True)


@pytest.mark.parametrize("given", ["family", "family/", "./family", "deep/er/family", "in", "."])
@pytest.mark.parametrize("suite", SUITES)
def test_suites_beneath_the_root(client: TestClient, root: Path, suite: str, given: str) -> None:
    (root / "in").symlink_to(root / "family")
    build(root / ("family" if given == "in" else given), suite)
    evaluation = {"suite": suite, "root": given}
    answer = client.post("/jobs", json=SPEC | {"dataset": "folder:pets", "evaluation": evaluation})
    assert answer.status_code == 201, answer.text
    found = answer.json()["spec"]["evaluation"]
    assert (found["suite"], found["root"], found["datasets"]) == (suite, given, None)


@pytest.mark.parametrize(
    "given",
    ["..", "family/..", "family/../../secret", "/", "//", "/etc", "out", "out/family", "missing"],
)
@pytest.mark.parametrize("suite", SUITES)
def test_suites_elsewhere_are_refused(
    client: TestClient, root: Path, suite: str, given: str
) -> None:
    for folder in (root, root / "family", root.parent, root.parent / "secret" / "family"):
        build(folder, suite)  # so that they would be found
    for path in (given, str(root / "family")):
        evaluation = {"suite": suite, "root": path}
        body = SPEC | {"dataset": "folder:pets", "evaluation": evaluation}
        answer = client.post("/jobs", json=body)
        assert answer.status_code == 422, answer.text
        [error] = answer.json()["errors"]
        assert error["field"] == "evaluation.root"
    assert client.get("/jobs").json()["data"] == []


@pytest.mark.parametrize(
    ("suite", "part"), [("imagenet", "imagenet-a"), ("imagenet-c", "imagenet-c/weather/fog/3")]
)
@pytest.mark.parametrize("how", ["missing", "out"])
def test_a_suite_of_which_a_part_is_not_there(
    client: TestClient, root: Path, suite: str, part: str, how: str
) -> None:
    build(root / "family", suite)
    (root / "family" / part).rmdir()
    if how == "out":
        (root / "family" / part).symlink_to(root.parent / "secret")
    evaluation = {"suite": suite, "root": "family"}
    answer = client.post("/jobs", json=SPEC | {"dataset": "folder:pets", "evaluation": evaluation})
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    assert error["field"] == "evaluation.root"
    reference = f"{suite}:family/imagenet-c/fog/3" if "c/" in part else f"{part}:family/{part}"
    assert error["message"].startswith(f"{reference}: no such file or folder")
    assert str(root.parent) not in answer.text


def test_every_severity_of_a_suite_is_looked_for(client: TestClient, root: Path) -> None:
    build(root / "family", "imagenet-c")
    evaluation = {"suite": "imagenet-c", "root": "family", "severities": [3, 5]}
    answer = client.post("/jobs", json=SPEC | {"dataset": "folder:pets", "evaluation": evaluation})
    assert answer.status_code == 422
    assert "gaussian_noise/5" in answer.json()["detail"]


def test_without_a_root_there_are_no_suites_of_files(start: Start) -> None:
    evaluation = {"suite": "imagenet", "root": "family"}
    answer = start().post("/jobs", json=SPEC | {"dataset": DIGITS, "evaluation": evaluation})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == "evaluation.root"
    assert "CAROT_DATASET_ROOT" in error["message"]


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
    "imagenet:/data", "imagenet:..", "imagenet:", "objectnet:out", "imagenet-c:pets/../..",
    "imagenet-c:pets/snow/3", "imagenet-c:", "imagenet-d:pets",
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


def test_fashion_needs_no_root_unless_a_path_is_named(start: Start) -> None:
    client = start()
    answer = client.post("/jobs", json=SPEC | {"dataset": "fashion:"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["spec"]["dataset"] == "fashion:"
    elsewhere = client.post("/jobs", json=SPEC | {"dataset": "fashion:clothes"})
    assert elsewhere.json()["errors"][0]["field"] == "dataset"
    assert "CAROT_DATASET_ROOT" in elsewhere.json()["detail"]
    body = SPEC | {"dataset": "fashion:", "model": {"architecture": "carot-mini-fashion"}}
    checked = client.post("/jobs/check", json=body).json()
    # 12,000 pictures: what is chosen for so many is known before anything is read.
    assert checked["errors"] == []
    assert checked["spec"]["training"]["learning_rate"] == 5e-4
