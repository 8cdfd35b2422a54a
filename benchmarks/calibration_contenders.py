"""Who measures ECE and who fits a temperature, ours and others', each from the same logits.

Others get what they are made for: logits where they take them, else probabilities, whose softmax
then counts as theirs. Shape suffixes: N images, C classes.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.metrics.metrics import expected_calibration_error

BINS = 15
BATCH = 512


@dataclass(frozen=True)
class Data:
    """float32 logits (N, C) and int64 labels (N)."""

    logits_NC: np.ndarray[Any, np.dtype[np.float32]]
    labels_N: np.ndarray[Any, np.dtype[np.int64]]

    def part(self, images: int) -> Data:
        return Data(self.logits_NC[:images], self.labels_N[:images])

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(self.logits_NC), torch.from_numpy(self.labels_N)


@dataclass(frozen=True)
class Contender:
    """`measure` gives the ECE or the temperature; None says why the library has no such thing."""

    task: str
    name: str
    measure: Callable[[Data], float] | None
    reason: str = ""

    @property
    def key(self) -> str:
        return f"{self.task}:{self.name}"

    def run(self, data: Data) -> float:
        assert self.measure is not None
        # Some print what they do.
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return float(self.measure(data))

    def missing(self) -> str | None:
        """Why it cannot be measured here; None where it can."""
        if self.measure is None:
            return self.reason
        logits_NC = np.eye(3, dtype=np.float32).repeat(4, axis=0)
        try:
            self.run(Data(logits_NC, np.array([0, 1, 2] * 4)))
        except ImportError as error:
            return f"not installed: {error}"
        return None


def our_ece(data: Data) -> float:
    return expected_calibration_error(*data.tensors())


def torchmetrics_streamed(data: Data) -> float:
    from torchmetrics.classification import MulticlassCalibrationError

    logits_NC, labels_N = data.tensors()
    metric = MulticlassCalibrationError(logits_NC.shape[1], n_bins=BINS, validate_args=False)
    for start in range(0, len(labels_N), BATCH):
        metric.update(logits_NC[start : start + BATCH], labels_N[start : start + BATCH])
    return float(metric.compute())


def torchmetrics_at_once(data: Data) -> float:
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits_NC, labels_N = data.tensors()
    classes = logits_NC.shape[1]
    return float(
        multiclass_calibration_error(logits_NC, labels_N, classes, BINS, validate_args=False)
    )


def netcal_ece(data: Data) -> float:
    from netcal.metrics import ECE

    probabilities_NC = torch.from_numpy(data.logits_NC).softmax(dim=1).numpy()
    return float(ECE(BINS).measure(probabilities_NC, data.labels_N))


def probmetrics_ece(data: Data) -> float:
    from probmetrics.metrics import Metrics

    logits_NC, labels_N = data.tensors()
    found = Metrics.from_names(["ece-15"]).compute_all_from_labels_logits(labels_N, logits_NC)
    return float(found["ece-15"])


def our_temperature(data: Data) -> float:
    return fit_temperature(*data.tensors()).temperature


def sklearn_temperature(data: Data) -> float:
    # The fit alone, without the estimator that the public class wraps around it.
    from sklearn.calibration import _TemperatureScaling

    return 1 / float(_TemperatureScaling().fit(data.logits_NC, data.labels_N).beta_)


def probmetrics_temperature(data: Data) -> float:
    from probmetrics.calibrators import TemperatureScalingCalibrator
    from probmetrics.distributions import CategoricalLogits

    logits_NC, labels_N = data.tensors()
    calibrator = TemperatureScalingCalibrator()
    calibrator.fit_torch(CategoricalLogits(logits_NC), labels_N)
    return 1 / float(calibrator.invtemp_)


def netcal_temperature(data: Data) -> float:
    from netcal.scaling import TemperatureScaling

    # In float32 it leaves its start where it is.
    probabilities_NC = torch.from_numpy(data.logits_NC).double().softmax(dim=1).numpy()
    model = TemperatureScaling()
    model.fit(probabilities_NC, data.labels_N)
    return 1 / float(np.squeeze(model.weights))


CONTENDERS = (
    Contender("ece", "carot", our_ece),
    Contender("ece", f"torchmetrics, batches of {BATCH}", torchmetrics_streamed),
    Contender("ece", "torchmetrics, at once", torchmetrics_at_once),
    Contender("ece", "netcal, from probabilities", netcal_ece),
    Contender("ece", "probmetrics", probmetrics_ece),
    Contender("ece", "scikit-learn", None, "has no ECE"),
    Contender("temperature", "carot", our_temperature),
    Contender("temperature", "scikit-learn", sklearn_temperature),
    Contender("temperature", "probmetrics, bisection", probmetrics_temperature),
    Contender("temperature", "netcal, from float64 probabilities", netcal_temperature),
    Contender("temperature", "torchmetrics", None, "fits nothing"),
)
