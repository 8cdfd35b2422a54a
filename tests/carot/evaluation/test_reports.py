from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.fitting import Sample, fit_calibrator
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.metrics.metrics import compute_metrics
from carot.calibration.metrics.reliability import reliability
from carot.errors import CalibrationError
from carot.evaluation.bound import smallest_singular_value
from carot.evaluation.measuring import measure
from carot.evaluation.reports import DatasetReport, Report, build_report
from carot.specs import CalibrationSpec, EvaluateSpec, EvaluationDataset, FinetuneSpec, ModelSpec
from tests.carot.calibration.drawn_logits import drawn

CLASSES = tuple("abcdefg")
SPEC = EvaluateSpec(model=ModelSpec(architecture="carot-mini"), dataset="builtin:digits")


def features(images: int) -> torch.Tensor:
    return torch.randn(images, 8, generator=torch.Generator().manual_seed(7))


def fitted() -> Calibration:
    return Calibration(fit_temperature(*drawn(500, temperature=3.0, seed=9), classes=CLASSES))


def measured(
    name: str, *, calibration: Calibration | None = None, seed: int = 0, **fields: Any
) -> DatasetReport:
    row = EvaluationDataset(name=name, dataset="builtin:digits", **fields)
    logits, labels = drawn(300, temperature=3.0, seed=seed)
    return measure(row, logits, labels, features(300), calibration=calibration, skipped=["x.png"])


def built(rows: list[DatasetReport], calibration: Calibration | None = None) -> Report:
    return build_report(
        SPEC,
        rows,
        classes=CLASSES,
        method="carot",
        architecture="carot-mini",
        calibration=calibration,
    )


def test_a_data_set_is_measured_before_and_after_the_temperature() -> None:
    calibration = fitted()
    report = measured("test", calibration=calibration, in_distribution=True)
    logits, labels = drawn(300, temperature=3.0)
    after = calibration.calibrator.log_probabilities(logits)
    assert report.raw == compute_metrics(logits, labels)
    assert report.classes == logits.shape[1] == 7
    assert report.calibrated == compute_metrics(after, labels)
    assert report.calibrated.ece < report.raw.ece / 2
    assert report.calibrated.accuracy == report.raw.accuracy
    assert report.reliability_raw == reliability(logits, labels)
    assert report.reliability_calibrated == reliability(after, labels)
    assert report.sigma_min == smallest_singular_value(features(300))
    assert (report.images, report.skipped) == (300, ("x.png",))


def test_without_a_calibrator_there_is_nothing_calibrated() -> None:
    report = measured("test")
    assert report.calibrated is None
    assert report.reliability_calibrated is None
    headline = report.headline()
    assert headline["calibrated_ece"] is None
    assert headline["calibrated_nll"] is None
    assert headline["ece"] == report.raw.ece


def test_headlines_are_plain_numbers() -> None:
    report = measured("test", calibration=fitted())
    assert report.calibrated is not None
    headline = report.headline()
    assert headline == json.loads(json.dumps(headline))
    assert headline["accuracy"] == report.raw.accuracy
    assert headline["calibrated_ece"] == report.calibrated.ece


def test_a_severity_goes_with_a_shift() -> None:
    plain, shifted = measured("test", severity=4), measured("noise", shift="noise", severity=4)
    assert (plain.shift, plain.severity) == (None, None)
    assert (shifted.shift, shifted.severity) == ("noise", 4)


@pytest.mark.parametrize("calibrated", [True, False])
def test_the_mean_is_over_what_is_not_in_distribution(calibrated: bool) -> None:
    calibration = fitted() if calibrated else None
    rows = [
        measured("test", calibration=calibration, in_distribution=True),
        measured("noise", calibration=calibration, shift="noise", seed=1),
        measured("other", calibration=calibration, seed=2),
    ]
    report = built(rows, calibration)
    assert report.in_distribution == "test"
    mean = report.ood_mean
    assert mean is not None
    assert mean.datasets == 2
    assert mean.accuracy == pytest.approx((rows[1].raw.accuracy + rows[2].raw.accuracy) / 2)
    assert mean.ece == pytest.approx((rows[1].raw.ece + rows[2].raw.ece) / 2)
    after = [row.calibrated.ece for row in rows[1:] if row.calibrated is not None]
    assert mean.calibrated_ece == (pytest.approx(sum(after) / 2) if calibrated else None)
    assert (mean.calibrated_nll is None) is not calibrated


def test_no_shifted_data_no_mean() -> None:
    assert built([measured("test", in_distribution=True)]).ood_mean is None
    assert built([measured("test")]).in_distribution is None


def test_a_report_survives_json() -> None:
    calibration = fitted()
    rows = [
        measured("test", calibration=calibration, in_distribution=True),
        measured("noise", calibration=calibration, shift="noise"),
    ]
    for spec in (SPEC, FinetuneSpec(model=SPEC.model, dataset=SPEC.dataset)):
        report = build_report(
            spec, rows, classes=CLASSES, method="m", architecture="a", calibration=calibration
        )
        document = report.model_dump_json()
        assert Report.model_validate_json(document) == report
        assert Report.model_validate(json.loads(document)) == report
        assert report.kind == spec.kind
        assert report.created_at.utcoffset() == timedelta(0)
        assert json.loads(document)["version"] == 1


LATER = (
    "ece_l2",
    "ece_max",
    "smooth_ece",
    "debiased_squared",
    "debiased_squared_interval",
    "auroc",
    "aurc",
    "augrc",
    "brier_top",
    "brier_reliability",
    "brier_resolution",
    "brier_uncertainty",
    "brier_within",
)
"""Fields of `Metrics` that the first reports lack."""


def test_a_report_stored_before_a_metric_was_there_is_read() -> None:
    report = built([measured("test", calibration=fitted(), in_distribution=True)], fitted())
    document = json.loads(report.model_dump_json())
    for row in document["datasets"]:
        for metrics in (row["raw"], row["calibrated"]):
            assert set(LATER) < set(metrics)
            for name in LATER:
                del metrics[name]
    old = Report.model_validate_json(json.dumps(document))
    assert old.datasets[0].raw.ece == report.datasets[0].raw.ece
    assert {getattr(old.datasets[0].raw, name) for name in LATER} == {None}
    # Nothing else may be missing.
    del document["datasets"][0]["raw"]["nll"]
    with pytest.raises(ValidationError, match="nll"):
        Report.model_validate(document)


def test_a_report_stored_before_there_were_several_calibrators_is_read() -> None:
    calibration = fitted()
    rows = [measured("test", calibration=calibration), measured("noise", calibration=calibration)]
    document = json.loads(built(rows, calibration).model_dump_json())
    del document["calibration"]
    del document["spec"]["calibration"]
    del document["ood_mean"]["calibrators"]
    for row in document["datasets"]:
        for name in ("calibrators", "sets", "risks", "shift_score", "domain"):
            del row[name]
    old = Report.model_validate_json(json.dumps(document))
    assert old.datasets[0].calibrated == rows[0].calibrated
    assert (old.calibration, old.datasets[0].calibrators, old.datasets[0].sets) == (None, (), ())
    assert old.spec.calibration == CalibrationSpec()


def test_the_mean_is_over_calibrators_that_every_row_has() -> None:
    one = fitted()
    logits, labels = drawn(500, temperature=3.0, seed=9)
    other = fit_calibrator("isotonic", Sample(logits, labels), classes=CLASSES)
    two = Calibration(one.calibrator, {"temperature": one.calibrator, "isotonic": other})
    rows = [measured("a", calibration=two), measured("b", calibration=two, seed=1)]
    mean = built(rows, two).ood_mean
    assert mean is not None
    assert [each.kind for each in mean.calibrators] == ["temperature", "isotonic"]
    assert (mean.calibrators[0].ece, mean.calibrators[0].nll) == (
        mean.calibrated_ece,
        mean.calibrated_nll,
    )
    isotonic = [row.calibrators[1].metrics for row in rows]
    assert mean.calibrators[1].brier == pytest.approx(sum(m.brier for m in isotonic) / 2)
    partly = built([rows[0], measured("b", calibration=one)], two).ood_mean
    assert partly is not None
    assert [each.kind for each in partly.calibrators] == ["temperature"]


def test_rows_of_two_data_sets_are_refused() -> None:
    row = EvaluationDataset(name="test", dataset="builtin:digits")
    with pytest.raises(CalibrationError, match="300 rows of logits and 10 of features"):
        measure(row, *drawn(300), features(10), calibration=None, skipped=())


def test_reports_are_read_without_torch() -> None:
    code = (
        "import sys, carot.evaluation.reports, carot.calibration.calibrators.calibrator; "
        "carot.evaluation.reports.Report.model_json_schema(); "
        "print(sorted({'torch', 'open_clip', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
