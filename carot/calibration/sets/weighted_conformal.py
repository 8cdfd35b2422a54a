"""Prediction sets under covariate shift: calibration images weighted by how likely they are there.

Weighted split conformal prediction (Tibshirani et al. 2019, arXiv 1904.06019). With w = dP'/dP, the
likelihood ratio of an image among those that are asked about and among the calibration images, the
threshold for an image x is the smallest score q with

    Σ_{i: s_i ≤ q} w(x_i) / (Σ_i w(x_i) + w(x)) ≥ coverage

and there is none, so that all classes are in the set, where calibration images have less weight
than that in all. Given the true ratios, sets cover as asked on average over images of P', if only
images have shifted and not what they show. Where few calibration images carry the weight, they say
next to nothing: below `LEAST_EFFECTIVE` images' worth of them there are no sets, but an error.
Shape suffixes: N calibration images, M images that are asked about, C classes, D embedding width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from carot.calibration.sets.conformal import RULES, images_needed
from carot.calibration.sets.conformal_scores import conformal_scores, within
from carot.calibration.sets.coverage import Method
from carot.errors import CalibrationError

LEAST_EFFECTIVE = 100.0
"""Effective images without which there are no sets: at 100, the coverage of sets for 0.9 already
varies by 0.03 (one standard deviation) from one calibration split to the next."""

ROUNDING = 1e-12


def effective_sample_size(weight_N: Tensor) -> float:
    """(Σ w)² / Σ w² (Kish 1965): N where all are equal, 1 where one has all the weight.

    Raises:
        CalibrationError: no weights, one below 0 or not finite, or all are 0.
    """
    weight_N = _weights(weight_N)
    if float(weight_N.sum()) <= 0:
        raise CalibrationError("all weights are 0", field="weights")
    share_N = weight_N / weight_N.max()
    return float(share_N.sum().square() / share_N.square().sum())


def weighted_thresholds(
    scores_N: Tensor, weight_N: Tensor, asked_weight_M: Tensor, coverage: float
) -> Tensor:
    """The score that a member of each image's set has at most, float64, (M); infinity: any.

    Args:
        scores_N: nonconformity of the calibration labels.
        weight_N, asked_weight_M: likelihood ratios, in the same unit.
        coverage: in (0, 1).

    Raises:
        CalibrationError: fewer effective calibration images than `LEAST_EFFECTIVE`, or than the
            coverage needs (`field` is `weights`); misshapen or non-finite input.
    """
    needed = max(LEAST_EFFECTIVE, float(images_needed(coverage)))
    weight_N, asked_weight_M = _weights(weight_N), _weights(asked_weight_M)
    if scores_N.shape != weight_N.shape or bool(scores_N.isnan().any()):
        raise CalibrationError("one weight for each score is needed", field="weights")
    effective = effective_sample_size(weight_N)
    if effective < needed - ROUNDING:
        raise CalibrationError(
            f"the weights leave {effective:.1f} effective calibration images of {len(weight_N)}, "
            f"and sets for {coverage:g} need {needed:g}: the images have shifted too far from them",
            field="weights",
        )
    score_N, order_N = scores_N.double().sort(stable=True)
    cumulative_N = weight_N[order_N].cumsum(dim=0)
    aim_M = coverage * (cumulative_N[-1] + asked_weight_M)
    place_M = torch.searchsorted(cumulative_N, aim_M - ROUNDING * cumulative_N[-1])
    return torch.cat([score_N, score_N.new_tensor([torch.inf])])[place_M]


@torch.no_grad()
def weighted_sets(
    probabilities_NC: Tensor,
    labels_N: Tensor,
    weight_N: Tensor,
    asked_MC: Tensor,
    asked_weight_M: Tensor,
    coverage: float,
    method: Method = "lac",
) -> Tensor:
    """Which classes are in each image's set, bool, (M, C); the top class always is.

    Args:
        probabilities_NC, labels_N: of the calibration images.
        asked_MC: probabilities of the images that are asked about.
        weight_N, asked_weight_M: likelihood ratios, see `likelihood_ratios`.
        method: by which score; `mondrian` has no weighted sets.

    Raises:
        CalibrationError: see `weighted_thresholds`; an unknown method (`field` is `method`), no
            probabilities, labels out of range.
    """
    if method == "mondrian":
        raise CalibrationError("mondrian sets cannot be weighted", field="method")
    classes = probabilities_NC.shape[-1]
    rule = RULES.get(method, RULES["lac"])
    scores_NC = conformal_scores(probabilities_NC, method, rule)
    if (
        labels_N.shape != scores_NC.shape[:1]
        or not 0 <= int(labels_N.min()) <= int(labels_N.max()) < classes
    ):
        raise CalibrationError(f"a label from 0 to {classes - 1} for each image is needed")
    scores_N = scores_NC.gather(1, labels_N.long()[:, None]).squeeze(1)
    if asked_weight_M.shape != asked_MC.shape[:1]:
        raise CalibrationError("one weight for each image is needed", field="weights")
    threshold_M = weighted_thresholds(scores_N, weight_N, asked_weight_M, coverage)
    asked_scores_MC = conformal_scores(asked_MC, method, rule)
    return within(asked_scores_MC, threshold_M[:, None].to(asked_scores_MC))


def likelihood_ratios(features_ND: Tensor, asked_MD: Tensor) -> tuple[Tensor, Tensor]:
    """Estimated weights of calibration images (N) and of those that are asked about (M), float64.

    By the odds that a logistic regression on standardised features gives an image to be of the
    latter, times N / M (Tibshirani et al. 2019, §2.3). Estimated ratios guarantee coverage only as
    far as they are right.

    Raises:
        CalibrationError: features of different widths, none, or not finite.
    """
    if features_ND.ndim != 2 or asked_MD.ndim != 2 or features_ND.shape[1] != asked_MD.shape[1]:
        raise CalibrationError("features of one width are needed", field="features")
    both = torch.cat([features_ND, asked_MD]).detach().cpu().double()
    if not len(features_ND) or not len(asked_MD) or not bool(both.isfinite().all()):
        raise CalibrationError("finite features of both kinds are needed", field="features")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    images = len(features_ND)
    asked = torch.arange(len(both)) >= images
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    log_odds = torch.from_numpy(model.fit(both.numpy(), asked.numpy()).decision_function(both))
    ratio = log_odds.exp() * (images / len(asked_MD))
    return ratio[:images], ratio[images:]


def _weights(weight_N: Tensor) -> Tensor:
    weight_N = weight_N.double()
    right = weight_N.ndim == 1 and len(weight_N) > 0 and bool(weight_N.isfinite().all())
    if not right or float(weight_N.min()) < 0:
        raise CalibrationError("weights are finite numbers of 0 or more", field="weights")
    return weight_N
