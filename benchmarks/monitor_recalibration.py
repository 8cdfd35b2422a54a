"""How often recalibration moves, and what it gains: for `benchmarks/monitor.py`.

Shape suffixes: N images, C classes.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks.monitor_answers import Answers, Model, standard_error
from benchmarks.shift_suite import ID
from carot.calibration.metrics.likelihood import negative_log_likelihood
from carot.calibration.monitoring.recalibration import Recalibration, recalibrate
from carot.data.digits import CLASSES

KIND = "temperature"


def recalibrations(
    model: Model, counts: Sequence[int], repeats: int, calm_repeats: int
) -> dict[str, Any]:
    """How often recalibration moves, and what it gains on images beside its labels."""
    return {
        "calibrated": [calm_moves(model, labels, calm_repeats) for labels in counts],
        "sets": [
            {"set": name, **{str(n): moves(model, answers, n, repeats) for n in counts}}
            for name, answers in model.sets.items()
        ],
    }


def calm_moves(model: Model, labels: int, repeats: int) -> dict[str, Any]:
    """With labels drawn from the calibrator that is in use: nothing can be gained."""
    answers, moved, lower, significant = model.sets[ID], 0, 0, 0
    for seed in range(repeats):
        generator = torch.Generator().manual_seed(seed)
        chosen_n = torch.randint(len(answers.labels_N), (labels,), generator=generator)
        logits_NC = answers.logits_NC[chosen_n]
        # An image that comes twice may have two labels.
        drawn_N = torch.multinomial(
            model.calibrator.probabilities(logits_NC), 1, generator=generator
        ).squeeze(1)
        found = _asked(model, logits_NC, drawn_N, seed)
        moved += found.improves
        lower += found.gain > 0
        significant += found.gain_lower_bound > 0
    return {
        "labels": labels,
        "repeats": repeats,
        "moved": moved / repeats,
        "moved_standard_error": standard_error(moved / repeats, repeats),
        "lower_held_out_nll": lower / repeats,
        "significantly_lower": significant / repeats,
    }


def moves(model: Model, answers: Answers, labels: int, repeats: int) -> dict[str, Any]:
    """On labels of some images of a set; judged by all its others."""
    moved, gains, served = 0, [], []
    for seed in range(repeats):
        generator = torch.Generator().manual_seed(seed)
        order_N = torch.randperm(len(answers.labels_N), generator=generator)
        chosen_n, rest_n = order_N[:labels], order_N[labels:]
        found = _asked(model, answers.logits_NC[chosen_n], answers.labels_N[chosen_n], seed)
        rest = answers.logits_NC[rest_n], answers.labels_N[rest_n]
        before, after = (
            float(negative_log_likelihood(each, *rest).mean())
            for each in (model.calibrator, found.calibrator)
        )
        moved += found.improves
        gains.append(before - after)
        served.append(before - after if found.improves else 0.0)
    return {
        "moved": moved / repeats,
        "gain_if_always_moved": statistics.fmean(gains),
        "gain": statistics.fmean(served),
        "worst": min(served),
    }


def _asked(model: Model, logits_NC: Tensor, labels_N: Tensor, seed: int) -> Recalibration:
    current = model.calibrator
    scale = current.logit_scale
    return recalibrate(
        logits_NC, labels_N, current, KIND, classes=CLASSES, logit_scale=scale, seed=seed
    )
