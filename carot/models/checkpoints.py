"""Checkpoint folders: open_clip's own layout, with what the classifier needs beside it.

open_clip_config.json         open_clip's model and preprocessing configuration
open_clip_model.safetensors   the towers, so that plain open_clip loads the folder
tokenizer.json, …             a tokenizer of Hugging Face's, where the model has one
config.json                   the configuration of a text tower of Hugging Face's, where it has one
head.safetensors              class weights (C, D): prototypes times the logit scale
adapters.safetensors          what trained, where it was adapters: see `carot.models.adapter_file`
classifier.json               classes, templates, method, logit scale
calibrator.json               how logits become confidences, when one was fitted
calibrators.json              every calibrator that was fitted, by kind
grounds.json                  the evidence, see `carot.calibration.sets.calibration_evidence`
shift_score.safetensors       how far from the calibration images an image lies
unseen_score.safetensors      how little it looks like the classes, where unseen ones were measured
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import load_file
from torch import Tensor

from carot import tensor_files
from carot.atomic_write import atomic_folder
from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.calibrator import from_json
from carot.calibration.sets.calibration_evidence import CalibrationEvidence
from carot.calibration.sets.shift_score import ShiftScore
from carot.calibration.sets.unseen_score import UnseenScore
from carot.data.decoding.depth import UNKNOWN, Depth
from carot.errors import CalibrationError, CheckpointError
from carot.models.adapter_file import Adapters
from carot.models.clip import CONFIG_NAME, WEIGHTS_NAME, ClipModel
from carot.models.hugging_face import save_text_config
from carot.specs import ModelSpec

HEAD_NAME = "head.safetensors"
CLASSIFIER_NAME = "classifier.json"
CALIBRATOR_NAME = "calibrator.json"
CALIBRATORS_NAME = "calibrators.json"
EVIDENCE_NAME = "grounds.json"
SHIFT_SCORE_NAME = "shift_score.safetensors"
UNSEEN_SCORE_NAME = "unseen_score.safetensors"

T = TypeVar("T")


class ClassifierCard(BaseModel):
    """What a checkpoint's head means.

    `caption_names` are the classes as captions spell them; `head` says whether the head was made
    from the text tower (`text`) or trained (`trained`). `start` is the model that training started
    from, where it has a name that holds on every machine. `depth` is how training read images of
    more than eight bits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    architecture: str
    method: str
    classes: tuple[str, ...]
    caption_names: tuple[str, ...]
    templates: tuple[str, ...]
    logit_scale: float
    head: str
    start: ModelSpec | None = None
    depth: Depth = UNKNOWN


def save_checkpoint(
    folder: Path,
    model: ClipModel,
    head_CD: Tensor,
    card: ClassifierCard,
    calibration: Calibration | None,
    adapters: Adapters | None = None,
) -> None:
    """Write a checkpoint, whole or not at all.

    Args:
        model: without adapters; what they make is in its weights.
        adapters: what they were, for a file beside.

    Raises:
        NoSpace: the disk is full.
        ModelError: the model's tokenizer cannot be written down.
    """
    config = {
        "architecture": model.architecture,
        "model_cfg": model.model_cfg,
        "preprocess_cfg": model.preprocess_cfg,
    }
    with atomic_folder(folder) as temporary:
        (temporary / CONFIG_NAME).write_text(json.dumps(config, indent=2), encoding="utf-8")
        model.tokenize.save(temporary)
        save_text_config(model.module, temporary)
        tensor_files.write(unshared(model.module.state_dict()), temporary / WEIGHTS_NAME)
        tensor_files.write(unshared({"weight": head_CD}), temporary / HEAD_NAME)
        (temporary / CLASSIFIER_NAME).write_text(card.model_dump_json(indent=2), encoding="utf-8")
        if adapters is not None:
            trained_CD = head_CD if card.head == "trained" else None
            adapters.save(temporary, model.module, trained_CD)
        if calibration is not None:
            _save_calibration(temporary, calibration)


def load_card(folder: Path) -> ClassifierCard:
    """The classifier card of a checkpoint folder.

    Raises:
        CheckpointError: there is none, or it is of another version.
    """
    try:
        text = (folder / CLASSIFIER_NAME).read_text(encoding="utf-8")
        return ClassifierCard.model_validate_json(text)
    except FileNotFoundError as error:
        raise CheckpointError(f"{folder.name}: no {CLASSIFIER_NAME} in it") from error
    except ValidationError as error:
        raise CheckpointError(f"{folder.name}: {CLASSIFIER_NAME}: {error}") from error


def load_head(folder: Path, card: ClassifierCard) -> Tensor:
    """The head of a checkpoint folder, shape (C, D).

    Raises:
        CheckpointError: it is missing, torn, or does not have one row for each class.
    """
    try:
        weight_CD = load_file(folder / HEAD_NAME)["weight"]
    except Exception as error:
        raise CheckpointError(f"{folder.name}: {HEAD_NAME} cannot be read: {error}") from error
    if weight_CD.ndim != 2 or weight_CD.shape[0] != len(card.classes):
        raise CheckpointError(
            f"{folder.name}: {HEAD_NAME} has shape {tuple(weight_CD.shape)} "
            f"for {len(card.classes)} classes"
        )
    return weight_CD


def load_calibration(folder: Path) -> Calibration | None:
    """What a checkpoint folder's calibration split taught, or None when there was none.

    Raises:
        CheckpointError: a file is there but cannot be read.
    """
    calibrator = _read(folder, CALIBRATOR_NAME, lambda data: from_json(json.loads(data)))
    if calibrator is None:
        return None
    fitted = _read(
        folder,
        CALIBRATORS_NAME,
        lambda data: {each["kind"]: from_json(each) for each in json.loads(data)},
    )
    return Calibration(
        calibrator,
        fitted or {calibrator.kind: calibrator},
        _read(folder, EVIDENCE_NAME, CalibrationEvidence.model_validate_json),
        _read(folder, SHIFT_SCORE_NAME, ShiftScore.from_bytes),
        _read(folder, UNSEEN_SCORE_NAME, UnseenScore.from_bytes),
    )


def _save_calibration(folder: Path, calibration: Calibration) -> None:
    def write(name: str, text: str) -> None:
        (folder / name).write_text(text, encoding="utf-8")

    write(CALIBRATOR_NAME, calibration.calibrator.model_dump_json(indent=2))
    fitted = [each.to_json() for each in calibration.fitted.values()]
    write(CALIBRATORS_NAME, json.dumps(fitted, indent=2))
    if calibration.evidence is not None:
        write(EVIDENCE_NAME, calibration.evidence.model_dump_json())
    if calibration.shift_score is not None:
        (folder / SHIFT_SCORE_NAME).write_bytes(calibration.shift_score.to_bytes())
    if calibration.unseen_score is not None:
        (folder / UNSEEN_SCORE_NAME).write_bytes(calibration.unseen_score.to_bytes())


def _read(folder: Path, name: str, parse: Callable[[bytes], T]) -> T | None:
    path = folder / name
    if not path.exists():
        return None
    try:
        return parse(path.read_bytes())
    except (CalibrationError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder.name}: {name}: {error}") from error


def unshared(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU tensors, copied where two names share memory, as safetensors requires."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        if value.data_ptr() in seen:
            value = value.clone()
        seen.add(value.data_ptr())
        result[name] = value
    return result
