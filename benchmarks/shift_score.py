"""Which distance tells shifted images from calibration images best, on the bundled digits.

    python benchmarks/shift_score.py [--quick] [--json FILE]

Features of carot-mini as it ships. AUROC of in-distribution test images against each shifted set,
for Mahalanobis' distance with Ledoit and Wolf's shrinkage (what
`carot.calibration.sets.shift_score` uses), the same from the nearest class mean, and the cosine
distance to the k-th nearest calibration image; and of low confidence beside them. Then the share of
test images that are farther than 95 % of the calibration images, which should be 5 %: with the
calibration images' distances as seen from the others, and from all.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.provenance import write_results
from benchmarks.shift_suite import run, suite
from carot.calibration.metrics.ranking import ranking
from carot.calibration.sets.shift_score import fit_shift_score

NEIGHBOURS = (1, 5, 10)
LIMIT = 0.95


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="30 images of each set")
    parser.add_argument("--json", type=Path, default=Path("build/shift_score.json"))
    options = parser.parse_args(arguments)
    sets = suite(30 if options.quick else None)
    head_CD = sets.text_head(sets.model)
    calibration_ND = run(sets.model, head_CD, sets.calibration)[1].double()
    labels_N = sets.calibration.labels_N
    tested = scores(calibration_ND, labels_N, *run(sets.model, head_CD, sets.test))
    found: dict[str, dict[str, float]] = {name: {} for name in tested}
    for shift, images in sets.shifted.items():
        shifted = scores(calibration_ND, labels_N, *run(sets.model, head_CD, images))
        for name, score_N in shifted.items():
            found[name][shift] = auroc(score_N, tested[name])
    for row in found.values():
        row["mean"] = sum(row.values()) / len(row)
    score = fit_shift_score(calibration_ND)
    test_ND = run(sets.model, head_CD, sets.test)[1]
    in_sample_N = score.distances(calibration_ND).sort().values
    nearer_N = torch.searchsorted(in_sample_N, score.distances(test_ND)) / len(in_sample_N)
    alarms = {
        "as_seen_from_the_others": share_above(score.percentiles(test_ND)),
        "as_seen_from_all": share_above(nearer_N),
    }
    show(found, alarms)
    write_results(
        options.json,
        {
            "calibration_images": len(calibration_ND),
            "test_images": len(test_ND),
            "width": calibration_ND.shape[1],
            "auroc": found,
            "share_of_test_images_above_0.95": alarms,
        },
    )


def scores(
    calibration_ND: Tensor, labels_N: Tensor, logits_NC: Tensor, features_ND: Tensor
) -> dict[str, Tensor]:
    """By method, the higher, the farther; `labels_N` are those of the calibration images."""
    means = [calibration_ND[labels_N == label].mean(dim=0) for label in labels_N.unique()]
    mean_CD = torch.stack(means)
    within = fit_shift_score(calibration_ND - mean_CD[labels_N.unique(return_inverse=True)[1]])
    from_class = [within.distances(features_ND.double() - mean_D) for mean_D in mean_CD]
    ordered_NM = (1 - features_ND.double() @ calibration_ND.t()).sort(dim=1).values
    nearest = {f"nearest, k = {k}": ordered_NM[:, k - 1] for k in NEIGHBOURS}
    return {
        "Mahalanobis": fit_shift_score(calibration_ND).distances(features_ND),
        "Mahalanobis, per class": torch.stack(from_class).amin(dim=0),
        **nearest,
        "low confidence": 1 - logits_NC.double().softmax(dim=1).amax(dim=1),
    }


def auroc(shifted_N: Tensor, tested_N: Tensor) -> float:
    """Chance that a shifted image scores above a test image."""
    both_N = torch.cat((shifted_N, tested_N))
    # Any rising map to 0 … 1 will do.
    place_N = torch.unique(both_N, return_inverse=True)[1].double()
    is_shifted_N = torch.arange(len(both_N)) < len(shifted_N)
    found = ranking(place_N / place_N.max(), is_shifted_N).auroc
    assert found is not None
    return found


def share_above(percentile_N: Tensor) -> float:
    return float((percentile_N > LIMIT).double().mean())


def show(found: dict[str, dict[str, float]], alarms: dict[str, Any]) -> None:
    columns = next(iter(found.values()))
    print(f"{'AUROC':24}" + "".join(f"{column:>11}" for column in columns))
    for name, row in found.items():
        print(f"{name:24}" + "".join(f"{value:11.3f}" for value in row.values()))
    print(
        f"share of test images above {LIMIT}: "
        + ", ".join(f"{k} {v:.3f}" for k, v in alarms.items())
    )


if __name__ == "__main__":
    main()
