"""The kinds of calibrators by name, and one way of fitting any.

Shape suffixes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Unpack

import torch
from torch import Tensor

from carot.calibration.calibrators.calibrator import AnyCalibrator, Calibrator, DomainCalibrator
from carot.calibration.calibrators.domain_temperature import fit_domain_temperature
from carot.calibration.calibrators.ensemble_temperature import fit_ensemble_temperature
from carot.calibration.calibrators.isotonic import fit_isotonic
from carot.calibration.calibrators.origin import Origin
from carot.calibration.calibrators.perturbed_temperature import fit_perturbed_temperature
from carot.calibration.calibrators.smoothed_temperature import fit_smoothed_temperature
from carot.calibration.calibrators.temperature import fit_temperature
from carot.calibration.calibrators.top_versus_all import fit_top_versus_all
from carot.calibration.calibrators.vector import fit_vector
from carot.calibration.metrics.likelihood import negative_log_likelihood
from carot.errors import CalibrationError


@dataclass(frozen=True)
class Sample:
    """What calibrators are fitted on.

    Attributes:
        logits_NC: finite logits as the classifier serves them.
        labels_N: class indices.
        domains: of each image, which `domain_temperature` needs.
        versions: logits of perturbed versions of the same images, which `perturbed_temperature`
            needs; the clean ones are added to them.
    """

    logits_NC: Tensor
    labels_N: Tensor
    domains: Sequence[str] | None = None
    versions: Sequence[Tensor] = ()

    def take(self, index_n: Tensor) -> Sample:
        """Some of the images."""
        domains = self.domains
        return Sample(
            self.logits_NC[index_n],
            self.labels_N[index_n],
            None if domains is None else [domains[i] for i in index_n.tolist()],
            [logits_NC[index_n] for logits_NC in self.versions],
        )


def _domain(sample: Sample, **origin: Unpack[Origin]) -> DomainCalibrator:
    if sample.domains is None:
        raise CalibrationError("the domain of every image is needed", field="domains")
    return fit_domain_temperature(sample.logits_NC, sample.labels_N, sample.domains, **origin)


def _perturbed(sample: Sample, **origin: Unpack[Origin]) -> AnyCalibrator:
    if not sample.versions:
        raise CalibrationError("logits of perturbed images are needed", field="versions")
    versions = [sample.logits_NC, *sample.versions]
    return fit_perturbed_temperature(versions, sample.labels_N, **origin)


def _plain(fit: Callable[..., AnyCalibrator]) -> Callable[..., AnyCalibrator]:
    def fit_sample(sample: Sample, **origin: Unpack[Origin]) -> AnyCalibrator:
        return fit(sample.logits_NC, sample.labels_N, **origin)

    return fit_sample


FITS: dict[str, Callable[..., AnyCalibrator]] = {
    "temperature": _plain(fit_temperature),
    "smoothed_temperature": _plain(fit_smoothed_temperature),
    "top_versus_all": _plain(fit_top_versus_all),
    "perturbed_temperature": _perturbed,
    "ensemble_temperature": _plain(fit_ensemble_temperature),
    "domain_temperature": _domain,
    "isotonic": _plain(fit_isotonic),
    "vector": _plain(fit_vector),
}
"""From the simplest to the one with most parameters."""


def fit_calibrator(kind: str, sample: Sample, **origin: Unpack[Origin]) -> AnyCalibrator:
    """A calibrator of the kind that is named.

    Raises:
        CalibrationError: no such kind (`field` is `calibrator`), or it cannot be fitted on this.
    """
    if kind not in FITS:
        message = f"no calibrator {kind!r}; there are {', '.join(FITS)}"
        raise CalibrationError(message, field="calibrator")
    return FITS[kind](sample, **origin)


def sample_likelihood(calibrator: Calibrator, sample: Sample) -> Tensor:
    """Negative log-likelihood of each label, float64, (N), with the images' domains if known."""
    if not isinstance(calibrator, DomainCalibrator) or sample.domains is None:
        return negative_log_likelihood(calibrator, sample.logits_NC, sample.labels_N)
    log_NC = calibrator.log_probabilities(sample.logits_NC, sample.domains)
    return -log_NC.gather(1, sample.labels_N.long()[:, None]).squeeze(1)


def fold_of(labels_N: Tensor, folds: int) -> Tensor:
    """The fold of each image: equal parts, drawn at random, the same for equal labels.

    The images of a class with fewer than two for each fold are spread evenly, so that all others
    are left to fit by where one is held out. Those of larger classes are not: folds with the same
    share of every class would hide what it costs to know the shares no better than this.
    """
    images = len(labels_N)
    order_N = torch.randperm(images, generator=torch.Generator().manual_seed(0))
    label_N = labels_N.long().cpu()[order_N]
    few_N = torch.bincount(label_N)[label_N] < 2 * folds
    by_class_N = torch.where(few_N, label_N, images + int(label_N.max())).argsort(stable=True)
    fold_N = torch.empty(images, dtype=torch.int64)
    fold_N[order_N[by_class_N]] = torch.arange(images) % folds
    return fold_N
