"""Evaluate a model or checkpoint as it is."""

from __future__ import annotations

from carot.events import PhaseStarted
from carot.models.classifier import pick_device
from carot.models.clip import load_model
from carot.run.calibrate import calibrate_checkpoint
from carot.run.captions import captions_for
from carot.run.context import Context, Finished
from carot.run.judge import Judge, is_checkpoint, judge_of, load_judge
from carot.specs import EvaluateSpec


def evaluate(context: Context, spec: EvaluateSpec) -> Finished:
    """A checkpoint is measured with its own head and calibrator, a bare model zero-shot."""
    context.reporter.report(PhaseStarted(phase="preparing"))
    judge = _judge(context, spec)
    rows = context.open_rows(judge.card.classes)
    judge = calibrate_checkpoint(context, judge)
    return Finished(judge, context.measure(judge, rows))


def _judge(context: Context, spec: EvaluateSpec) -> Judge:
    classes = context.classes()
    if is_checkpoint(spec.model):
        return load_judge(spec.model, classes, "model.folder")
    model = load_model(spec.model, pick_device())
    captions = captions_for(model, classes, spec.prompts, spec.dataset)
    return judge_of(model, captions, classes, "zero_shot", None, None)
