"""Prediction sets whose threshold follows the labels of a model; see `online_coverage`. N, C."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from carot.answers.guarantees import Guaranteed, percent
from carot.answers.schemas import Asked, SetMethod
from carot.calibration.monitoring.online_coverage import OnlineCoverage
from carot.calibration.sets.conformal import RULES
from carot.calibration.sets.conformal_scores import conformal_scores, within
from carot.errors import CalibrationError


@dataclass(frozen=True)
class OnlineSets:
    """All classes that score the threshold at most by `lac`; the top class always does."""

    state: OnlineCoverage
    method: SetMethod = "online"

    @property
    def n(self) -> int:
        """Labels that the threshold has followed."""
        return self.state.labels

    def threshold(self, coverage: float) -> float:
        """In nats; of the one coverage that it follows."""
        return self.state.threshold

    @torch.no_grad()
    def sets(self, probabilities_NC: Tensor, coverage: float) -> Tensor:
        """Which classes are in each image's set, bool, (N, C).

        Args:
            probabilities_NC: raw, as labels are scored.
        """
        scores_NC = conformal_scores(probabilities_NC, "lac", RULES["lac"])
        threshold_C = torch.full((scores_NC.shape[1],), self.state.threshold).to(scores_NC)
        return within(scores_NC, threshold_C)


def without_online(asked: Asked) -> Asked:
    """All else that is asked, which rests on the calibration images."""
    return replace(asked, online=None, coverage=None)


def with_online(found: Guaranteed, state: OnlineCoverage, *, own_classes: bool) -> Guaranteed:
    """The same with sets that follow labels, in the place of those of the calibration images.

    Raises:
        CalibrationError: labels are of the checkpoint's classes, and there are others; `field` is
            `set_method`.
    """
    if own_classes:
        raise CalibrationError(
            "online sets follow labels of the checkpoint's own classes; leave it out",
            field="set_method",
        )
    limits = found.limits.model_copy(
        update={
            "coverage": state.coverage,
            "set_method": "online",
            "guarantee": " ".join(filter(None, (_promise(state), found.of_risk))),
        }
    )
    missing = {name: why for name, why in found.missing.items() if name != "set"}
    return replace(found, limits=limits, sets=OnlineSets(state), missing=missing)


def _promise(state: OnlineCoverage) -> str:
    return (
        f"In the long run at least {percent(state.coverage)} % of the images that get labels have "
        "the right class in their sets, whatever the images are, not each stretch of them: of "
        f"{state.labels} labels so far {state.covered} were held, each by the threshold before it."
    )
