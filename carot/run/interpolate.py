"""WiSE-FT: weights between a checkpoint and its zero-shot start (Wortsman et al., CVPR 2022).

Each α has a calibrator of its own. A head that was trained is interpolated with the start's; one
that the text tower makes is made again.
"""

from __future__ import annotations

from dataclasses import replace

from carot.data.source import ImageSource
from carot.evaluation.reports import Candidate, shifted_mean
from carot.events import PhaseStarted
from carot.models.classifier import pick_device
from carot.models.clip import load_model
from carot.models.prompts import Captions
from carot.run.calibrate import calibrate
from carot.run.context import Context, Finished
from carot.run.evaluated import EvaluatedModel, evaluated_model, load_evaluated, load_start
from carot.run.segment import Segment, candidate, closest_to_start
from carot.run.weights import weights_of
from carot.specs import FinetuneSpec, InterpolateSpec

NAME = "wise_ft"


def interpolate(context: Context, spec: InterpolateSpec) -> Finished:
    """Measure every α; the one that the rule prefers becomes the checkpoint."""
    context.reporter.report(PhaseStarted(phase="preparing"))
    tuned = load_evaluated(spec.model, context.classes(), "model")
    start = load_start(spec.start, tuned)
    rows = context.open_rows(tuned.card.classes)
    split = context.open_split(spec.split, "split")
    segment = Segment(tuned, weights_of(start), weights_of(tuned))
    judged = [segment.judged(context, alpha, split, spec.split) for alpha in spec.alphas]
    best = closest_to_start(spec.rule, spec.alphas, judged)
    kept = calibrate(context, segment.at(spec.alphas[best], NAME))
    checkpoint = context.save(kept)
    candidates: list[Candidate] = []
    finished = Finished(kept, (), checkpoint, rule=spec.rule)
    for index, alpha in enumerate(spec.alphas):
        evaluated = kept if index == best else _compared(context, segment.at(alpha, NAME), kept)
        measured = context.measure(evaluated, rows, keep=index == best)
        if index == best:
            finished = replace(finished, measured=measured)
        candidates.append(
            candidate(
                spec.rule,
                alpha,
                judged[index],
                chosen=index == best,
                datasets=tuple(measured),
                ood_mean=shifted_mean(measured),
            )
        )
    return replace(finished, candidates=candidates)


def _compared(context: Context, evaluated: EvaluatedModel, kept: EvaluatedModel) -> EvaluatedModel:
    """An α that is not kept, with a calibrator of the kind that serves the one that is."""
    if kept.calibration is None:
        return evaluated
    return calibrate(context, evaluated, only=kept.calibration.calibrator.kind)


def between_start_and_end(
    context: Context, spec: FinetuneSpec, tuned: EvaluatedModel, split: ImageSource
) -> tuple[EvaluatedModel, list[Candidate]]:
    """What a training run keeps when it chooses among α = 1/n … 1; only judged, not measured."""
    selection = spec.selection
    assert selection.rule != "last"
    # Loaded again rather than held through the run.
    model = load_model(spec.model, pick_device())
    captions = Captions(model, tuned.card.caption_names, tuned.card.templates)
    start = evaluated_model(
        model, captions, tuned.card.classes, "zero_shot", None, None, tuned.card.depth
    )
    segment = Segment(tuned, weights_of(start), weights_of(tuned))
    alphas = [(i + 1) / selection.candidates for i in range(selection.candidates)]
    judged = [segment.judged(context, alpha, split, selection.split) for alpha in alphas]
    best = closest_to_start(selection.rule, alphas, judged)
    candidates = [
        candidate(selection.rule, alpha, each, chosen=index == best)
        for index, (alpha, each) in enumerate(zip(alphas, judged, strict=True))
    ]
    chosen = segment.at(alphas[best], tuned.card.method)
    if tuned.adapters is not None:
        chosen = replace(chosen, adapters=tuned.adapters.scaled(alphas[best]))
    return chosen, candidates
