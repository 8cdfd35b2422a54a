"""Presets over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from carot.specs import preset, preset_names


def test_the_list_and_each_of_it(client: TestClient) -> None:
    page = client.get("/presets").json()
    assert [each["name"] for each in page["data"]] == list(preset_names())
    assert page["next_cursor"] is None
    for each in page["data"]:
        assert client.get(f"/presets/{each['name']}").json() == each
        assert each["description"]
        assert each["source"]


def test_one_says_what_its_file_says(client: TestClient) -> None:
    assert client.get("/presets/carot").json()["method"] == preset("carot")["method"]


@pytest.mark.parametrize("name", ["carrot", "..%2Fpyproject", "%00", "x" * 500, "__init__"])
def test_presets_that_do_not_exist(client: TestClient, name: str) -> None:
    answer = client.get(f"/presets/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_makes_a_job(client: TestClient, name: str) -> None:
    recipe = preset(name)
    body = {
        "kind": "finetune",
        "preset": name,
        "model": {"architecture": "carot-mini"},
        "dataset": "builtin:digits",
        # The bundled set is smaller than most batches.
        "training": {"batch_size": 8},
    }
    answer = client.post("/jobs", json=body)
    assert answer.status_code == 201, answer.text
    spec = answer.json()["spec"]
    assert spec["method"]["name"] == recipe["method"]["name"]
    for key, value in recipe.get("training", {}).items():
        assert key == "batch_size" or spec["training"][key] == value


def leaves(document: Any) -> Iterator[Any]:
    """Every value that is neither mapping nor list."""
    if isinstance(document, dict):
        document = list(document.values())
    if isinstance(document, list):
        for each in document:
            yield from leaves(each)
    else:
        yield document


@pytest.mark.parametrize("name", preset_names())
def test_numbers_are_numbers(name: str) -> None:
    """YAML takes 1e-5 for text; 1.0e-5 is the number."""
    for value in leaves({k: v for k, v in preset(name).items() if k != "description"}):
        if isinstance(value, str):
            with pytest.raises(ValueError, match="could not convert"):
                float(value)
