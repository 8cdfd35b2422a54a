"""The models that a job names: are they there, do they go together, what did they start from."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy.orm import Session

from api.jobs.architectures import installed
from api.web.problems import invalid
from carot.models.catalogue import architectures, family, similar, weights
from carot.models.families import terms_left_out, without_attention
from carot.specs import (
    HUB,
    AnySpec,
    CarotMethod,
    FinetuneSpec,
    InterpolateSpec,
    MergeSpec,
    Method,
    ModelSpec,
    ModelStock,
    SelectSpec,
    TracerMethod,
)
from carot.warnings import CodedWarning
from store.errors import Gone, NotFound
from store.jobs.transitions import find
from store.models.checkpoints import get_checkpoint
from store.retention.deletion import keep_there
from store.tables import Checkpoint


def checked_models(session: Session, project: str, spec: AnySpec) -> AnySpec:
    """The spec with the start of its checkpoints named, where that is needed and was left out.

    Raises:
        Problem: 422 that names the field of a model that is unknown or does not go with the others.
    """
    for field, model in _subjects(spec):
        _check_model(session, project, model, field)
    if isinstance(spec, FinetuneSpec):
        _check_method(session, project, spec)
    if not isinstance(spec, InterpolateSpec | MergeSpec | SelectSpec):
        return spec
    _check_checkpoints(spec)
    if isinstance(spec, SelectSpec):
        return spec
    if spec.start is not None:
        _check_model(session, project, spec.start, "start")
    found = named_checkpoints(session, project, spec)
    spec = _with_start(session, project, spec, [row.id for row in found.values()])
    _check_one_architecture(session, project, spec, found)
    return spec


def named_checkpoints(session: Session, project: str, spec: AnySpec) -> dict[str, Checkpoint]:
    """The checkpoints that `model` or `models` name, by their fields."""
    return {
        field: get_checkpoint(session, project, model.checkpoint)
        for field, model in _subjects(spec)
        if model.checkpoint is not None
    }


def _subjects(spec: AnySpec) -> list[tuple[str, ModelSpec]]:
    if isinstance(spec, MergeSpec | SelectSpec):
        return [(f"models.{i}", model) for i, model in enumerate(spec.models)]
    return [("model", spec.model)]


def _check_model(session: Session, project: str, model: ModelSpec, field: str) -> None:
    if model.folder is not None:
        raise invalid(f"{field}.folder", "folders of the server cannot be named over HTTP")
    if model.checkpoint is not None:
        try:
            keep_there(session, get_checkpoint(session, project, model.checkpoint))
        except Gone:
            raise invalid(f"{field}.checkpoint", f"{model.checkpoint} has been deleted") from None
        except NotFound:
            raise invalid(f"{field}.checkpoint", f"no checkpoint {model.checkpoint}") from None
    if model.architecture is not None and not model.architecture.startswith(HUB):
        known = architectures()
        if model.architecture not in known:
            hint = similar(model.architecture, known)
            raise invalid(
                f"{field}.architecture", f"unknown architecture {model.architecture!r}{hint}"
            )
        tags = weights(model.architecture)
        if model.pretrained is not None and tags is not None and model.pretrained not in tags:
            raise invalid(
                f"{field}.pretrained",
                f"{model.architecture} has no weights {model.pretrained!r}; it has "
                f"{', '.join(sorted(tags)) or 'none'}",
            )
        if not installed(model.architecture):
            raise invalid(
                f"{field}.architecture",
                f"{model.architecture} needs the package transformers, which is not installed with "
                "this service: pip install 'carot[hf]'",
            )


def constraint_warnings(architecture: str, method: Method) -> list[CodedWarning]:
    """What can be told of a method's terms before the model is there."""
    if architecture not in architectures() or not isinstance(method, CarotMethod | TracerMethod):
        return []
    found = family(architecture)
    warning = terms_left_out(
        architecture,
        method.orthogonality_weight,
        method.cross_norm_weight,
        image=found.image_map,
        text=found.text_map,
    )
    return [] if warning is None else [warning]


def _check_method(session: Session, project: str, spec: FinetuneSpec) -> None:
    """What the run itself would refuse behind the download."""
    architecture = spec.model.architecture
    if spec.model.checkpoint is not None:
        architecture = get_checkpoint(session, project, spec.model.checkpoint).architecture
    if architecture is None or architecture not in architectures():
        return  # the run will see
    found = family(architecture)
    if spec.method.name == "lipsum_ft" and found.tokenizer is not None:
        raise invalid(
            "method.name",
            f"lipsum_ft draws random tokens of CLIP's own tokenizer, and {architecture} has "
            "another one; choose another method",
        )
    adapters = spec.adapters
    if adapters is not None and "image" in adapters.adapted(spec.method) and not found.attention:
        raise invalid("adapters.towers", without_attention(architecture, "image"))
    training = spec.training
    frozen = training.freeze_batch_norm or adapters is not None
    if found.batch_norm and training.accumulation_steps > 1 and not frozen:
        raise invalid(
            "training.accumulation_steps",
            f"{architecture} normalises over batches, and micro-batches have other statistics than "
            "the batch; set training.freeze_batch_norm to true, or training.accumulation_steps "
            "to 1",
        )


def _check_checkpoints(spec: InterpolateSpec | MergeSpec | SelectSpec) -> None:
    seen: dict[str, str] = {}
    for field, model in _subjects(spec):
        where = f"{field}.checkpoint"
        if model.checkpoint is None:
            raise invalid(where, f"`{spec.kind}` needs checkpoints (ckpt_…), not architectures")
        if model.checkpoint in seen:
            raise invalid(where, f"{model.checkpoint} is already {seen[model.checkpoint]}")
        seen[model.checkpoint] = field


def _check_one_architecture(
    session: Session, project: str, spec: InterpolateSpec | MergeSpec, found: dict[str, Checkpoint]
) -> None:
    """Weights are averaged one by one, so there must be the same ones everywhere."""
    first, *others = ((f"{field}.checkpoint", row.architecture) for field, row in found.items())
    if spec.start is not None:
        started = spec.start.architecture
        if spec.start.checkpoint is not None:
            started = get_checkpoint(session, project, spec.start.checkpoint).architecture
        others.append(("start", str(started)))
    for field, architecture in others:
        if architecture != first[1]:
            raise invalid(
                field,
                f"its architecture is {architecture}, that of {first[0]} is {first[1]}; weights "
                "can only be averaged within one architecture",
            )


def _with_start(
    session: Session, project: str, spec: InterpolateSpec | MergeSpec, checkpoints: Iterable[str]
) -> InterpolateSpec | MergeSpec:
    needed = isinstance(spec, InterpolateSpec) or isinstance(spec.method, ModelStock)
    if spec.start is not None or not needed:
        return spec
    starts = _starts(session, project, checkpoints)
    if len(starts) > 1:
        names = ", ".join(sorted(_name(start) for start in starts))
        raise invalid("start", f"say which: the checkpoints started from several models ({names})")
    return spec.model_copy(update={"start": starts.pop()})


def _starts(session: Session, project: str, checkpoints: Iterable[str]) -> set[ModelSpec]:
    """The models that checkpoints were fine-tuned from; of a soup, those of what went into it."""
    starts: set[ModelSpec] = set()
    waiting = list(checkpoints)
    seen = set(waiting)
    while waiting:
        checkpoint = get_checkpoint(session, project, waiting.pop())
        job = find(session, checkpoint.job_id)
        start = job.spec["model"] if job.kind == "finetune" else job.spec["start"]
        if start is not None:
            starts.add(ModelSpec.model_validate(start))
        else:
            parts = {model["checkpoint"] for model in job.spec["models"]} - seen
            waiting += parts
            seen |= parts
    return starts


def _name(model: ModelSpec) -> str:
    named = (model.checkpoint, model.architecture, model.pretrained)
    return " ".join(part for part in named if part is not None)
