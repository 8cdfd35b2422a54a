"""Copies in several splits of an upload: left out or refused; look-alikes are listed."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.carot.data.written_depths import deep_png

ZIP = {"Content-Type": "application/zip"}


def picture(seed: int) -> Image.Image:
    """A few soft blots, as unlike each other as photographs."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((64, 64), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def upload(**more: bytes) -> bytes:
    """Two classes in three splits, and further files; `__` stands for a slash."""
    files = {
        f"{split}/{name}/{i}.png": encoded(picture(100 * place + 10 * c + i))
        for place, split in enumerate(("train", "calibration", "test"))
        for c, name in enumerate(("cat", "dog"))
        for i in range(6)
    }
    files |= {name.replace("__", "/"): content for name, content in more.items()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def codes(dataset: dict) -> list[str]:
    return [warning["code"] for warning in dataset["warnings"]]


@pytest.fixture
def leaky() -> bytes:
    own = encoded(picture(3))
    return upload(**{"calibration__cat__copy.png": own, "test__dog__copy.png": own})


def test_copies_count_in_one_split_and_are_told(client: TestClient, leaky: bytes) -> None:
    dataset = client.post("/datasets", content=leaky, headers=ZIP).json()
    assert dataset["splits"]["calibration"] == {"cat": 6, "dog": 6}
    assert dataset["splits"]["test"] == {"cat": 6, "dog": 6}
    assert dataset["images"] == 36
    assert codes(dataset) == ["empty_split", "copies_across_splits"]
    assert "2 images stand in two splits" in dataset["warnings"][1]["message"]
    samples = client.get(f"/datasets/{dataset['id']}/samples?limit=100").json()["data"]
    assert not [sample for sample in samples if "copy" in sample["key"]]


def test_copies_are_refused_where_that_is_asked(client: TestClient, leaky: bytes) -> None:
    answer = client.post("/datasets?copies=refuse", content=leaky, headers=ZIP)
    assert answer.status_code == 422
    assert "1 of calibration in train, 1 of test in train" in answer.json()["detail"]
    whole = client.post("/datasets?copies=refuse", content=upload(), headers=ZIP)
    assert whole.status_code == 201
    assert client.post("/datasets?copies=ignore", content=leaky, headers=ZIP).status_code == 422


def test_look_alikes_are_listed_with_their_pictures(client: TestClient) -> None:
    again = encoded(picture(3).resize((50, 50)), "JPEG", quality=70)
    content = upload(**{"test__dog__again.jpg": again})
    dataset = client.post("/datasets", content=content, headers=ZIP).json()
    assert dataset["near_copies"] == 1
    assert "near_copies" in codes(dataset)
    assert "near_copies" not in dataset["source"]
    page = client.get(f"/datasets/{dataset['id']}/near-copies").json()
    (copy,) = page["data"]
    assert (copy["image"]["key"], copy["other"]["key"]) == (
        "test/dog/again.jpg",
        "train/cat/3.png",
    )
    assert (copy["image"]["split"], copy["other"]["split"]) == ("test", "train")
    assert 0.9 < copy["likeness"] <= 1
    for image in (copy["image"], copy["other"]):
        shown = client.get(image["picture"])
        assert shown.status_code == 200
        assert shown.headers["content-type"].startswith("image/")
    assert page["next_cursor"] is None
    assert client.get(f"/datasets/{dataset['id']}/near-copies?cursor=x").status_code == 422


def test_look_alikes_of_another_project_or_of_nothing(client: TestClient) -> None:
    assert client.get("/datasets/ds_00000000000000000000000000/near-copies").status_code == 404
    dataset = client.post("/datasets", json={"source": "builtin:digits"}).json()
    assert client.get(f"/datasets/{dataset['id']}/near-copies").json()["data"] == []


def test_a_set_of_twelve_bits_is_shown_as_it_is_read(client: TestClient) -> None:
    level = np.full((16, 16), 2048)
    level[:8] = 4095
    content = upload(**{"train__cat__deep.png": deep_png(level)})
    dataset = client.post("/datasets", content=content, headers=ZIP).json()
    assert "image_depth" in codes(dataset)
    query = {"key": "train/cat/deep.png", "split": "train"}
    shown = client.get(f"/datasets/{dataset['id']}/image", params=query)
    pixels = np.asarray(Image.open(io.BytesIO(shown.content)))
    assert pixels[0, 0].tolist() == [255] * 3
    assert abs(int(pixels[15, 0, 0]) - 128) <= 1
