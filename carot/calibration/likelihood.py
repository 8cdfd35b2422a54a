"""Negative log-likelihood of labels, in nats. Shape suffixes: N images, C classes."""

from __future__ import annotations

import torch
from torch import Tensor

from carot.calibration.calibrator import Calibrator
from carot.calibration.inputs import chunks


@torch.no_grad()
def negative_log_likelihood(calibrator: Calibrator, logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    """Of each label under the calibrated probabilities, float64, shape (N).

    Computed from logarithms: a probability that is too small for a float64 does no harm.
    """
    parts = [
        -calibrator.log_probabilities(chunk_NC).gather(1, chunk_N[:, None]).squeeze(1)
        for chunk_NC, chunk_N in chunks(logits_NC, labels_N)
    ]
    return torch.cat(parts)


@torch.no_grad()
def raw_negative_log_likelihood(logits_NC: Tensor, labels_N: Tensor) -> Tensor:
    """The same of softmax(z)."""
    parts = [
        -chunk_NC.log_softmax(dim=1).gather(1, chunk_N[:, None]).squeeze(1)
        for chunk_NC, chunk_N in chunks(logits_NC, labels_N)
    ]
    return torch.cat(parts)
