"""Data sets over HTTP."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from api.web.uploads import scratch
from tests.api.helpers import Start, archive, context_of, picture

ZIP = {"Content-Type": "application/zip"}


def test_a_zip_becomes_a_data_set(client: TestClient) -> None:
    answer = client.post("/datasets?name=pets", content=archive(60), headers=ZIP)
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert answer.headers["location"] == f"/datasets/{dataset['id']}"
    assert dataset["name"] == "pets"
    assert dataset["classes"] == ["cat", "dog"]
    assert dataset["images"] == 120
    assert sum(sum(split.values()) for split in dataset["splits"].values()) == 120
    assert client.get(f"/datasets/{dataset['id']}").json() == dataset
    assert client.get("/datasets").json() == {"data": [dataset], "next_cursor": None}


def test_data_sets_are_searched(client: TestClient) -> None:
    pets, digits = (
        client.post("/datasets", json={"source": "builtin:digits", "name": name}).json()["id"]
        for name in ("The pets_1", "digits")
    )

    def found(search: str) -> list[str]:
        data = client.get("/datasets", params={"search": search}).json()["data"]
        return [each["id"] for each in data]

    assert found("PETS_") == [pets]
    assert found(digits) == [digits]
    assert found("s%1") == []
    assert client.get("/datasets", params={"search": "a\0b"}).status_code == 422


def test_a_form_does_as_well(client: TestClient) -> None:
    files = {"file": ("pets.zip", archive(), "application/zip")}
    answer = client.post("/datasets", files=files)
    assert answer.status_code == 201, answer.text
    assert answer.json()["name"] == "pets.zip"


def test_bundled_digits(client: TestClient) -> None:
    answer = client.post("/datasets", json={"source": "builtin:digits"})
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert len(dataset["classes"]) == 10
    assert dataset["images"] == 1797


def test_left_out_images_are_named(client: TestClient) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for i in range(150):
            content = picture(i) if i else b""
            entry = tarfile.TarInfo(f"{'ab'[i % 2]}/{i}.png")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    answer = client.post(
        "/datasets", content=file.getvalue(), headers={"Content-Type": "application/gzip"}
    )
    assert answer.status_code == 201, answer.text
    assert "a/0.png" in answer.json()["warnings"][0]["message"]
    assert answer.json()["unreadable_images"] == 1
    [listed] = client.get(f"/datasets/{answer.json()['id']}").json()["unreadable"]
    assert listed.startswith("a/0.png")
    assert answer.json()["source"] == {"source": "upload"}


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"not an archive", "invalid_data", "not a zip"),
        (archive(5, ("cat",)), "invalid_data", "only one class"),
        (archive(0), "invalid_data", "no images"),
    ],
)
def test_archives_that_cannot_be_used(
    client: TestClient, content: bytes, code: str, words: str
) -> None:
    answer = client.post("/datasets", content=content, headers=ZIP)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == code
    assert words in problem["detail"]
    assert problem["errors"][0]["field"] == "file"
    assert client.get("/datasets").json()["data"] == []
    assert left_behind(client) == []


def test_a_file_and_a_folder_of_one_name(client: TestClient) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for i in range(20):
            zipped.writestr(f"{'ab'[i % 2]}/{i}.png", picture(i))
        zipped.writestr("a/0.png/x.png", picture(99))
    answer = client.post("/datasets", content=file.getvalue(), headers=ZIP)
    assert answer.status_code == 422
    assert "a/0.png: the archive holds a file and a folder" in answer.json()["detail"]
    assert client.get("/datasets").json()["data"] == []


def test_a_table_whose_classes_no_folder_can_be_called(client: TestClient) -> None:
    file = io.BytesIO()
    names = ("T-shirt/top", "train")
    rows = [f"{i}.png,{names[i % 2]},{'Training' if i < 12 else 'Eval'}" for i in range(20)]
    with zipfile.ZipFile(file, "w") as zipped:
        for i in range(20):
            zipped.writestr(f"{i}.png", picture(i))
        zipped.writestr("labels.csv", "\n".join(["file_name,label, Split", *rows]))
        zipped.writestr("README.md", "hello")
    answer = client.post("/datasets", content=file.getvalue(), headers=ZIP)
    assert answer.status_code == 201, answer.text
    dataset = answer.json()
    assert dataset["classes"] == list(names)
    assert dataset["splits"] == {split: dict.fromkeys(names, n) for split, n in
                                 (("train", 6), ("test", 4))}  # fmt: skip
    assert "files_left_out" in [warning["code"] for warning in dataset["warnings"]]
    url = f"/datasets/{dataset['id']}/samples"
    samples = client.get(url, params={"split": "test", "class": names[0]}).json()["data"]
    assert len(samples) == 4
    assert client.get(samples[0]["picture"]).status_code == 200


def left_behind(client: TestClient) -> list[Path]:
    scratch = context_of(client).scratch
    return list(scratch.iterdir()) if scratch.exists() else []


def test_nothing_is_left_behind(client: TestClient) -> None:
    client.post("/datasets", content=archive(), headers=ZIP)
    assert left_behind(client) == []


def test_an_empty_body(client: TestClient) -> None:
    answer = client.post("/datasets", content=b"", headers=ZIP)
    assert answer.status_code == 400
    assert "empty" in answer.json()["detail"]


def test_another_media_type(client: TestClient) -> None:
    answer = client.post("/datasets", content=b"x", headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415
    assert answer.json()["code"] == "unsupported_media_type"


def test_a_form_without_a_file(client: TestClient) -> None:
    answer = client.post("/datasets", files={"other": b"x"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "file"


@pytest.mark.parametrize("lie", [False, True])
def test_a_body_that_is_too_large(start: Start, lie: bool) -> None:
    client = start(max_upload_bytes=200_000)

    def body() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(10_000)

    headers = ZIP | ({} if lie else {"Content-Length": "400000"})
    answer = client.post("/datasets", content=body(), headers=headers)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "too_large"
    assert left_behind(client) == []


# Folders of the server ------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for c in "ab":
        (tmp_path / "root/pets" / c).mkdir(parents=True)
        for i in range(5):
            (tmp_path / "root/pets" / c / f"{i}.png").write_bytes(picture(i + 10 * ord(c)))
    (tmp_path / "secret/a").mkdir(parents=True)
    (tmp_path / "root/way-out").symlink_to(tmp_path / "secret")
    return tmp_path / "root"


def test_a_folder_beneath_the_root(start: Start, root: Path) -> None:
    client = start(dataset_root=root)
    answer = client.post("/datasets", json={"source": "folder", "path": "pets"})
    assert answer.status_code == 201, answer.text
    assert answer.json()["images"] == 10
    assert str(root) not in answer.text


@pytest.mark.parametrize(
    "path", ["..", "../secret", "/etc", "way-out", "nowhere", "a\0b", "x" * 999]
)
def test_a_folder_elsewhere(start: Start, root: Path, path: str) -> None:
    client = start(dataset_root=root)
    answer = client.post("/datasets", json={"source": "folder", "path": path})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "path"
    assert str(root) not in answer.text


def test_no_root_is_configured(client: TestClient) -> None:
    answer = client.post("/datasets", json={"source": "folder", "path": "pets"})
    assert answer.status_code == 422
    assert "CAROT_DATASET_ROOT" in answer.json()["detail"]


# Idempotency ----------------------------------------------------------------------------------


def test_the_same_upload_twice_is_one_data_set(client: TestClient) -> None:
    headers = ZIP | {"Idempotency-Key": "k1"}
    content = archive()  # a zip carries the time it was made
    first = client.post("/datasets", content=content, headers=headers)
    second = client.post("/datasets", content=content, headers=headers)
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert len(client.get("/datasets").json()["data"]) == 1


def test_a_key_for_another_upload(client: TestClient) -> None:
    headers = ZIP | {"Idempotency-Key": "k1"}
    client.post("/datasets", content=archive(), headers=headers)
    answer = client.post("/datasets", content=archive(21), headers=headers)
    assert answer.status_code == 422
    assert answer.json()["code"] == "key_reused"


def test_a_key_whose_request_failed_is_free(client: TestClient) -> None:
    headers = ZIP | {"Idempotency-Key": "k1"}
    assert client.post("/datasets", content=b"junk", headers=headers).status_code == 422
    assert client.post("/datasets", content=archive(), headers=headers).status_code == 201


# Limits ---------------------------------------------------------------------------------------


def test_an_upload_that_takes_too_long_to_check(start: Start) -> None:
    client = start(ingest_seconds=0.01)
    answer = client.post("/datasets", content=archive(), headers=ZIP)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "file"
    assert "longer than 0.01 seconds" in answer.json()["detail"]
    assert left_behind(client) == []


def test_what_killed_processes_left_is_removed_by_the_next(start: Start, tmp_path: Path) -> None:
    old, fresh = (tmp_path / "data/scratch" / name for name in ("upload-old", "upload-fresh"))
    for folder in (old, fresh):
        folder.mkdir(parents=True)
        (folder / "archive").write_bytes(b"x")
    os.utime(old, (1, 1))
    with scratch(old.parent) as used:
        os.utime(used, (1, 1))
        start()
        assert sorted(old.parent.iterdir()) == sorted([fresh, used])
