"""What a user of the library calls: load, fit, evaluate, predict. `import carot` hands these on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from carot.answers.answering import Answering
from carot.answers.schemas import Answer, Asked, NotAnswered
from carot.calibration.calibrators.calibrator import Calibrator
from carot.calibration.calibrators.calibrator import from_json as calibrator_from_json
from carot.calibration.calibrators.domain_temperature import fit_domain_temperature
from carot.calibration.calibrators.ensemble_temperature import fit_ensemble_temperature
from carot.calibration.calibrators.isotonic import fit_isotonic
from carot.calibration.calibrators.perturbed_temperature import fit_perturbed_temperature
from carot.calibration.calibrators.smoothed_temperature import fit_smoothed_temperature
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.calibrators.top_versus_all import fit_top_versus_all
from carot.calibration.calibrators.vector import fit_vector
from carot.calibration.metrics.chance_level import chance_level
from carot.calibration.metrics.metrics import compute_metrics, expected_calibration_error, top_label
from carot.calibration.metrics.numbers import Metrics
from carot.calibration.metrics.reliability import reliability
from carot.calibration.metrics.smooth_ece import smooth_ece
from carot.calibration.sets.calibration_evidence import fit_calibration_evidence
from carot.calibration.sets.conformal import fit_conformal
from carot.calibration.sets.risk import fit_risk
from carot.data.decoding.depth import Depth
from carot.data.decoding.images import decode_image, to_rgb
from carot.errors import SpecError
from carot.events import Reporter, Silent
from carot.models.adapter_file import with_adapters
from carot.models.classifier import Classifier, pick_device
from carot.models.clip import ClipModel
from carot.models.clip import load_model as _load_model
from carot.run import Predicted, RunResult, never
from carot.run import execute as _execute
from carot.specs import AnySpec, FinetuneSpec
from carot.specs.parsing import parse_model, parse_spec
from carot.specs.runs import as_evaluation

__all__ = [
    "Answer",
    "Asked",
    "Calibrator",
    "Classifier",
    "ClipModel",
    "Metrics",
    "NotAnswered",
    "Predicted",
    "RunResult",
    "calibrator_from_json",
    "chance_level",
    "compute_metrics",
    "evaluate",
    "execute",
    "expected_calibration_error",
    "fit",
    "fit_calibration_evidence",
    "fit_conformal",
    "fit_domain_temperature",
    "fit_ensemble_temperature",
    "fit_isotonic",
    "fit_perturbed_temperature",
    "fit_risk",
    "fit_smoothed_temperature",
    "fit_temperature",
    "fit_top_versus_all",
    "fit_vector",
    "load_model",
    "predict",
    "reliability",
    "smooth_ece",
    "top_label",
    "with_adapters",
]

SpecLike = AnySpec | Mapping[str, Any]
"""A spec, or the document of one as a job's body over HTTP has it."""
BATCH = 64
"""Images in one pass of the model."""


def load_model(
    architecture: str | Path, pretrained: str | None = None, *, device: str = "auto"
) -> ClipModel:
    """A CLIP model, in float32 and evaluation mode.

    Args:
        architecture: an open_clip name with `pretrained`, the tag of its weights; `carot-mini`,
            which comes with the package; or a folder in open_clip's layout, as a `Path`.
        device: `auto` is a GPU where there is one.

    Raises:
        SpecError: it is none of these.
        ModelError: the model cannot be loaded.
    """
    if isinstance(architecture, Path):
        document = {"folder": str(architecture), "pretrained": pretrained}
    else:
        document = {"architecture": architecture, "pretrained": pretrained}
    return _load_model(parse_model(document), pick_device(device))


def fit(
    spec: SpecLike,
    folder: Path | str,
    *,
    reporter: Reporter | None = None,
    should_stop: Callable[[], bool] = never,
) -> RunResult:
    """Fine-tune, evaluate, calibrate; `folder` gets `checkpoint/`, `report.json` and `logits/`.

    Called again with the same folder after a stop it goes on from the last snapshot.

    Raises:
        SpecError: no spec of a fine-tuning.
        CarotError: the data, the model or the run is at fault; see `carot.errors`.
        Interrupted: `should_stop` said so.
    """
    parsed = _parsed(spec)
    if not isinstance(parsed, FinetuneSpec):
        raise SpecError(f"`fit` takes a fine-tuning, not {parsed.kind!r}", field="kind")
    return _execute(parsed, Path(folder), reporter or Silent(), should_stop=should_stop)


def evaluate(
    spec: SpecLike,
    folder: Path | str,
    *,
    reporter: Reporter | None = None,
    should_stop: Callable[[], bool] = never,
) -> RunResult:
    """Measure and calibrate a model; the spec of a fine-tuning says enough.

    Raises:
        SpecError: no spec of an evaluation.
        CarotError, Interrupted: as for `fit`.
    """
    parsed = as_evaluation(_parsed(spec))
    return _execute(parsed, Path(folder), reporter or Silent(), should_stop=should_stop)


def execute(
    spec: SpecLike,
    folder: Path | str,
    *,
    reporter: Reporter | None = None,
    should_stop: Callable[[], bool] = never,
) -> RunResult | Predicted:
    """Do what a spec of any kind says: also interpolate, merge, select, predict a data set.

    Raises:
        SpecError: no spec.
        CarotError, Interrupted: as for `fit`.
    """
    return _execute(_parsed(spec), Path(folder), reporter or Silent(), should_stop=should_stop)


def predict(
    images: Sequence[Image.Image | Path | str],
    checkpoint: Classifier | Path | str,
    asked: Asked | None = None,
) -> list[Answer | NotAnswered]:
    """Answers with calibrated confidence, as `/predict` of the service gives them.

    Args:
        images: RGB images, or paths of encoded ones.
        checkpoint: a checkpoint folder, or the classifier loaded from one.
        asked: coverage, risk, limits; by default those of the service.

    Raises:
        UnreadableImage: a path holds no image.
        CheckpointError, ModelError: the checkpoint cannot be loaded.
        CalibrationError: what is asked for cannot be guaranteed.
    """
    classifier = checkpoint
    if not isinstance(classifier, Classifier):
        classifier = Classifier.load(Path(classifier))
    answering, answers = Answering.of(classifier), list[Answer | NotAnswered]()
    for start in range(0, len(images), BATCH):
        batch = [_rgb(image, classifier.card.depth) for image in images[start : start + BATCH]]
        inputs_NCHW = torch.stack([classifier.preprocess(image) for image in batch])
        logits_NC, features_ND = classifier.outputs_of(inputs_NCHW)
        scored = list(zip(logits_NC.numpy(), features_ND.numpy(), strict=True))
        answers += answering.answers(scored, asked)
    return answers


def _parsed(spec: SpecLike) -> AnySpec:
    return parse_spec(spec) if isinstance(spec, Mapping) else spec


def _rgb(image: Image.Image | Path | str, depth: Depth) -> Image.Image:
    if isinstance(image, Image.Image):
        return to_rgb(image, depth)
    return decode_image(Path(image), str(image), depth)
