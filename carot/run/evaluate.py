"""Evaluate a model or checkpoint as it is."""

from __future__ import annotations

from carot.events import PhaseStarted, Warning
from carot.models.classifier import pick_device
from carot.models.clip import load_model
from carot.run.calibrate import calibrate_checkpoint
from carot.run.captions import captions_for, cut_warnings
from carot.run.context import Context, Finished
from carot.run.evaluated import EvaluatedModel, evaluated_model, is_checkpoint, load_evaluated
from carot.specs import EvaluateSpec


def evaluate(context: Context, spec: EvaluateSpec) -> Finished:
    """A checkpoint is measured with its own head and calibrator, a bare model zero-shot."""
    context.reporter.report(PhaseStarted(phase="preparing"))
    evaluated = _judge(context, spec)
    rows = context.open_rows(evaluated.card.classes)
    evaluated = calibrate_checkpoint(context, evaluated)
    return Finished(evaluated, context.measure(evaluated, rows))


def _judge(context: Context, spec: EvaluateSpec) -> EvaluatedModel:
    classes = context.classes()
    if is_checkpoint(spec.model):
        return load_evaluated(spec.model, classes, "model.folder")
    model = load_model(spec.model, pick_device())
    captions = captions_for(model, classes, spec.prompts, spec.dataset)
    for warning in cut_warnings(captions):
        context.reporter.report(Warning.of(warning))
    return evaluated_model(model, captions, classes, "zero_shot", None, None)
