"""What the spec of a job names: data sets, and models that are stored checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def datasets_in(spec: dict[str, Any]) -> Iterator[str]:
    """References of data sets: ids, paths, those that come with the project."""
    yield spec["dataset"]
    for row in dataset_rows(spec):
        yield row["dataset"]


def dataset_rows(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a spec, besides itself, that name a `dataset`.

    What is measured, domains, and the labelled images beside those that are predicted.
    """
    # Jobs from before there was a calibration in specs have none.
    domains = spec.get("calibration", {}).get("domains", ())
    # Jobs that predict measure nothing.
    measured = spec.get("evaluation", {}).get("datasets") or ()
    beside = spec.get("transductive")
    return [*measured, *domains, *([] if beside is None else [beside])]


def checkpoints_in(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """The models of a spec that are stored checkpoints, wherever they stand in it."""
    models = (spec.get("model"), spec.get("start"), *spec.get("models", ()))
    return [model for model in models if model is not None and model["checkpoint"] is not None]


def named_in(spec: dict[str, Any]) -> set[str]:
    """Everything that the job needs before it can run."""
    return {*datasets_in(spec), *(model["checkpoint"] for model in checkpoints_in(spec))}
