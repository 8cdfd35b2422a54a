"""A classifier out of what a training run ends with, or would end with."""

from __future__ import annotations

from dataclasses import replace

from carot.data.source import ImageSource
from carot.models.adapter_file import Adapters, AdaptersCard
from carot.models.adapters import merged
from carot.models.clip import ClipModel
from carot.models.prompts import Captions
from carot.run.evaluated import EvaluatedModel, evaluated_model
from carot.specs import TRAINED_TOWERS, FinetuneSpec, ModelSpec
from carot.training.methods import Outcome


def classifier_of(
    spec: FinetuneSpec,
    model: ClipModel,
    captions: Captions,
    source: ImageSource,
    outcome: Outcome,
) -> EvaluatedModel:
    """The classifier that is measured and saved.

    What adapters make of weights is in the weights; the adapters themselves lie beside it.
    """
    start = _portable(spec.model)
    evaluated = evaluated_model(
        model.with_module(merged(outcome.module)),
        captions,
        source.classes,
        spec.method.name,
        outcome.head_CD,
        start,
        source.depth,
    )
    if spec.adapters is None:
        return evaluated
    card = AdaptersCard(
        architecture=model.architecture,
        adapters=spec.adapters,
        trained=TRAINED_TOWERS[spec.method.name],
        start=start,
    )
    return replace(evaluated, adapters=Adapters.of(outcome.module, card))


def _portable(start: ModelSpec) -> ModelSpec | None:
    """What a checkpoint may say of its start: a folder is a place on one machine only."""
    return start if start.architecture is not None else None
