"""Logits of the digits suite for `benchmarks/shift_calibrators.py`, made once and kept.

Shape suffixes: N images, V noise levels, C classes, D embedding width.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.shift_plan import DEFAULT, DEFAULT_METHOD
from benchmarks.shift_runs import HEAD, Run
from benchmarks.shift_suite import ID, Images, run, suite
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
    sets = suite(trained.images)
    made = tuned(sets.model, sets.text_head(sets.model), trained.weights(weights))
    opened = {"calibration": sets.calibration, ID: sets.test, **sets.shifted}
    for name, images in opened.items():
        keep(made, images, folder / f"{name}.safetensors", noisy=name == "calibration")
    return folder


@dataclasses.dataclass(frozen=True)
class Tuned:
    """A start and what it was fine-tuned to, each with its head of shape (C, D)."""

    start: ClipModel
    start_CD: Tensor
    model: ClipModel
    head_CD: Tensor


def tuned(start: ClipModel, start_CD: Tensor, weights: Mapping[str, Tensor]) -> Tuned:
    """The model that kept weights make, the head among them."""
    module = copy.deepcopy(start.module)
    module.load_state_dict({name: value for name, value in weights.items() if name != HEAD})
    return Tuned(start, start_CD, start.with_module(module), weights[HEAD])


def keep(made: Tuned, images: Images, file: Path, *, noisy: bool) -> None:
    """Write what calibrators look at of one set, unless it is there.

    Args:
        noisy: whether versions under noise are among it, as of calibration images.
    """
    if file.exists():
        return
    seen = _seen(made, images)
    if noisy:
        seen = _with_noise(seen, made.model, made.head_CD, images)
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".writing")
    save_file(_tensors(seen), temporary)
    temporary.replace(file)


def _seen(made: Tuned, images: Images) -> SetLogits:
    logits_NC, features_ND = run(made.model, made.head_CD, images)
    zero_shot_NC, _ = run(made.start, made.start_CD, images)
    partner_N = mixing_partners(len(images.labels_N))
    mixtures = Images(mixed(images.images_NCHW, partner_N), images.labels_N)
    mixed_NC, _ = run(made.model, made.head_CD, mixtures)
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
