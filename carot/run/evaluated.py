"""A model ready to be measured: its head, its card and, once there is one, its calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from carot.calibration.calibration import Calibration
from carot.data.decoding.depth import UNKNOWN, Depth
from carot.errors import ClassMismatch, SpecError
from carot.evaluation.figures import CalibrationSummary, FittedCalibrator
from carot.evaluation.unseen_figures import UnseenReport
from carot.models.adapter_file import Adapters
from carot.models.checkpoints import (
    CLASSIFIER_NAME,
    ClassifierCard,
    load_calibration,
    load_card,
    load_head,
)
from carot.models.classifier import pick_device
from carot.models.clip import ClipModel, load_model
from carot.models.prompts import Captions, zero_shot_head
from carot.specs import ModelSpec


@dataclass(frozen=True)
class EvaluatedModel:
    """A classifier under examination. C classes, D embedding width.

    Attributes:
        summary: how this run fitted its calibration; None where it has none of this run.
        adapters: those that this run trained; their sums are in the model's weights.
        unseen: how well unseen classes are told from known ones; None where none were measured.
    """

    model: ClipModel
    head_CD: Tensor
    card: ClassifierCard
    calibration: Calibration | None
    summary: CalibrationSummary | None = None
    adapters: Adapters | None = None
    unseen: UnseenReport | None = None

    def calibrated(
        self, calibration: Calibration, summary: CalibrationSummary | None = None
    ) -> EvaluatedModel:
        """The same, calibrated."""
        return replace(self, calibration=calibration, summary=summary)

    def with_weights(
        self, module: nn.Module, head_CD: Tensor | None, method: str
    ) -> EvaluatedModel:
        """Other weights under the same classes and captions, without a calibration or adapters.

        Args:
            head_CD: None where the text tower is to make the head.
        """
        model = self.model.with_module(module)
        captions = Captions(model, self.card.caption_names, self.card.templates)
        card = self.card
        return evaluated_model(
            model, captions, card.classes, method, head_CD, card.start, card.depth
        )


def evaluated_model(
    model: ClipModel,
    captions: Captions,
    classes: tuple[str, ...],
    method: str,
    trained_CD: Tensor | None,
    start: ModelSpec | None,
    depth: Depth = UNKNOWN,
) -> EvaluatedModel:
    """A classifier with a trained head, or with the one that its text tower makes."""
    scale = float(model.logit_scale.detach().exp())
    head_CD = scale * zero_shot_head(model, captions) if trained_CD is None else trained_CD
    card = ClassifierCard(
        architecture=model.architecture,
        method=method,
        classes=classes,
        caption_names=captions.names,
        templates=captions.templates,
        logit_scale=scale,
        head="text" if trained_CD is None else "trained",
        start=start,
        depth=depth,
    )
    return EvaluatedModel(model, head_CD, card, None)


def is_checkpoint(spec: ModelSpec) -> bool:
    """Whether a model comes with classes and a head of its own."""
    return spec.folder is not None and (Path(spec.folder) / CLASSIFIER_NAME).exists()


def load_evaluated(spec: ModelSpec, classes: tuple[str, ...], field: str) -> EvaluatedModel:
    """The classifier of a checkpoint folder.

    Raises:
        SpecError: not a checkpoint.
        ClassMismatch: it knows other classes than the data set.
        CheckpointError, ModelError: it cannot be loaded.
    """
    if not is_checkpoint(spec):
        raise SpecError("not a fine-tuned checkpoint: it has no classes and no head", field=field)
    folder = Path(spec.folder or "")
    card = load_card(folder)
    if card.classes != classes:
        raise ClassMismatch(
            f"the checkpoint knows {len(card.classes)} classes ({', '.join(card.classes[:5])} "
            f"…), the data set has {len(classes)} ({', '.join(classes[:5])} …)",
            field="dataset",
        )
    model = load_model(spec, pick_device())
    return EvaluatedModel(model, load_head(folder, card), card, load_calibration(folder))


def load_start(given: ModelSpec | None, tuned: EvaluatedModel) -> EvaluatedModel:
    """What a checkpoint started from, as a classifier of the checkpoint's classes.

    Args:
        given: the spec's `start`; None for what the checkpoint's card says.

    Raises:
        SpecError: neither says where it started, or the start has another architecture.
    """
    spec = given or tuned.card.start
    if spec is None:
        raise SpecError("the checkpoint does not say what it started from: name it", field="start")
    model = load_model(spec, pick_device())
    if model.model_cfg != tuned.model.model_cfg:
        raise SpecError(
            f"{model.architecture} is built otherwise than the checkpoint "
            f"({tuned.model.architecture})",
            field="start",
        )
    if is_checkpoint(spec):
        card = load_card(Path(spec.folder or ""))
        if card.head == "trained" and card.classes == tuned.card.classes:
            return EvaluatedModel(model, load_head(Path(spec.folder or ""), card), card, None)
    captions = Captions(model, tuned.card.caption_names, tuned.card.templates)
    return evaluated_model(
        model, captions, tuned.card.classes, "zero_shot", None, None, tuned.card.depth
    )


def brought(evaluated: EvaluatedModel) -> CalibrationSummary | None:
    """What a report says of the calibration that a checkpoint came with."""
    calibration = evaluated.calibration
    if calibration is None:
        return None
    served, evidence = calibration.calibrator, calibration.evidence
    every = {**calibration.fitted, served.kind: served}
    return CalibrationSummary(
        images=served.n if evidence is None else evidence.n,
        asked=None,
        served=served.kind,
        raw_nll=None,
        calibrators=tuple(
            FittedCalibrator(kind=kind, calibrator=each) for kind, each in every.items()
        ),
    )
