"""Negative log-likelihood of labels, in nats. Shape suffixes: N images, C classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from carot.calibration.metrics.inputs import slices


class Calibrated(Protocol):
    """What a calibrator is to its figures."""

    def log_probabilities(self, logits_NC: Tensor) -> Tensor:
        """Natural logarithms of the probabilities, float64."""


@torch.no_grad()
def negative_log_likelihood(calibrator: Calibrated, logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    """Of each label under the calibrated probabilities, float64, shape (N).

    Computed from logarithms: a probability that is too small for a float64 does no harm.
    """
    return _each(calibrator.log_probabilities, logits_NC, labels_N)


@torch.no_grad()
def raw_negative_log_likelihood(logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    """The same of softmax(z)."""
    return _each(lambda chunk_NC: chunk_NC.log_softmax(dim=1), logits_NC, labels_N)


def _each(log: Callable[[Tensor], Tensor], logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    # Filled in place: small results kept between large ones would hold on to the memory of both.
    nll_N = torch.empty(len(labels_N), dtype=torch.float64, device=logits_NC.device)
    for part in slices(logits_NC):
        log_NC = log(logits_NC[part].double())
        nll_N[part] = -log_NC.gather(1, labels_N[part].long()[:, None]).squeeze(1)
    return nll_N
