"""One temperature per domain, and the pooled one elsewhere (Yu et al. 2022, arXiv 2206.02757).

Where it is known from which domain an image comes (a camera, a site), its own temperature beats one
for all. Shape suffixes: N images, C classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor

from carot.calibration.calibrators.calibrator import DomainCalibrator
from carot.calibration.calibrators.origin import Origin, origin_fields
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.metrics.inputs import check
from carot.calibration.metrics.likelihood import negative_log_likelihood
from carot.errors import CalibrationError

LEAST_IN_DOMAIN = 100
"""Images that place a temperature to about a tenth of itself."""


@torch.no_grad()
def fit_domain_temperature(
    logits_NC: Tensor,
    labels_N: Tensor,
    domains: Sequence[str],
    *,
    least: int = LEAST_IN_DOMAIN,
    **origin: Unpack[Origin],
) -> DomainCalibrator:
    """The temperature of every domain that has `least` images and determines one, and of all.

    Args:
        domains: of each image.
        least: images below which a domain takes the pooled temperature.

    Raises:
        CalibrationError: not as many domains as images (`field` is `domains`); empty, misshapen or
            non-finite input, labels out of range.
    """
    check(logits_NC, labels_N)
    if len(domains) != len(labels_N):
        message = f"{len(domains)} domains for {len(labels_N)} images"
        raise CalibrationError(message, field="domains")
    pooled = fit_temperature(logits_NC, labels_N)
    temperatures, after, converged = {}, 0.0, pooled.converged
    counts = dict(sorted(Counter(domains).items()))
    for domain, count in counts.items():
        rows_n = torch.tensor([i for i, each in enumerate(domains) if each == domain])
        own_NC, own_N = logits_NC[rows_n], labels_N[rows_n]
        own = fit_temperature(own_NC, own_N) if count >= least else None
        if own is None or own.at_bound:
            after += float(negative_log_likelihood(pooled, own_NC, own_N).sum())
            continue
        temperatures[domain] = own.temperature
        after += own.nll_after * count
        converged = converged and own.converged
    return DomainCalibrator(
        pooled=pooled.temperature,
        temperatures=temperatures,
        counts=counts,
        n=pooled.n,
        nll_before=pooled.nll_before,
        nll_after=after / pooled.n,
        converged=converged,
        at_bound=pooled.at_bound,
        **origin_fields(origin),
    )
