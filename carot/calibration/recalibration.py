"""A stand-in until the branch `monitor` brings the real one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from carot.calibration.calibrator import AnyCalibrator
from carot.calibration.fitting import Sample, fit_calibrator
from carot.calibration.intervals import Interval
from carot.calibration.numbers import Numbers
from carot.errors import CalibrationError


class Recalibration(Numbers):
    calibrator: AnyCalibrator
    n_fit: int
    n_held_out: int
    nll_current: float
    nll_new: float
    difference: float
    interval: Interval
    improves: bool


def recalibrate(
    logits_NC: Tensor,
    labels_N: Tensor,
    current: AnyCalibrator | None,
    kind: str,
    *,
    classes: Sequence[str],
    logit_scale: float,
    seed: int = 0,
) -> Recalibration:
    n = len(labels_N)
    if n < 40:
        raise CalibrationError(f"{n} labels are too few", field="labels")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    fit, held = order[: n // 2], order[n // 2 :]
    new = fit_calibrator(
        kind,
        Sample(logits_NC[fit], labels_N[fit]),
        classes=classes,
        split="labels",
        logit_scale=logit_scale,
    )

    def nll(calibrator: AnyCalibrator | None) -> Tensor:
        z = logits_NC[held].double()
        logp = z.log_softmax(1) if calibrator is None else calibrator.log_probabilities(z)
        return -logp[torch.arange(len(held)), labels_N[held]]

    d = nll(new) - nll(current)
    se = float(d.std() / len(held) ** 0.5)
    m = float(d.mean())
    return Recalibration(
        calibrator=new,
        n_fit=len(fit),
        n_held_out=len(held),
        nll_current=float(nll(current).mean()),
        nll_new=float(nll(new).mean()),
        difference=m,
        interval=(m - 1.96 * se, m + 1.96 * se),
        improves=m < 0,
    )
