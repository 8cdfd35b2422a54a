"""Vector scaling for few classes: a scale and an offset per class, drawn towards one temperature.

p = softmax(u (1 + s) + b) with u the logits − their mean over the classes, over the best single
temperature (Guo et al. 2017 without the shrinkage). Found is the minimum of

    mean negative log-likelihood + λ / 2N (‖s‖² + ‖b‖²)

which is convex: what N images say weighs against normal priors of variance 1/λ, so that classes
with few images stay near the common temperature. Newton's method with the full matrix of 2C
unknowns.

A class with fewer than `LEAST_OF_CLASS` images takes no part: were it one of the classes that the
others' images are told from, its absence among the labels would raise all others above it. It has
the common temperature and no offset; those of the others sum to 0, so that on the whole they are
where they were beside it. Shape suffixes: N images, C classes, S of them seen, P = 2S parameters.
"""

from __future__ import annotations

from typing import NamedTuple, Unpack

import torch
from torch import Tensor

from carot.calibration.calibrators.by_class import LEAST_OF_CLASS
from carot.calibration.calibrators.calibrator import VectorCalibrator
from carot.calibration.calibrators.origin import Origin, origin_fields
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.metrics.inputs import check, chunks
from carot.calibration.metrics.likelihood import negative_log_likelihood
from carot.errors import CalibrationError

SHRINKAGE = 1.0
MOST_CLASSES = 100
MAX_ITERATIONS = 100
DECREMENT = 1e-14
"""Twice the fall that the quadratic model still predicts at the end, in nats."""


@torch.no_grad()
def fit_vector(
    logits_NC: Tensor,
    labels_N: Tensor,
    *,
    shrinkage: float = SHRINKAGE,
    **origin: Unpack[Origin],
) -> VectorCalibrator:
    """The scales and offsets; those of a class that hardly occurs stay with the others.

    Args:
        shrinkage: λ, above 0; the larger, the nearer to one temperature.

    Raises:
        CalibrationError: more than `MOST_CLASSES` classes, a shrinkage of 0 or below; empty,
            misshapen or non-finite input, labels out of range.
    """
    check(logits_NC, labels_N)
    images, classes = logits_NC.shape
    if classes > MOST_CLASSES:
        raise CalibrationError(
            f"vector scaling is for at most {MOST_CLASSES} classes, not {classes}: "
            f"use a temperature"
        )
    if not shrinkage > 0:
        raise CalibrationError("the shrinkage must be above 0", field="shrinkage")
    seen_C = torch.bincount(labels_N.long(), minlength=classes) >= LEAST_OF_CLASS
    plain = fit_temperature(logits_NC, labels_N)
    scale_C = torch.zeros(classes, dtype=torch.float64, device=logits_NC.device)
    offset_C, converged = torch.zeros_like(scale_C), True
    # Of a single class nothing can be told from another.
    if int(seen_C.sum()) >= 2:
        rows_n, place_C = seen_C[labels_N.long()], seen_C.cumsum(0) - 1
        problem = _Problem(
            logits_NC[rows_n][:, seen_C],
            place_C[labels_N[rows_n].long()],
            plain.temperature,
            shrinkage / int(rows_n.sum()),
        )
        parameters_P, converged = _minimise(problem, 2 * int(seen_C.sum()))
        scale_C[seen_C], offset_C[seen_C] = parameters_P.chunk(2)
    whole = bool(seen_C.all()) or int(seen_C.sum()) < 2
    fitted = VectorCalibrator(
        shrinkage=shrinkage,
        scales=tuple(((1 + scale_C) / plain.temperature).tolist()),
        offsets=tuple(offset_C.tolist()),
        seen=None if whole else tuple(seen_C.tolist()),
        n=images,
        nll_before=plain.nll_before,
        nll_after=0.0,
        converged=plain.converged and converged,
        at_bound=plain.at_bound,
        **origin_fields(origin),
    )
    after = float(negative_log_likelihood(fitted, logits_NC, labels_N).mean())
    return fitted.model_copy(update={"nll_after": after})


class _Problem(NamedTuple):
    """The penalised likelihood of the classes that were seen; `weight` is λ / N."""

    logits_NC: Tensor
    labels_N: Tensor
    temperature: float
    weight: float

    def value(self, parameters_P: Tensor) -> float:
        scale_C, offset_C = parameters_P.chunk(2)
        loss = 0.0
        for chunk_NC, chunk_N in chunks(self.logits_NC, self.labels_N):
            log_NC = (self._centred(chunk_NC) * (1 + scale_C) + offset_C).log_softmax(dim=1)
            loss -= float(log_NC.gather(1, chunk_N[:, None]).sum())
        penalty = self.weight / 2 * float(parameters_P.square().sum())
        return loss / len(self.labels_N) + penalty

    def derivatives(self, parameters_P: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (P) and Hessian (P, P)."""
        scale_C, offset_C = parameters_P.chunk(2)
        gradient_P = torch.zeros_like(parameters_P)
        hessian_PP = torch.diag(gradient_P)
        for chunk_NC, chunk_N in chunks(self.logits_NC, self.labels_N):
            u_NC = self._centred(chunk_NC)
            p_NC = (u_NC * (1 + scale_C) + offset_C).softmax(dim=1)
            # A logit's derivatives by its class' scale and offset are u and 1.
            both_NP = torch.cat((p_NC * u_NC, p_NC), dim=1)
            hessian_PP -= both_NP.t() @ both_NP
            cross_C = (p_NC * u_NC).sum(dim=0)
            square_C, sum_C = (p_NC * u_NC.square()).sum(dim=0), p_NC.sum(dim=0)
            hessian_PP += torch.cat(
                (
                    torch.cat((square_C.diag(), cross_C.diag()), dim=1),
                    torch.cat((cross_C.diag(), sum_C.diag()), dim=1),
                )
            )
            p_NC[torch.arange(len(chunk_N), device=chunk_N.device), chunk_N] -= 1.0
            gradient_P += torch.cat(((p_NC * u_NC).sum(dim=0), p_NC.sum(dim=0)))
        images = len(self.labels_N)
        hessian_PP = hessian_PP / images
        hessian_PP.diagonal().add_(self.weight)
        return gradient_P / images + self.weight * parameters_P, hessian_PP

    def _centred(self, logits_NC: Tensor) -> Tensor:
        return (logits_NC - logits_NC.mean(dim=1, keepdim=True)) / self.temperature


def _minimise(problem: _Problem, parameters: int) -> tuple[Tensor, bool]:
    """Newton's method, each step halved until the value falls as predicted."""
    like = problem.logits_NC
    at_P = torch.zeros(parameters, dtype=torch.float64, device=like.device)
    value = problem.value(at_P)
    for _ in range(MAX_ITERATIONS):
        gradient_P, hessian_PP = problem.derivatives(at_P)
        step_P = -torch.linalg.solve(hessian_PP, gradient_P)
        fall = float(gradient_P @ step_P)
        if -fall <= DECREMENT:
            return at_P, True
        size = 1.0
        while size > 1e-12 and problem.value(at_P + size * step_P) > value + 1e-4 * size * fall:
            size /= 2
        if size <= 1e-12:
            # Rounding hides what is left to gain.
            return at_P, -fall <= 1e-9
        at_P = at_P + size * step_P
        value = problem.value(at_P)
    return at_P, False
