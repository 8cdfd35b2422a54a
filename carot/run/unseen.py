"""Measures what a classifier makes of classes that it does not know, and chooses by what to tell.

Done before the checkpoint is saved, which is to say by which score it abstains. It costs one more
pass over the calibration images and those in distribution.
"""

from __future__ import annotations

from dataclasses import replace

from carot.calibration.sets.unseen_score import UnseenScore
from carot.errors import CalibrationError, SpecError
from carot.evaluation.rows import evaluation_rows, open_evaluation
from carot.evaluation.unseen import Likeness, UnseenImages, unseen_report, usual_scores
from carot.evaluation.unseen_rows import open_unseen
from carot.run.context import Context
from carot.run.evaluated import EvaluatedModel


def compared_with_unseen(context: Context, evaluated: EvaluatedModel) -> EvaluatedModel:
    """The same with what it makes of unseen classes, if the spec has any.

    A checkpoint that was compared with unseen classes before keeps the score that it chose.

    Raises:
        SpecError, DataError: see `open_unseen`; or nothing is measured in distribution.
    """
    spec, classes, calibration = context.spec, evaluated.card.classes, evaluated.calibration
    opened = open_unseen(spec, classes)
    if not opened:
        return evaluated
    rows = evaluation_rows(spec.evaluation, spec.dataset)
    own = next((row for row in rows if row.in_distribution), None)
    if own is None:
        raise SpecError(
            "unseen classes are compared with images in distribution, and none are measured",
            field="evaluation",
        )
    reference = _reference(context, evaluated)
    source = open_evaluation(own, classes, unseen=spec.unseen).source
    known = Likeness.of(context.outputs(evaluated, source, own.name), calibration)
    unseen = []
    for row, images in opened:
        outputs = context.outputs(evaluated, images, row.name)
        names = tuple(images.classes[c] for c in sorted(set(outputs.labels_N.tolist())))
        likeness = Likeness.of(outputs, calibration)
        unseen.append(UnseenImages(row, names, likeness, outputs.skipped))
    report = unseen_report(own.name, known, unseen, reference)
    if calibration is not None and reference is not None and report.chosen is not None:
        calibration = replace(calibration, unseen_score=reference.serving(report.chosen))
    return replace(evaluated, calibration=calibration, unseen=report)


def _reference(context: Context, evaluated: EvaluatedModel) -> UnseenScore | None:
    """What is usual for calibration images, of the checkpoint if it has it."""
    calibration = evaluated.calibration
    if calibration is None or calibration.unseen_score is not None:
        return None if calibration is None else calibration.unseen_score
    source = context.open_known("calibration")
    if len(source) == 0:
        return None
    try:
        return usual_scores(context.outputs(evaluated, source, "calibration"), calibration)
    except CalibrationError:  # images of which there can be no shift score
        return None
