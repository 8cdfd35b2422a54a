"""Logits of the digits suite for `benchmarks/shift_calibrators.py`, made once and kept.

Shape suffixes: N images, V noise levels, C classes, D embedding width.
"""

from __future__ import annotations

import copy
import dataclasses
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.shift_plan import DEFAULT, DEFAULT_METHOD
from benchmarks.shift_runs import HEAD, Run
from benchmarks.shift_suite import ID, Images, Suite, run, suite
from carot.calibration.shift.perturbation_levels import LEVELS, evenly_falling
from carot.calibration.shift.pseudo_targets import mixed, mixing_partners
from carot.calibration.shift.table import SetLogits
from carot.models.clip import ClipModel

SEEDS = (1, 2, 3)
EPOCHS, RATE = 16, 1e-3
"""Which `benchmarks/shift.py` chose for the default recipe, on validation."""
QUICK_IMAGES = 32


def digits(folder: Path, *, quick: bool = False) -> list[Path]:
    """A folder of logits for each seed; what is there already is not made again."""
    if quick:
        runs = [Run(DEFAULT, dict(DEFAULT_METHOD), 1, RATE, SEEDS[0], images=QUICK_IMAGES)]
        folder = folder / "quick"
    else:
        runs = [Run(DEFAULT, dict(DEFAULT_METHOD), EPOCHS, RATE, seed) for seed in SEEDS]
    trained = folder / "runs"
    trained.mkdir(parents=True, exist_ok=True)
    return [logits_of(each, trained, folder / f"seed-{each.seed}") for each in runs]


def logits_of(trained: Run, weights: Path, folder: Path) -> Path:
    """Every set's logits by one run, which is trained unless it is there."""
    trained.execute(weights)
    folder.mkdir(exist_ok=True)
    sets = suite(trained.images)
    model, head_CD = _fine_tuned(sets, trained, weights)
    for name, images in {"calibration": sets.calibration, ID: sets.test, **sets.shifted}.items():
        file = folder / f"{name}.safetensors"
        if file.exists():
            continue
        made = _seen(sets, model, head_CD, images)
        if name == "calibration":
            made = _with_noise(made, model, head_CD, images)
        temporary = file.with_suffix(".writing")
        save_file(_tensors(made), temporary)
        temporary.replace(file)
    return folder


def _fine_tuned(sets: Suite, trained: Run, weights: Path) -> tuple[ClipModel, Tensor]:
    module = copy.deepcopy(sets.model.module)
    found = trained.weights(weights)
    module.load_state_dict({name: value for name, value in found.items() if name != HEAD})
    return sets.model.with_module(module), found[HEAD]


def _seen(sets: Suite, model: ClipModel, head_CD: Tensor, images: Images) -> SetLogits:
    logits_NC, features_ND = run(model, head_CD, images)
    zero_shot_NC, _ = run(sets.model, sets.text_head(sets.model), images)
    partner_N = mixing_partners(len(images.labels_N))
    mixtures = Images(mixed(images.images_NCHW, partner_N), images.labels_N)
    mixed_NC, _ = run(model, head_CD, mixtures)
    return SetLogits(logits_NC, images.labels_N, zero_shot_NC, mixed_NC, partner_N, features_ND)


def _with_noise(seen: SetLogits, model: ClipModel, head_CD: Tensor, images: Images) -> SetLogits:
    """With versions of the calibration images whose noise lets accuracy fall evenly to chance."""
    generator = torch.Generator().manual_seed(0)
    noise_NCHW = torch.randn(images.images_NCHW.shape, generator=generator)

    @cache
    def noisy(level: float) -> tuple[Tensor, Tensor]:
        return run(model, head_CD, Images(images.images_NCHW + level * noise_NCHW, images.labels_N))

    def accuracy(level: float) -> float:
        logits_NC, _ = noisy(level)
        return float((logits_NC.argmax(dim=1) == images.labels_N).double().mean())

    levels = evenly_falling(accuracy, 1 / head_CD.shape[0], levels=LEVELS)
    versions = [noisy(level) for level in levels]
    return dataclasses.replace(
        seen,
        perturbed_VNC=torch.stack([logits_NC for logits_NC, _ in versions]),
        perturbed_features_VND=torch.stack([features_ND for _, features_ND in versions]),
    )


def _tensors(seen: SetLogits) -> dict[str, Tensor]:
    return {
        name: value.detach().contiguous() for name, value in vars(seen).items() if value is not None
    }
