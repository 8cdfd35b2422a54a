"""What can be known about a job before a worker spends time on it. Needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy.orm import Session

from api.architectures import architectures, similar, weights
from api.context import ID
from api.problems import Problem, invalid
from carot.data.splits import SPLITS
from carot.specs import EvaluateSpec, FinetuneSpec, ModelSpec
from store.checkpoints import get_checkpoint
from store.datasets import get_dataset
from store.errors import NotBeneathRoot, NotFound
from store.roots import is_path, named_files

DIGITS = "builtin:digits"


@dataclass(frozen=True)
class Contents:
    """What a data set holds, as far as a check needs it; empty where only the run looks at it."""

    classes: tuple[str, ...]
    images: dict[str, int]

    def lacks(self, split: str) -> bool:
        """Whether it is known that a split has no images."""
        return bool(self.images) and not self.images.get(split)


FILES = Contents((), {})


@cache
def bundled_digits() -> Contents:
    """What `builtin:digits` holds."""
    # Imported late: it brings scikit-learn, which no other request needs.
    from carot.data.digits import handwritten_digits

    sources = {split: handwritten_digits(split) for split in SPLITS}
    return Contents(
        tuple(sources["test"].classes), {split: len(source) for split, source in sources.items()}
    )


def check_spec(
    session: Session, spec: FinetuneSpec | EvaluateSpec, root: Path | None = None
) -> None:
    """Refuse a spec that cannot succeed.

    Args:
        root: the folder beneath which files of the server may be named.

    Raises:
        Problem: 422 that names the field.
    """
    _check_text(spec)
    _check_model(session, spec.model)
    contents = _contents(session, spec.dataset, "dataset", root)
    if isinstance(spec, FinetuneSpec):
        _check_training(spec, contents)
    elif spec.model.checkpoint is not None:
        classes = tuple(get_checkpoint(session, spec.model.checkpoint).classes)
        _check_same_classes(contents.classes, classes, "dataset", "the checkpoint's")
    _check_rows(session, spec, contents, root)


def _check_text(spec: FinetuneSpec | EvaluateSpec) -> None:
    """Neither database nor JSON has room for infinities and null characters."""
    try:
        text = json.dumps(spec.model_dump(mode="python"), allow_nan=False, default=str)
    except ValueError as error:
        raise invalid("body", "numbers must be finite") from error
    if "\\u0000" in text:
        raise invalid("body", "text must not contain null characters")


def _check_model(session: Session, model: ModelSpec) -> None:
    if model.folder is not None:
        raise invalid("model.folder", "folders of the server cannot be named over HTTP")
    if model.checkpoint is not None:
        try:
            get_checkpoint(session, model.checkpoint)
        except NotFound:
            raise invalid("model.checkpoint", f"no checkpoint {model.checkpoint}") from None
    if model.architecture is not None:
        known = architectures()
        if model.architecture not in known:
            hint = similar(model.architecture, known)
            raise invalid(
                "model.architecture", f"unknown architecture {model.architecture!r}{hint}"
            )
        tags = weights(model.architecture)
        if model.pretrained is not None and tags is not None and model.pretrained not in tags:
            raise invalid(
                "model.pretrained",
                f"{model.architecture} has no weights {model.pretrained!r}; it has "
                f"{', '.join(sorted(tags)) or 'none'}",
            )


def _contents(session: Session, reference: str, field: str, root: Path | None) -> Contents:
    if reference == DIGITS:
        return bundled_digits()
    if is_path(reference):
        try:
            named_files(root, reference)
        except NotBeneathRoot as error:
            raise invalid(field, str(error)) from None
        return FILES
    if not (reference.startswith("ds_") and ID.fullmatch(reference)):
        raise invalid(field, f"{reference[:80]!r} is no data set: use {DIGITS} or an id (ds_…)")
    try:
        row = get_dataset(session, reference)
    except NotFound:
        raise invalid(field, f"no data set {reference}") from None
    counts = {split: sum(classes.values()) for split, classes in row.splits.items()}
    return Contents(tuple(row.classes), counts)


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
    if spec.training.batch_size > images:
        raise invalid(
            "training.batch_size",
            f"{spec.training.batch_size} is more than the {images} images of the training split",
        )


def _check_rows(
    session: Session, spec: FinetuneSpec | EvaluateSpec, training: Contents, root: Path | None
) -> None:
    for i, row in enumerate(spec.evaluation.datasets or ()):
        field = f"evaluation.datasets.{i}"
        contents = _contents(session, row.dataset, f"{field}.dataset", root)
        if row.shift == "printed" and row.dataset != DIGITS:
            raise invalid(f"{field}.shift", f"`printed` goes with {DIGITS} only")
        if contents.lacks(row.split):
            raise invalid(f"{field}.split", f"{row.dataset} has no images in {row.split!r}")
        _check_same_classes(
            contents.classes, training.classes, f"{field}.dataset", "those of dataset"
        )
    if spec.evaluation.datasets is None and all(map(training.lacks, ("test", "validation"))):
        raise invalid("dataset", "it has neither a test nor a validation split to be evaluated on")


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
