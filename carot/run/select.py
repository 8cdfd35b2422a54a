"""The best of several checkpoints, chosen without out-of-distribution data."""

from __future__ import annotations

from carot.evaluation.reports import Candidate
from carot.evaluation.selection import Judgement, score
from carot.events import PhaseStarted
from carot.run.calibrate import calibrate_checkpoint
from carot.run.context import Context, Finished
from carot.run.evaluated import load_evaluated
from carot.specs import ModelSpec, SelectSpec


def select(context: Context, spec: SelectSpec) -> Finished:
    """Judge every checkpoint on the selection split; only the chosen one is measured further."""
    context.reporter.report(PhaseStarted(phase="preparing"))
    classes = context.classes()
    split = context.open_split(spec.split, "split")
    rows = context.open_rows(classes)
    found: list[Judgement] = []
    for index, model in enumerate(spec.models):
        evaluated = load_evaluated(model, classes, f"models.{index}")
        outputs = context.outputs(evaluated, split, spec.split)
        found.append(Judgement.of(outputs.logits_NC, outputs.labels_N, outputs.features_ND))
    best = min(range(len(found)), key=lambda i: score(spec.rule, found[i]))
    evaluated = load_evaluated(spec.models[best], classes, f"models.{best}")
    evaluated = calibrate_checkpoint(context, evaluated)
    candidates = [
        Candidate.of(
            _name(model, index),
            judged,
            score(spec.rule, judged),
            chosen=index == best,
            model=model,
        )
        for index, (model, judged) in enumerate(zip(spec.models, found, strict=True))
    ]
    measured = context.measure(evaluated, rows)
    return Finished(evaluated, measured, rule=spec.rule, candidates=candidates)


def _name(model: ModelSpec, index: int) -> str:
    return model.checkpoint or f"model {index + 1}"
