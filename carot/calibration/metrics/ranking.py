"""How well confidence tells right answers from wrong ones: its order alone, not its values.

Equal confidences have no order. Everything is the mean over all orders of them, so that the order
of the images does not matter. Shape suffixes: N images, G groups of equal confidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from carot.calibration.metrics.inputs import check_confidences


@dataclass(frozen=True)
class Ranking:
    """Lower is better but for `auroc`.

    Attributes:
        auroc: chance that a right answer has a higher confidence than a wrong one, equal ones
            counting half; None where all answers are right or all are wrong.
        aurc: 1/N Σ_k E_k / k, where E_k are the wrong ones among the k most confident answers:
            the share of errors among the answers given, averaged over how many are given.
        augrc: 1/N Σ_k E_k / N, the generalised form of it (Traub et al. 2024, arXiv 2407.01032):
            the chance that an answer is given and wrong.
    """

    auroc: float | None
    aurc: float
    augrc: float


@torch.no_grad()
def ranking(confidence_N: Tensor, correct_N: Tensor) -> Ranking:
    """What the order of the confidences says; unchanged by any increasing map of them.

    Raises:
        CalibrationError: empty, misshapen or non-finite input, confidences outside 0 to 1.
    """
    check_confidences(confidence_N, correct_N)
    _, group_N, size_G = torch.unique(confidence_N, return_inverse=True, return_counts=True)
    wrong_G = torch.bincount(group_N[~correct_N], minlength=len(size_G))
    # From here on the most confident come first.
    size_G, wrong_G = size_G.flip(0), wrong_G.flip(0)
    # Averaged over its orders, a group's errors are spread evenly over its places.
    rate_N = (wrong_G.double() / size_G).repeat_interleave(size_G)
    errors_N = rate_N.cumsum(0)
    k_N = torch.arange(1, len(errors_N) + 1, dtype=torch.float64, device=errors_N.device)
    return Ranking(
        _auroc(size_G - wrong_G, wrong_G),
        aurc=float((errors_N / k_N).mean()),
        augrc=float(errors_N.mean()) / len(errors_N),
    )


def _auroc(right_G: Tensor, wrong_G: Tensor) -> float | None:
    """Pairs in order over all pairs of a right and a wrong answer; counted in integers."""
    pairs = int(right_G.sum()) * int(wrong_G.sum())
    if pairs == 0:
        return None
    # Twice the pairs, to stay among integers: a tie is half of one.
    less_confident_G = wrong_G.sum() - wrong_G.cumsum(0)
    return int((right_G * (2 * less_confident_G + wrong_G)).sum()) / (2 * pairs)
