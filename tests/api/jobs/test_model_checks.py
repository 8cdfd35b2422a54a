"""Jobs that take several models: what goes together, and what they started from."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import TypeAdapter

from api.datasets.bundled import bundled_digits
from carot.specs import AnySpec, RunSpec
from tests.api.helpers import archive, context_of
from tests.api.rows import add_checkpoint

RUN: TypeAdapter[AnySpec] = TypeAdapter(RunSpec)
DIGITS = "builtin:digits"
MINI = {"architecture": "carot-mini"}
VIT = {"architecture": "ViT-B-16", "pretrained": "openai"}
NOWHERE = "ckpt_" + "0" * 26


class Shelf:
    """Checkpoints of a service."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def add(self, start: dict[str, Any] = MINI, **changes: Any) -> dict[str, Any]:
        """One that was fine-tuned from `start`, as a spec names it."""
        return self.made_by({"kind": "finetune", "model": start}, **changes)

    def made_by(self, spec: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """One that a job made."""
        options = {"classes": bundled_digits().classes} | changes
        run = RUN.validate_python(spec | {"dataset": DIGITS})
        identity = add_checkpoint(context_of(self.client), b"weights", spec=run, **options)
        return {"checkpoint": identity}

    def submit(self, kind: str, **body: Any) -> dict[str, Any]:
        """A job, taken."""
        answer = self.client.post("/jobs", json={"kind": kind, "dataset": DIGITS} | body)
        assert answer.status_code == 201, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def refused(self, kind: str, **body: Any) -> tuple[str, str]:
        """The field and the message with which a job is refused."""
        answer = self.client.post("/jobs", json={"kind": kind, "dataset": DIGITS} | body)
        assert answer.status_code == 422, answer.text
        [error] = answer.json()["errors"]
        assert self.client.get("/jobs?state=queued&kind=" + kind).json()["data"] == []
        return error["field"], error["message"]


@pytest.fixture
def shelf(client: TestClient) -> Shelf:
    return Shelf(client)


def given(model: dict[str, Any] | None) -> dict[str, Any] | None:
    """A model without the fields that are empty."""
    return None if model is None else {k: v for k, v in model.items() if v is not None}


SOUP = {"method": {"name": "uniform_soup"}}
STOCK = {"method": {"name": "model_stock"}}


@pytest.mark.parametrize(
    ("kind", "extra", "method"),
    [
        ("interpolate", {}, "wise_ft"),
        ("merge", SOUP, "uniform_soup"),
        ("merge", STOCK, "model_stock"),
        ("select", {}, None),
    ],
)
def test_each_kind_is_queued_and_found(
    shelf: Shelf, kind: str, extra: dict[str, Any], method: str | None
) -> None:
    models = [shelf.add(), shelf.add()]
    which = {"model": models[0]} if kind == "interpolate" else {"models": models}
    job = shelf.submit(kind, name="n", alias="a", **which, **extra)
    assert (job["kind"], job["method"], job["name"], job["alias"]) == (kind, method, "n", "a")
    assert "alias" not in job["spec"]
    [found] = shelf.client.get("/jobs", params={"kind": kind}).json()["data"]
    assert found == job


# What they started from -----------------------------------------------------------------------


def test_the_start_is_looked_up_and_stored(shelf: Shelf) -> None:
    job = shelf.submit("interpolate", model=shelf.add(VIT, architecture="ViT-B-16"))
    assert given(job["spec"]["start"]) == VIT


def test_a_start_that_is_given_stays(shelf: Shelf) -> None:
    model, other = shelf.add(), shelf.add()
    assert given(shelf.submit("interpolate", model=model, start=other)["spec"]["start"]) == other


def test_one_step_is_followed(shelf: Shelf) -> None:
    first = shelf.add()
    second = shelf.add(first)
    assert given(shelf.submit("interpolate", model=second)["spec"]["start"]) == first


def test_starts_of_what_was_interpolated_or_merged(shelf: Shelf) -> None:
    first = shelf.add()
    one, two = shelf.add(first), shelf.add(first)
    mixed = shelf.made_by({"kind": "interpolate", "model": one, "start": first})
    soup = shelf.made_by({"kind": "merge", "models": [mixed, two], **SOUP})
    soups = shelf.made_by({"kind": "merge", "models": [soup, one], **SOUP})
    stock = shelf.made_by({"kind": "merge", "models": [one, two], "start": first, **STOCK})
    for model in (mixed, soup, soups, stock):
        assert given(shelf.submit("interpolate", model=model)["spec"]["start"]) == first
    job = shelf.submit("merge", models=[mixed, soups, stock], **STOCK)
    assert given(job["spec"]["start"]) == first


def test_merging_needs_one_start_where_it_needs_one(shelf: Shelf) -> None:
    first = shelf.add()
    models = [shelf.add(first), shelf.add()]
    field, message = shelf.refused("merge", models=models, **STOCK)
    assert field == "start"
    assert first["checkpoint"] in message
    assert "carot-mini" in message
    assert given(shelf.submit("merge", models=models, start=MINI, **STOCK)["spec"]["start"]) == MINI
    soup = shelf.submit("merge", models=models, **SOUP)
    assert soup["spec"]["start"] is None
    made = shelf.made_by(soup["spec"])
    assert shelf.refused("interpolate", model=made)[0] == "start"


# What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "field"),
    [
        ({"checkpoint": NOWHERE}, "checkpoint"),
        ({"checkpoint": "x"}, "checkpoint"),
        ({"folder": "/etc"}, "folder"),
        (MINI, "checkpoint"),
        ({"architecture": "ViT-B-99", "pretrained": "openai"}, "architecture"),
        (VIT | {"pretrained": "nobody"}, "pretrained"),
    ],
)
def test_a_model_that_is_none_is_named(shelf: Shelf, model: dict[str, Any], field: str) -> None:
    assert shelf.refused("interpolate", model=model)[0] == f"model.{field}"
    models = [shelf.add(), shelf.add(), model]
    assert shelf.refused("merge", models=models, **SOUP)[0] == f"models.2.{field}"
    assert shelf.refused("select", models=models)[0] == f"models.2.{field}"
    if model != MINI:
        assert shelf.refused("interpolate", model=models[0], start=model)[0] == f"start.{field}"


def test_the_same_checkpoint_twice(shelf: Shelf) -> None:
    models = [shelf.add(), shelf.add()]
    field, message = shelf.refused("select", models=[*models, models[0]])
    assert field == "models.2.checkpoint"
    assert "models.0" in message


def test_class_lists_that_differ(shelf: Shelf) -> None:
    other = shelf.add(classes=("a", "b"))
    assert shelf.refused("select", models=[shelf.add(), other])[0] == "models.1.checkpoint"
    others = [other, shelf.add(classes=("a", "b"))]
    assert shelf.refused("merge", models=others, **SOUP)[0] == "dataset"
    assert shelf.refused("interpolate", model=other)[0] == "dataset"
    assert shelf.refused("evaluate", model=other)[0] == "dataset"
    shelf.submit("finetune", model=other)  # which gets a head of its own
    swapped = shelf.add(classes=bundled_digits().classes[::-1])
    field, message = shelf.refused("select", models=[shelf.add(), swapped])
    assert (field, "another order" in message) == ("models.1.checkpoint", True)


def test_architectures_that_differ(shelf: Shelf) -> None:
    mini, vit = shelf.add(), shelf.add(VIT, architecture="ViT-B-16")
    field, message = shelf.refused("merge", models=[mini, vit], **SOUP)
    assert field == "models.1.checkpoint"
    assert "carot-mini" in message
    assert "ViT-B-16" in message
    assert shelf.refused("interpolate", model=mini, start=VIT)[0] == "start"
    assert shelf.refused("interpolate", model=mini, start=vit)[0] == "start"
    assert shelf.refused("merge", models=[mini, shelf.add()], start=vit, **STOCK)[0] == "start"
    shelf.submit("select", models=[mini, vit])


def test_a_split_to_choose_by_must_have_images(shelf: Shelf) -> None:
    content = archive(3, ("train/cat", "train/dog", "test/cat", "test/dog"))
    headers = {"Content-Type": "application/zip"}
    dataset = shelf.client.post("/datasets", content=content, headers=headers).json()["id"]
    models = [shelf.add(classes=("cat", "dog")) for _ in range(2)]
    assert shelf.refused("select", models=models, dataset=dataset)[0] == "split"
    assert shelf.refused("interpolate", model=models[0], dataset=dataset)[0] == "split"
    shelf.submit("select", models=models, dataset=dataset, split="train")


@pytest.mark.parametrize(
    ("kind", "extra", "field"),
    [
        ("interpolate", {"alphas": [0.5, 2]}, "alphas.1"),
        ("interpolate", {"alphas": [0.5, 0.5]}, "alphas"),
        ("interpolate", {"rule": "last"}, "rule"),
        ("merge", {"method": {"name": "greedy"}}, "method"),
        ("merge", {"method": {"name": "uniform_soup"}, "preset": "carot"}, "preset"),
        ("select", {"evaluation": {"datasets": []}}, "evaluation.datasets"),
        ("evaluate", {"alias": "mine"}, "alias"),
    ],
)
def test_fields_are_named_without_the_kind(
    shelf: Shelf, kind: str, extra: dict[str, Any], field: str
) -> None:
    several = kind in ("merge", "select")
    which = {"models": [shelf.add(), shelf.add()]} if several else {"model": shelf.add()}
    assert shelf.refused(kind, **which, **extra)[0] == field
