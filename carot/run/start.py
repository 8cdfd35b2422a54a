"""The "before" of a fine-tuning: the model that it started from, measured on the same rows."""

from __future__ import annotations

from carot.evaluation.reports import DatasetReport
from carot.run.calibrate import calibrate
from carot.run.context import Context, Rows
from carot.run.evaluated import EvaluatedModel, load_start
from carot.specs import FinetuneSpec

CALIBRATOR = "temperature"
"""What the start's confidences are calibrated with, on the same images as the new model's."""


def measured_start(
    context: Context, spec: FinetuneSpec, tuned: EvaluatedModel, rows: Rows
) -> tuple[DatasetReport, ...]:
    """Every row, measured of the start; none where the spec does not want it, or nothing trained.

    The start is loaded again rather than held through the run.
    """
    if not spec.measure_start or spec.method.name == "zero_shot":
        return ()
    start = calibrate(context, load_start(spec.model, tuned), only=CALIBRATOR)
    return tuple(context.measure(start, rows, of="start"))
