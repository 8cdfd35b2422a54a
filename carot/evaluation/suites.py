"""Evaluation suites: the rows of a report by one word, read from `recipes/suites/*.yaml`.

A suite has a `description` and `rows`. A row has the fields of `EvaluationDataset` but severity and
domain, and perhaps `each`: a list of words, for which there is one row per word and severity. In
its texts stand `{each}`, `{severity}`, `{dataset}` (of the spec), `{split}` (its test split, or
validation where it has no test images) and `{root}` (`evaluation.root`). Loads no torch and opens
no data set.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from itertools import product
from typing import Any

import yaml
from pydantic import Field

from carot.errors import SpecError
from carot.specs import EvaluationDataset, EvaluationSpec, SplitName
from carot.specs.base import Spec

FOLDER = "suites"
PLACE = re.compile(r"\{([a-z]+)\}")


class SuiteRow(Spec):
    """One row, or one per word of `each` and severity."""

    name: str
    dataset: str
    split: str = "test"
    shift: str | None = None
    in_distribution: bool = False
    restrict: bool = False
    each: tuple[str, ...] | None = Field(default=None, min_length=1)


class Suite(Spec):
    """A named list of rows."""

    description: str
    rows: tuple[SuiteRow, ...] = Field(min_length=1)

    def wants(self, place: str) -> bool:
        """Whether `{place}` stands anywhere in it."""
        texts = (text for row in self.rows for text in row.model_dump().values())
        return any(place in PLACE.findall(text) for text in texts if isinstance(text, str))


@cache
def suite_names() -> tuple[str, ...]:
    """Every suite, sorted."""
    files = (resources.files("recipes") / FOLDER).iterdir()
    return tuple(sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml")))


@cache
def suite(name: str) -> Suite:
    """The suite of this name.

    Raises:
        SpecError: there is none; `field` is "evaluation.suite".
    """
    if name not in suite_names():
        raise SpecError(
            f"no suite {name[:80]!r}; there are {', '.join(suite_names())}",
            field="evaluation.suite",
        )
    text = (resources.files("recipes") / FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    return Suite.model_validate(yaml.safe_load(text))


def suite_rows(
    name: str, evaluation: EvaluationSpec, *, dataset: str, split: Callable[[], SplitName]
) -> tuple[EvaluationDataset, ...]:
    """The rows of a suite, one of them in distribution.

    Args:
        evaluation: gives `root` and `severities`.
        dataset: reference of the spec's data set.
        split: the split of it that is measured; called only for suites that measure it.

    Raises:
        SpecError: no such suite, or one that lies under a root without one, or the reverse.
    """
    chosen = suite(name)
    values = {"dataset": dataset}
    if chosen.wants("root"):
        if evaluation.root is None:
            raise SpecError(
                f"the suite {name} needs root, the folder under which its data sets lie",
                field="evaluation.root",
            )
        values["root"] = evaluation.root.rstrip("/")
    elif evaluation.root is not None:
        raise SpecError(f"the suite {name} takes no root", field="evaluation.root")
    if chosen.wants("split"):
        values["split"] = split()
    severities = tuple(dict.fromkeys(evaluation.severities))
    return tuple(
        _row(row, values | {"each": word, "severity": str(severity)}, severity)
        for row in chosen.rows
        for word, severity in product(row.each or ("",), severities if row.each else severities[:1])
    )


def _row(row: SuiteRow, values: Mapping[str, str], severity: int) -> EvaluationDataset:
    # In one pass: what a user's path spells is not a place again.
    fields: dict[str, Any] = {
        key: PLACE.sub(lambda found: values[found[1]], value) if isinstance(value, str) else value
        for key, value in row.model_dump(exclude={"each"}).items()
    }
    if row.each is not None:
        fields["severity"] = severity
    return EvaluationDataset.model_validate(fields)
