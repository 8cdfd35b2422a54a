"""Checks a job's spec before a worker spends time on it. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from sqlalchemy.orm import Session

from api.datasets.bundled import DIGITS, Contents, bundled_digits, bundled_fashion
from api.jobs.model_checks import checked_models, constraint_warnings, named_checkpoints
from api.web.identifiers import ID
from api.web.problems import Problem, invalid
from carot.data.label_space import label_space
from carot.data.unseen import known_classes
from carot.errors import CarotError
from carot.evaluation.suites import suite, suite_rows
from carot.specs import (
    AnySpec,
    Domain,
    EvaluationDataset,
    FinetuneSpec,
    InterpolateSpec,
    MeasuringSpec,
    PredictSpec,
    SelectSpec,
    SplitName,
    TrainingSpec,
    complete_training,
    rate_warnings,
)
from carot.specs.base import FASHION, PATH_SCHEMES, UNLABELLED, is_unlabelled
from carot.warnings import CodedWarning
from store.datasets.datasets import get_dataset
from store.datasets.roots import is_path, named_files
from store.errors import Gone, NotBeneathRoot, NotFound
from store.models.checkpoints import get_checkpoint
from store.retention.deletion import keep_there

FILES = Contents((), {})
"""Of files that only the run looks at."""


def checked(session: Session, project: str, spec: AnySpec, root: Path | None = None) -> AnySpec:
    """The spec as the job stores it: what was left to the service to find out is written into it.

    Args:
        project: whose data sets and checkpoints may be named; no other exists for it.
        root: the folder beneath which files of the server may be named.

    Raises:
        Problem: 422 that names the field of a spec that cannot succeed.
    """
    _check_text(spec)
    spec = checked_models(session, project, spec)
    if isinstance(spec, PredictSpec):
        _check_prediction(session, project, spec, root)
        return spec
    contents = _known(spec, _contents(session, project, spec.dataset, "dataset", root))
    if isinstance(spec, FinetuneSpec):
        spec = _with_training(session, project, spec, contents)
        _check_training(spec, contents)
    else:
        _check_classes(session, project, spec, contents)
    if isinstance(spec, InterpolateSpec | SelectSpec):
        _check_split(spec.split, contents, "split")
    if spec.evaluation.suite is not None:
        _check_suite(session, project, spec, spec.evaluation.suite, contents, root)
    else:
        _check_rows(session, project, spec, contents, root)
    _check_domains(session, project, spec, contents, root)
    return spec


def _check_text(spec: AnySpec) -> None:
    """Neither database nor JSON has room for infinities and null characters."""
    try:
        text = json.dumps(spec.model_dump(mode="python"), allow_nan=False, default=str)
    except ValueError as error:
        raise invalid("body", "numbers must be finite") from error
    if "\\u0000" in text:
        raise invalid("body", "text must not contain null characters")


def _contents(
    session: Session, project: str, reference: str, field: str, root: Path | None
) -> Contents:
    if reference == DIGITS:
        return bundled_digits()
    if reference == FASHION:
        return bundled_fashion()
    if is_unlabelled(reference):
        raise invalid(field, "images without classes can only be predicted (kind `predict`)")
    if is_path(reference):
        return _files(reference, field, root)
    if not (reference.startswith("ds_") and ID.fullmatch(reference)):
        raise invalid(
            field,
            f"{reference[:80]!r} is no data set: use {DIGITS}, {FASHION}, an id (ds_…) or "
            f"SCHEME:PATH, where SCHEME is one of {', '.join((*PATH_SCHEMES, UNLABELLED))}",
        )
    try:
        row = get_dataset(session, project, reference)
        keep_there(session, row)
    except Gone:
        raise invalid(field, f"{reference} has been deleted") from None
    except NotFound:
        raise invalid(field, f"no data set {reference}") from None
    counts = {split: sum(classes.values()) for split, classes in row.splits.items()}
    return Contents(tuple(row.classes), counts)


def _files(reference: str, field: str, root: Path | None) -> Contents:
    try:
        named_files(root, reference)
    except NotBeneathRoot as error:
        raise invalid(field, f"{reference}: {error}") from None
    return FILES


def _check_prediction(session: Session, project: str, spec: PredictSpec, root: Path | None) -> None:
    """The classes may be any: what the checkpoint does not know is scored all the same."""
    if is_unlabelled(spec.dataset):
        contents = _files(spec.dataset, "dataset", root)
    else:
        contents = _contents(session, project, spec.dataset, "dataset", root)
    if spec.shift == "printed" and spec.dataset != DIGITS:
        raise invalid("shift", f"`printed` goes with {DIGITS} only")
    if spec.split != "all" and contents.lacks(spec.split):
        raise invalid("split", f"{spec.dataset} has no images in {spec.split!r}")
    beside = spec.transductive
    if beside is not None:
        labelled = _contents(session, project, beside.dataset, "transductive.dataset", root)
        if labelled.lacks(beside.split):
            message = f"{beside.dataset} has no images in {beside.split!r}"
            raise invalid("transductive.split", message)


def _with_training(
    session: Session, project: str, spec: FinetuneSpec, contents: Contents
) -> FinetuneSpec:
    """Rate, epochs and batch said, where they were left open and the images can be counted."""
    images = contents.images.get("train", 0)
    if images == 0:
        return spec
    architecture = _architecture(session, project, spec)
    settings = complete_training(
        spec.training, spec.method, architecture, images, adapters=spec.adapters
    )
    return spec.with_training(settings)


def warnings_of(session: Session, project: str, spec: AnySpec) -> list[CodedWarning]:
    """What can be told of a spec before it runs."""
    if not isinstance(spec, FinetuneSpec) or spec.training.epochs is None:
        return []
    settings = TrainingSpec(**spec.training.model_dump())
    architecture = _architecture(session, project, spec)
    return [
        *rate_warnings(settings, spec.method, architecture, adapters=spec.adapters),
        *constraint_warnings(architecture, spec.method),
    ]


def _architecture(session: Session, project: str, spec: FinetuneSpec) -> str:
    if spec.model.checkpoint is not None:
        return get_checkpoint(session, project, spec.model.checkpoint).architecture
    return spec.model.architecture or ""


def _known(spec: MeasuringSpec, contents: Contents) -> Contents:
    """What a data set holds without the classes that are to stay unseen; they count as images."""
    if not contents.classes:
        return contents
    try:
        return replace(contents, classes=known_classes(contents.classes, spec.unseen))
    except CarotError as error:
        raise invalid("unseen", error.message) from None


def _without(spec: MeasuringSpec, classes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each for each in classes if each not in spec.unseen)


def _check_training(spec: FinetuneSpec, contents: Contents) -> None:
    if contents == FILES:
        return
    images = contents.images.get("train", 0)
    if len(contents.classes) < 2:
        raise invalid("dataset", "only one class; a classifier needs two or more")
    if spec.method.name == "zero_shot":
        return
    if images == 0:
        raise invalid("dataset", "it has no training split")
    if spec.training.batch_size is not None and spec.training.batch_size > images:
        raise invalid(
            "training.batch_size",
            f"{spec.training.batch_size} is more than the {images} images of the training split",
        )


def _check_classes(session: Session, project: str, spec: MeasuringSpec, contents: Contents) -> None:
    """A checkpoint that is measured, unlike one that is trained further, keeps its classes."""
    rows = named_checkpoints(session, project, spec)
    known = [(field, tuple(row.classes)) for field, row in rows.items()]
    if not known:
        return
    first, classes = known[0]
    for field, others in known[1:]:
        _check_same_classes(others, classes, f"{field}.checkpoint", f"those of {first}")
    _check_same_classes(contents.classes, classes, "dataset", "the checkpoint's")


def _check_split(split: str, contents: Contents, field: str) -> None:
    if contents.lacks(split):
        raise invalid(field, f"the data set has no images in {split!r} to choose by")


def _check_rows(
    session: Session, project: str, spec: MeasuringSpec, training: Contents, root: Path | None
) -> None:
    for i, row in enumerate(spec.evaluation.datasets or ()):
        field = f"evaluation.datasets.{i}"
        contents = _row_contents(session, project, row, field, root)
        if not row.unseen:
            found = _without(spec, contents.classes)
            _check_row_classes(row, found, training.classes, f"{field}.dataset")
        elif contents.classes and not set(contents.classes) - set(training.classes):
            raise invalid(f"{field}.dataset", "it has no class but those of dataset")
    if spec.evaluation.datasets is None and all(map(training.lacks, ("test", "validation"))):
        raise invalid("dataset", "it has neither a test nor a validation split to be evaluated on")


def _check_domains(
    session: Session, project: str, spec: MeasuringSpec, training: Contents, root: Path | None
) -> None:
    for i, domain in enumerate(spec.calibration.domains):
        field = f"calibration.domains.{i}"
        contents = _row_contents(session, project, domain, field, root)
        found = _without(spec, contents.classes)
        _check_same_classes(found, training.classes, f"{field}.dataset", "those of dataset")


def _row_contents(
    session: Session,
    project: str,
    row: EvaluationDataset | Domain,
    field: str,
    root: Path | None,
) -> Contents:
    contents = _contents(session, project, row.dataset, f"{field}.dataset", root)
    if row.shift == "printed" and row.dataset != DIGITS:
        raise invalid(f"{field}.shift", f"`printed` goes with {DIGITS} only")
    if contents.lacks(row.split):
        raise invalid(f"{field}.split", f"{row.dataset} has no images in {row.split!r}")
    return contents


def _check_suite(
    session: Session,
    project: str,
    spec: MeasuringSpec,
    name: str,
    training: Contents,
    root: Path | None,
) -> None:
    field = "evaluation.suite"
    try:
        chosen = suite(name)
        split: SplitName = "validation" if training.lacks("test") else "test"
        if chosen.wants("split") and training.lacks(split):
            raise invalid("dataset", "it has neither a test nor a validation split to be measured")
        rows = suite_rows(name, spec.evaluation, dataset=spec.dataset, split=lambda: split)
    except CarotError as error:
        raise invalid(error.field or field, error.message) from None
    place = "evaluation.root" if chosen.wants("root") else field
    for row in {row.dataset: row for row in rows}.values():
        contents = _contents(session, project, row.dataset, place, root)
        _check_row_classes(row, _without(spec, contents.classes), training.classes, place)


def _check_row_classes(
    row: EvaluationDataset, found: tuple[str, ...], wanted: tuple[str, ...], field: str
) -> None:
    if not row.restrict or not found or not wanted:
        _check_same_classes(found, wanted, field, "those of dataset")
        return
    try:
        label_space(found, wanted, members=None, restrict=True, name=row.name, field=field)
    except CarotError as error:
        raise Problem(
            422, "class_mismatch", f"{field}: {error.message}", errors=[(field, error.message)]
        ) from None


def _check_same_classes(
    found: tuple[str, ...], wanted: tuple[str, ...], field: str, whose: str
) -> None:
    if found == wanted or not found or not wanted:
        return
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    parts = [f"lacks {', '.join(missing[:10])}"] * bool(missing)
    parts += [f"has {', '.join(extra[:10])} besides"] * bool(extra)
    how = " and ".join(parts) or "lists them in another order"
    message = f"its classes differ from {whose}: it {how}"
    raise Problem(422, "class_mismatch", f"{field}: {message}", errors=[(field, message)])
