"""Fine-tune a model, keep its last weights or the best of several along the way, and report."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from carot.data.decoding.depth import UNKNOWN
from carot.data.depths import settle_depth
from carot.data.loader import TrainingBatches, Unreadable
from carot.data.source import ImageSource
from carot.distributed import Ranks
from carot.errors import DataError, SpecError
from carot.evaluation.evaluate import run_model
from carot.evaluation.reports import Candidate
from carot.events import PhaseStarted, Warning
from carot.models.adapters import attach_adapters
from carot.models.clip import ClipModel, load_model
from carot.models.prompts import Captions
from carot.run.best import BestSoFar
from carot.run.calibrate import calibrate
from carot.run.captions import caption_warnings, captions_for, cut_warnings
from carot.run.context import Context, Finished
from carot.run.evaluated import EvaluatedModel
from carot.run.interpolate import between_start_and_end
from carot.run.outcome import classifier_of
from carot.run.start import measured_start
from carot.run.validation import ValidationCurve, Watchers, bounded, looks_for
from carot.specs import (
    TRAINED_TOWERS,
    FinetuneSpec,
    TrainingOptions,
    TrainingSpec,
    complete_training,
    rate_warnings,
)
from carot.training.identity import RunIdentity
from carot.training.methods import Method, Outcome, averaged, build_method
from carot.training.normalisation import prepare_normalisation
from carot.training.trainer import FitResult, Watcher, fit
from carot.warnings import CodedWarning

SNAPSHOT_NAME = "snapshot"


@dataclass(frozen=True)
class Training:
    """What a run trains with, made ready: the same on every process of it.

    Attributes:
        spec: the run's, with what it left open chosen.
        settings: its `training`.
        image_parameters: of the image tower, without adapters.
    """

    spec: FinetuneSpec
    settings: TrainingSpec
    model: ClipModel
    source: ImageSource
    captions: Captions
    batches: TrainingBatches
    method: Method
    image_parameters: int


def finetune(context: Context, spec: FinetuneSpec) -> Finished:
    """Train from the start, or from the snapshot in the run's folder."""
    context.reporter.report(PhaseStarted(phase="preparing"))
    _check_share(spec.training, context.ranks)
    with context.ranks:
        training = _prepare(context, spec)
        context.spec = spec = training.spec
        of_captions = caption_warnings(training.source, spec.prompts, training.method, spec.dataset)
        for warning in (*_rate_warnings(training), *of_captions):
            context.reporter.report(Warning.of(warning))
        model, captions, method = training.model, training.captions, training.method
        source = training.source
        # Opened before training: a data set that cannot be evaluated should not cost a run first.
        rows = context.open_rows(source.classes)
        split = _selection_split(context, spec, method)
        best = _best(context, spec, method, captions, source, split)
        curve = _curve(context, spec, training)
        watchers = [each for each in (best, curve) if each is not None]
        fitted = _fit(context, spec, training, Watchers(watchers))
    evaluated = classifier_of(spec, model, captions, source, method.outcome())
    candidates: list[Candidate] = []
    if best is not None:
        evaluated = classifier_of(spec, model, captions, source, best.outcome())
        candidates = best.candidates()
    elif split is not None:
        evaluated, candidates = between_start_and_end(context, spec, evaluated, split)
    evaluated = calibrate(context, evaluated)
    checkpoint = context.save(evaluated)
    measured = context.measure(evaluated, rows)
    before = measured_start(context, spec, evaluated, rows)
    rule = spec.selection.rule if candidates else None
    return Finished(evaluated, measured, checkpoint, fitted, rule, candidates, before)


def _rate_warnings(training: Training) -> list[CodedWarning]:
    model, method = training.model, training.spec.method
    return rate_warnings(
        training.settings,
        method,
        model.architecture,
        training.image_parameters,
        training.spec.adapters,
    )


def _image_parameters(model: ClipModel) -> int:
    tower = model.module.get_submodule("visual")
    return sum(each.numel() for each in tower.parameters())


def train_along(context: Context, spec: FinetuneSpec) -> None:
    """What another process than the first does in a run: its share of the training."""
    _check_share(spec.training, context.ranks)
    with context.ranks:
        training = _prepare(context, spec)
        _fit(context, training.spec, training)


def _prepare(context: Context, spec: FinetuneSpec) -> Training:
    ranks = context.ranks
    model = load_model(spec.model, ranks.device)
    source = context.open_known("train")
    _check_training_set(spec, source)
    settle_depth(source, UNKNOWN, spec.dataset, context.reporter)
    parameters = _image_parameters(model)
    settings = complete_training(
        spec.training, spec.method, model.architecture, len(source), parameters, spec.adapters
    )
    _check_batch(spec, settings, len(source), ranks)
    spec = spec.with_training(settings)
    adapted = spec.adapters is not None
    prepare_normalisation(model, ranks, settings, adapted=adapted)
    if spec.adapters is not None:
        trained = TRAINED_TOWERS[spec.method.name]
        attach_adapters(model, spec.adapters, trained, settings.seed)
    captions = captions_for(model, source.classes, spec.prompts, spec.dataset, source.captions)
    torch.manual_seed(settings.seed)
    batches = TrainingBatches(
        source,
        model.transform,
        model.resizing,
        batch_size=settings.batch_size,
        templates=captions.draws,
        crop_scale=settings.random_crop_scale,
        seed=settings.seed,
        unreadable=Unreadable(spec.dataset, source, context.reporter),
        ranks=ranks,
    )
    total = settings.epochs * batches.steps_per_epoch
    method = build_method(spec.method, model, captions, total, settings.seed)
    method = averaged(method, spec.selection.average)
    for warning in (*cut_warnings(captions), *method.warnings):
        context.reporter.report(Warning.of(warning))
    return Training(spec, settings, model, source, captions, batches, method, parameters)


def _fit(
    context: Context, spec: FinetuneSpec, training: Training, watcher: Watcher | None = None
) -> FitResult | None:
    if not training.method.trains:
        return None
    return fit(
        training.model,
        training.method,
        training.batches,
        training.captions,
        training.settings,
        context.reporter,
        snapshot_folder=context.folder / SNAPSHOT_NAME,
        run=RunIdentity.of(spec, training.source),
        should_stop=context.should_stop,
        watcher=watcher,
    )


def _selection_split(context: Context, spec: FinetuneSpec, method: Method) -> ImageSource | None:
    """The images to choose by; None where nothing is to be chosen."""
    if spec.selection.rule == "last" or not method.trains:
        return None
    source = context.open_known(spec.selection.split)
    if len(source) > 0:
        return source
    message = (
        f"{spec.dataset} has no images in {spec.selection.split!r} to choose by: "
        "the last weights are kept"
    )
    context.reporter.report(Warning(code="no_selection_split", message=message))
    return None


def _best(
    context: Context,
    spec: FinetuneSpec,
    method: Method,
    captions: Captions,
    source: ImageSource,
    split: ImageSource | None,
) -> BestSoFar | None:
    selection = spec.selection
    if split is None or selection.rule == "last" or selection.over != "training":
        return None

    def model_of(outcome: Outcome) -> EvaluatedModel:
        return classifier_of(spec, method.model, captions, source, outcome)

    return BestSoFar(
        method,
        selection.rule,
        selection.candidates,
        model_of=model_of,
        measure=lambda each: context.outputs(each, split, selection.split),
        reporter=context.reporter,
    )


def _curve(context: Context, spec: FinetuneSpec, training: Training) -> ValidationCurve | None:
    """What measures the run along the way; None without training or validation images."""
    method, captions = training.method, training.captions
    images = bounded(context.open_known("validation"), training.settings.seed)
    if not method.trains or len(images) == 0:
        return None
    settle_depth(images, training.source.depth, spec.dataset, context.reporter)

    def model_of(outcome: Outcome) -> EvaluatedModel:
        return classifier_of(spec, method.model, captions, training.source, outcome)

    seen = method.total_steps * training.settings.batch_size
    said = len(captions.tokens_UL) if method.uses_captions else 0
    return ValidationCurve(
        method,
        images,
        looks_for(seen, len(images), said),
        model_of=model_of,
        measure=lambda each, reporter: run_model(
            each.model,
            each.head_CD,
            images,
            name="validation",
            batch_size=spec.evaluation.batch_size,
            reporter=reporter,
            should_stop=context.should_stop,
        ),
        reporter=context.reporter,
    )


def _check_training_set(spec: FinetuneSpec, source: ImageSource) -> None:
    if len(source) == 0:
        raise DataError(f"{spec.dataset} has no training images", field="dataset")
    absent = sorted(set(range(len(source.classes))) - set(source.labels.tolist()))
    if absent:
        names = ", ".join(source.classes[i] for i in absent[:10])
        raise DataError(f"{spec.dataset}: no training image of {names}", field="dataset")


def _check_batch(spec: FinetuneSpec, settings: TrainingSpec, images: int, ranks: Ranks) -> None:
    if spec.method.name == "zero_shot":
        return
    if settings.batch_size > images:
        raise SpecError(
            f"training.batch_size is {settings.batch_size}, "
            f"but the training split has {images} images",
            field="training.batch_size",
        )
    _check_share(settings, ranks)


def _check_share(training: TrainingOptions, ranks: Ranks) -> None:
    """Also before the processes meet, where the batch is said."""
    if training.batch_size is not None and training.batch_size < ranks.count:
        raise SpecError(
            f"training.batch_size is {training.batch_size}, too few for "
            f"{ranks.count} processes: each needs an image of every batch",
            field="training.batch_size",
        )
