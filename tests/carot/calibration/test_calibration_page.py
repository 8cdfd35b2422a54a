"""docs/calibration.md: its examples run, its tables are complete, its figures are measured."""

from __future__ import annotations

import re
from typing import get_args

import pytest
import yaml
from pydantic import TypeAdapter

from benchmarks.calibrators_page import tables
from carot.calibration.sets.conformal import images_needed
from carot.calibration.sets.conformal_scores import SCORES
from carot.calibration.sets.risk import images_needed as images_for
from carot.specs import CALIBRATORS, AnySpec, RunSpec
from carot.warnings import Code
from tests.paths import DOCS

PAGE = (DOCS / "calibration.md").read_text(encoding="utf-8")
SPEC: TypeAdapter[AnySpec] = TypeAdapter(RunSpec)


def examples(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", examples("yaml"), ids=range(len(examples("yaml"))))
def test_an_example_is_a_spec(text: str) -> None:
    document = yaml.safe_load(text)
    spec = SPEC.validate_python(document)
    for name, value in document["calibration"].items():
        assert spec.calibration.model_dump(mode="json", exclude_unset=True)[name] == value


def test_the_program_runs(capsys: pytest.CaptureFixture[str]) -> None:
    [program] = examples("python")
    exec(program, {})
    assert "count=50" in capsys.readouterr().out


def test_every_calibrator_method_and_warning_is_told() -> None:
    named = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert {*CALIBRATORS, *SCORES} <= set(named)
    assert [code for code in get_args(Code) if code.startswith("calib") and code not in PAGE] == []


def test_what_is_needed_is_so() -> None:
    assert (images_needed(0.9), images_needed(0.99)) == (9, 99)
    assert "9 for 0.9, 99 for 0.99" in PAGE
    assert f"proving 5 % takes {images_for(0.05)} accepted images and 1 % takes" in PAGE
    assert f"1 % takes {images_for(0.01)}." in PAGE


@pytest.mark.parametrize("name", tables())
def test_the_figures_are_those_of_the_benchmarks(name: str) -> None:
    assert "\n".join(tables()[name]) in PAGE
