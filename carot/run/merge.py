"""One checkpoint out of several: uniform soup or Model Stock (`carot.models.merging`)."""

from __future__ import annotations

from carot.errors import SpecError
from carot.events import PhaseStarted
from carot.models.merging import model_stock, uniform_soup
from carot.run.calibrate import calibrate
from carot.run.context import Context, Finished
from carot.run.evaluated import load_evaluated, load_start
from carot.run.weights import evaluated_with, weights_of
from carot.specs import MergeSpec, ModelStock


def merge(context: Context, spec: MergeSpec) -> Finished:
    """Average the weights, then calibrate, save and measure the result."""
    context.reporter.report(PhaseStarted(phase="preparing"))
    classes = context.classes()
    evaluated_models = [
        load_evaluated(model, classes, f"models.{i}") for i, model in enumerate(spec.models)
    ]
    first = evaluated_models[0]
    for index, each in enumerate(evaluated_models):
        if each.model.model_cfg != first.model.model_cfg or each.card.head != first.card.head:
            raise SpecError(
                "its architecture or kind of head is not that of the first; only checkpoints of "
                "one architecture and method can be merged",
                field=f"models.{index}",
            )
    rows = context.open_rows(classes)
    weights = [weights_of(evaluated) for evaluated in evaluated_models]
    if isinstance(spec.method, ModelStock):
        merged = model_stock(weights_of(load_start(spec.start, first)), weights)
    else:
        merged = uniform_soup(weights)
    evaluated = calibrate(context, evaluated_with(first, merged, spec.method.name))
    checkpoint = context.save(evaluated)
    return Finished(evaluated, context.measure(evaluated, rows), checkpoint)
