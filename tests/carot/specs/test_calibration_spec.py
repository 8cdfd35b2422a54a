"""What a spec may ask of calibration."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from carot.calibration.calibrators.fitting import FITS
from carot.specs import (
    CALIBRATORS,
    KINDS,
    AnySpec,
    CalibrationSpec,
    FinetuneSpec,
    PredictSpec,
    RunSpec,
)
from carot.training.identity import fingerprint

RUN: TypeAdapter[AnySpec] = TypeAdapter(RunSpec)
FOLDER = {"folder": "f"}
NEEDS: dict[str, dict[str, Any]] = {
    "finetune": {"model": FOLDER},
    "evaluate": {"model": FOLDER},
    "interpolate": {"model": FOLDER},
    "merge": {"models": [FOLDER, FOLDER], "method": {"name": "uniform_soup"}},
    "select": {"models": [FOLDER, FOLDER]},
}
SITE = {"name": "site", "dataset": "folder:site"}


def spec(kind: str = "evaluate", **fields: Any) -> AnySpec:
    document = {"kind": kind, "dataset": "builtin:digits", **NEEDS[kind], **fields}
    return RUN.validate_python(document)


def refused(calibration: dict[str, Any]) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        CalibrationSpec.model_validate(calibration)
    [error] = caught.value.errors()
    return str(error["loc"][0]), error["msg"]


def test_every_calibrator_can_be_asked_for() -> None:
    assert tuple(FITS) == CALIBRATORS


@pytest.mark.parametrize("kind", NEEDS)
def test_every_kind_of_run_that_measures_calibrates(kind: str) -> None:
    assert set(NEEDS) == set(KINDS) - {"predict"}
    asked, silent = spec(kind, calibration={"calibrator": "isotonic"}), spec(kind)
    assert not isinstance(asked, PredictSpec)
    assert not isinstance(silent, PredictSpec)
    assert asked.calibration.calibrator == "isotonic"
    assert silent.calibration == CalibrationSpec()


def test_by_default_all_are_tried_and_the_temperature_is_served() -> None:
    assert CalibrationSpec().kinds == CALIBRATORS
    assert CalibrationSpec().asked_by_name == ("temperature",)
    few = CalibrationSpec(calibrator="vector", also=("temperature",))
    assert few.kinds == few.asked_by_name == ("temperature", "vector")
    assert CalibrationSpec(calibrator="auto", also=("vector",)).kinds == ("vector",)


@pytest.mark.parametrize(
    ("calibration", "field"),
    [
        ({"calibrator": "platt"}, "calibrator"),
        ({"calibrator": "domain_temperature"}, "domains"),
        ({"also": ["domain_temperature"]}, "domains"),
        ({"calibrator": "perturbed_temperature", "perturbations": []}, "perturbations"),
        ({"calibrator": "auto", "also": []}, "also"),
        ({"calibrator": "auto", "also": ["domain_temperature"], "domains": [SITE]}, "also"),
        ({"also": ["vector", "vector"]}, "also"),
        ({"domains": [SITE, SITE]}, "domains"),
        ({"domains": [SITE | {"name": "own"}]}, "domains"),
        ({"perturbations": [{"shift": "printed"}]}, "perturbations"),
        ({"perturbations": [{"shift": "fog"}, {"shift": "fog", "severity": 4}]}, "perturbations"),
        ({"coverages": [1.0]}, "coverages"),
        ({"coverages": [0.9, 0.9]}, "coverages"),
        ({"max_risks": [0.0]}, "max_risks"),
    ],
)
def test_what_cannot_be_asked(calibration: dict[str, Any], field: str) -> None:
    assert refused(calibration)[0] == field


def test_rows_name_domains_that_there_are() -> None:
    rows = [{"name": "a", "dataset": "folder:a", "domain": "site"}]
    with pytest.raises(ValidationError, match=r"a of evaluation\.datasets is of the domain 'site'"):
        spec(evaluation={"datasets": rows})
    spec(evaluation={"datasets": rows}, calibration={"domains": [SITE]})
    spec(evaluation={"datasets": [rows[0] | {"domain": "own"}]})


def test_a_snapshot_belongs_to_a_training_whatever_is_asked_of_its_calibration() -> None:
    plain, other = spec("finetune"), spec("finetune", calibration={"calibrator": "vector"})
    assert isinstance(plain, FinetuneSpec)
    assert isinstance(other, FinetuneSpec)
    assert fingerprint(plain) == fingerprint(other)
