"""docs/methods.md: its examples are specs, and its table has every method."""

from __future__ import annotations

import re
from typing import get_args

import pytest
import yaml
from pydantic import TypeAdapter

from carot.specs import KINDS, AnySpec, Method, RunSpec
from tests.paths import DOCS

PAGE = (DOCS / "methods.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SPEC: TypeAdapter[AnySpec] = TypeAdapter(RunSpec)


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_a_spec(text: str) -> None:
    document = yaml.safe_load(text)
    spec = SPEC.validate_python(document)
    assert spec.kind == document["kind"]


def test_every_kind_of_run_is_told() -> None:
    for kind in KINDS:
        assert f"`{kind}`" in PAGE or f"kind: {kind}" in PAGE


def test_the_table_has_every_method() -> None:
    union, _ = get_args(Method)
    names = {each.model_fields["name"].default for each in get_args(union)}
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == names
