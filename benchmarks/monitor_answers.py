"""Real answers for `benchmarks/monitor.py`: two models on the handwritten digits and their shifts.

`zero_shot` is carot-mini as it ships, `fine_tuned` what `carot demo` trains, both with a
temperature fitted on the calibration split. Shape suffixes: N images, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from torch import Tensor

import cli
from benchmarks.shift_runs import HEAD, Run
from benchmarks.shift_suite import ID, SEVERITIES, START, Images, Suite, run, suite
from carot.calibration.calibrators.calibrator import TemperatureCalibrator
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.monitoring.live import LiveAccuracy, Watched, live_accuracy
from carot.models.clip import load_model
from carot.specs.presets import preset

ZERO_SHOT, FINE_TUNED = "zero_shot", "fine_tuned"


@dataclass(frozen=True)
class Answers:
    """A model's answers on one set.

    Attributes:
        logits_NC: raw.
        labels_N: true classes.
        confidence_N, correct_N: of the top class, over the temperature; whether it is right.
    """

    logits_NC: Tensor
    labels_N: Tensor
    confidence_N: NDArray[np.float64]
    correct_N: NDArray[np.bool_]

    @classmethod
    def of(cls, logits_NC: Tensor, labels_N: Tensor, calibrator: TemperatureCalibrator) -> Answers:
        """Raw logits, with their confidences worked out."""
        top_N = calibrator.probabilities(logits_NC).max(dim=1)
        correct_N = top_N.indices == labels_N
        return cls(logits_NC, labels_N, top_N.values.clamp(max=1.0).numpy(), correct_N.numpy())

    def part(self, rows: slice) -> Answers:
        """Some of the images."""
        return Answers(
            self.logits_NC[rows],
            self.labels_N[rows],
            self.confidence_N[rows],
            self.correct_N[rows],
        )

    def measured(self) -> LiveAccuracy:
        """Accuracy and calibration error of these very images."""
        ones_N = np.ones(len(self.confidence_N))
        return live_accuracy(
            Watched(
                self.confidence_N,
                self.confidence_N,
                ones_N,
                self.correct_N.astype(np.int8),
                ones_N,
            )
        )


@dataclass(frozen=True)
class Model:
    """A model's answers everywhere.

    Attributes:
        calibrator: its temperature, from the calibration split.
        calibration: on the split that the temperature was fitted to.
        sets: by name: `test`, and each shift at severities 1, 3 and 5 together.
    """

    calibrator: TemperatureCalibrator
    calibration: Answers
    sets: dict[str, Answers]

    def rows(self) -> dict[str, Answers]:
        """`test`, and each shift at each severity by itself."""
        found = {ID: self.sets[ID]}
        for shift, answers in self.sets.items():
            if shift != ID:
                size = len(answers.labels_N) // len(SEVERITIES)
                for place, severity in enumerate(SEVERITIES):
                    rows = slice(place * size, (place + 1) * size)
                    found[f"{shift}-{severity}"] = answers.part(rows)
        return found


def model_answers(name: str, folder: Path, limit: int | None) -> Model:
    """The answers of one of the two models; training is done once and kept in `folder`."""
    sets = suite(limit)
    model, head_CD = sets.model, sets.text_head(sets.model)
    if name == FINE_TUNED:
        folder.mkdir(parents=True, exist_ok=True)
        trained = demo_run(limit)
        trained.execute(folder)
        weights = trained.weights(folder)
        head_CD = weights.pop(HEAD)
        model = load_model(START)
        model.module.load_state_dict(weights)
    return _answers(sets, lambda images: run(model, head_CD, images)[0])


def demo_run(limit: int | None) -> Run:
    """What `carot demo` trains."""
    text = (Path(cli.__file__).parent / "demo.yaml").read_text(encoding="utf-8")
    spec: dict[str, Any] = yaml.safe_load(text)
    training = spec["training"]
    method = dict(preset(spec["preset"])["method"])
    epochs = training["epochs"] if limit is None else 1
    return Run("demo", method, epochs, training["learning_rate"], training["seed"], images=limit)


def _answers(sets: Suite, logits_of: Callable[[Images], Tensor]) -> Model:
    def answers(images: Images) -> Answers:
        return Answers.of(logits_of(images), images.labels_N, calibrator)

    logits_NC = logits_of(sets.calibration)
    calibrator = fit_temperature(logits_NC, sets.calibration.labels_N)
    named = {ID: sets.test, **sets.shifted}
    return Model(
        calibrator,
        answers(sets.calibration),
        {name: answers(images) for name, images in named.items()},
    )


def standard_error(share: float, count: int) -> float:
    """Of a share of independent trials."""
    return math.sqrt(share * (1 - share) / count)
