"""Samples of data sets and pictures of their images, of data sets of every kind."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from carot.data.digits import handwritten_digits, printed_digits
from carot.evaluation.rows import open_evaluation
from carot.specs import EvaluationDataset
from tests.api.helpers import Start, archive, bearer, context_of, new_key, picture
from tests.api.reports.stored_logits import Row, add_measured

HOSTILE = ("<script>.png", "a&b=c#d?e.png", "ünï\u202ecode.png", "x" * 150 + ".png", "100%.png")


def named(names: tuple[str, ...]) -> bytes:
    """A zip of two classes; each has images of these names and some more."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for c, label in enumerate(("cat", "dog")):
            for i, name in enumerate((*names, *(f"{n}.png" for n in range(20)))):
                zipped.writestr(f"test/{label}/{name}", picture(1000 * c + i))
                zipped.writestr(f"train/{label}/{name}", picture(50_000 + 1000 * c + i))
    return file.getvalue()


def upload(client: TestClient, content: bytes) -> dict[str, Any]:
    headers = {"Content-Type": "application/zip"}
    answer = client.post("/datasets?name=pets", content=content, headers=headers)
    assert answer.status_code == 201, answer.text
    document: dict[str, Any] = answer.json()
    return document


def samples(client: TestClient, dataset: str, **params: Any) -> list[dict[str, Any]]:
    """All of them, page by page."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        query = {"limit": 7, **params} | ({"cursor": cursor} if cursor else {})
        answer = client.get(f"/datasets/{dataset}/samples", params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def opened(answer: httpx.Response | Any) -> Image.Image:
    assert answer.status_code == 200, answer.text
    kind = answer.headers["content-type"].removeprefix("image/").upper()
    return Image.open(io.BytesIO(answer.content), formats=(kind,))


def test_samples_of_an_upload_are_all_its_images(client: TestClient) -> None:
    dataset = upload(client, archive(30))
    found = samples(client, dataset["id"])
    assert len(found) == len({(each["split"], each["key"]) for each in found}) == 60
    for split, classes in dataset["splits"].items():
        for label, count in classes.items():
            mine = samples(client, dataset["id"], split=split, **{"class": label})
            assert len(mine) == count
            assert {(each["split"], each["class"]) for each in mine} <= {(split, label)}
    train = samples(client, dataset["id"], split="train")
    assert len({each["class"] for each in train[:12]}) == 2, "classes are mixed"
    assert train == samples(client, dataset["id"], split="train")


@pytest.mark.slow
def test_names_of_every_kind_lead_to_their_pictures(client: TestClient) -> None:
    dataset = upload(client, named(HOSTILE))
    found = samples(client, dataset["id"], split="test")
    keys = {each["key"] for each in found}
    assert {f"test/cat/{name}" for name in HOSTILE} <= keys
    contents = {}
    with zipfile.ZipFile(io.BytesIO(named(HOSTILE))) as zipped:
        for name in zipped.namelist():
            contents[name] = zipped.read(name)
    for each in found:
        shown = np.asarray(opened(client.get(each["picture"])))
        original = Image.open(io.BytesIO(contents[each["key"]]), formats=("PNG",))
        assert np.array_equal(shown, np.asarray(original)), each["key"]


def test_answers_are_cached_for_good_and_of_our_making(client: TestClient) -> None:
    dataset = upload(client, archive())
    [first] = samples(client, dataset["id"])[:1]
    answer = client.get(first["picture"])
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_large_images_become_small(client: TestClient) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for label in ("cat", "dog"):
            for i in range(10):
                image = io.BytesIO()
                Image.new("RGB", (900, 600), (i, 9, len(label))).save(image, "BMP")
                zipped.writestr(f"{label}/{i}.bmp", image.getvalue())
    dataset = upload(client, file.getvalue())
    found = samples(client, dataset["id"])[0]["picture"]
    assert opened(client.get(found)).size == (160, 107)
    large = client.get(f"{found}&side=600")
    assert opened(large).size == (600, 400)
    assert large.headers["content-type"] == "image/jpeg"
    for side in (0, 15, 1025, "x"):
        assert client.get(f"{found}&side={side}").status_code == 422


def test_digits_come_with_the_project(client: TestClient) -> None:
    dataset = client.post("/datasets", json={"source": "builtin:digits"}).json()["id"]
    source = handwritten_digits("test")
    found = samples(client, dataset, split="test", limit=200)
    assert {each["key"] for each in found} == set(source.keys)
    for i in (0, 100):
        query = {"split": "test", "key": source.keys[i]}
        shown = opened(client.get(f"/datasets/{dataset}/image", params=query))
        assert np.array_equal(np.asarray(shown), np.asarray(source.image(i)))
        row = EvaluationDataset(name="x", dataset="builtin:digits", shift="noise", severity=5)
        expected = open_evaluation(row, source.classes).source.image(i)
        query |= {"shift": "noise", "severity": "5"}
        shown = opened(client.get(f"/datasets/{dataset}/image", params=query))
        assert np.array_equal(np.asarray(shown), np.asarray(expected))
    query = {"split": "test", "key": printed_digits("test").keys[0], "shift": "printed"}
    assert client.get(f"/datasets/{dataset}/image", params=query).status_code == 200


def test_what_is_no_image_is_not_found(client: TestClient, tmp_path: Path) -> None:
    dataset = upload(client, archive())["id"]
    (tmp_path / "secret.png").write_bytes(picture(1))
    where = samples(client, dataset)[0]
    other = "test" if where["split"] != "test" else "train"
    outside = (
        "/etc/passwd",
        str(tmp_path / "secret.png"),
        "../../../secret.png",
        "cat/../cat/1.png",
        "cat",
        "\0",
    )
    for key in (*outside, where["key"] + "x"):
        query = {"split": where["split"], "key": key}
        answer = client.get(f"/datasets/{dataset}/image", params=query)
        assert answer.status_code == 404, key
    query = {"split": other, "key": where["key"]}
    assert client.get(f"/datasets/{dataset}/image", params=query).status_code == 404
    query = {"split": where["split"], "key": where["key"], "shift": "printed"}
    assert client.get(f"/datasets/{dataset}/image", params=query).status_code == 422
    query["shift"] = "earthquake"
    assert client.get(f"/datasets/{dataset}/image", params=query).status_code == 422
    assert client.get(f"/datasets/{dataset}/image").status_code == 422
    assert client.get(f"/datasets/{dataset}/samples?class=cow").status_code == 422
    assert client.get(f"/datasets/{dataset}/samples?cursor=eA").status_code == 422


def test_a_deleted_data_set_is_gone_from_the_disk(client: TestClient) -> None:
    dataset = upload(client, archive())["id"]
    shown = samples(client, dataset)[0]["picture"]
    assert client.get(shown).status_code == 200
    unpacked = context_of(client).settings.data_dir / "unpacked"
    assert len(list(unpacked.iterdir())) == 1
    assert client.delete(f"/datasets/{dataset}").status_code == 204
    assert list(unpacked.iterdir()) == []
    assert client.get(shown).status_code == 410
    assert client.get(f"/datasets/{dataset}/samples").status_code == 410


@pytest.mark.slow
def test_there_is_room_for_so_much(start: Start) -> None:
    client = start(unpacked_bytes=1 << 20)
    sets = [upload(client, archive(400, ("a", f"b{i}"))) for i in range(3)]
    for _ in range(2):
        for each in sets:
            found = samples(client, each["id"], limit=1, split="test", **{"class": "a"})
            assert client.get(found[0]["picture"]).status_code == 200
    unpacked = context_of(client).settings.data_dir / "unpacked"
    sizes = [int(path.name.rpartition("-")[2]) for path in unpacked.iterdir()]
    assert len(sizes) < 3
    assert sum(sizes) <= 1 << 20
    large = upload(client, archive(800))
    answer = client.get(f"/datasets/{large['id']}/samples")
    assert answer.status_code == 507
    assert "CAROT_UNPACKED_BYTES" in answer.json()["detail"]


def test_pictures_of_reports_show_the_shift(client: TestClient, tmp_path: Path) -> None:
    keys = handwritten_digits("test").keys[:300]
    rows = [Row.of(), Row.of(seed=1, name="noisy", shift="noise")]
    rows = [Row(each.logits, each.labels, keys, each.name, shift=each.shift) for each in rows]
    report, _ = add_measured(context_of(client), tmp_path, rows)
    for row, name in zip(rows, ("test", "noisy"), strict=True):
        query = {"dataset": name, "limit": "5"}
        [first, *_] = client.get(f"/reports/{report}/mistakes", params=query).json()["data"]
        shown = np.asarray(opened(client.get(first["picture"])))
        asked = EvaluationDataset(name="x", dataset="builtin:digits", shift=row.shift)
        source = open_evaluation(asked, handwritten_digits("test").classes).source
        expected = source.image(source.keys.index(first["key"]))
        assert np.array_equal(shown, np.asarray(expected))


def test_files_of_the_server_in_place(start: Start, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for label in ("cat", "dog"):
        folder = root / "pets" / "test" / label
        folder.mkdir(parents=True)
        for i in range(3):
            (folder / f"{i}.png").write_bytes(picture(i))
    (tmp_path / "secret.png").write_bytes(picture(9))
    client = start(dataset_root=root)
    keys = [f"test/{label}/{i}.png" for label in ("cat", "dog") for i in range(3)]
    row = Row.of(6)
    row = Row(row.logits, row.labels, keys, "test", "folder:pets")
    report, _ = add_measured(context_of(client), tmp_path, [row])

    def ask(key: str) -> httpx.Response | Any:
        return client.get(f"/reports/{report}/image", params={"key": key})

    answer = ask(keys[1])
    assert np.array_equal(
        np.asarray(opened(answer)),
        np.asarray(Image.open(io.BytesIO(picture(1)), formats=("PNG",))),
    )
    assert "immutable" not in answer.headers["cache-control"]
    # A file that becomes a link out of the root.
    (root / "pets" / keys[2]).unlink()
    (root / "pets" / keys[2]).symlink_to(tmp_path / "secret.png")
    assert ask(keys[2]).status_code == 404
    assert ask("../../secret.png").status_code == 404
    lost = Row(row.logits, row.labels, keys, "test", "folder:../pets")
    report, _ = add_measured(context_of(client), tmp_path, [lost])
    assert ask(keys[1]).status_code == 404


@pytest.mark.parametrize("what", ["samples", "image"])
def test_projects_do_not_see_each_other(client: TestClient, what: str) -> None:
    dataset = upload(client, archive())["id"]
    first = samples(client, dataset)[0]
    own, other = (bearer(new_key(client, "jobs:read", project=p)) for p in ("default", "other"))
    query = {"split": first["split"], "key": first["key"]}
    for headers, status in ((own, 200), (other, 404)):
        answer = client.get(f"/datasets/{dataset}/{what}", params=query, headers=headers)
        assert answer.status_code == status
