"""What `benchmarks/shift_calibrators.py` looks at, of the default's runs on the fashion suite."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from benchmarks.fashion.plan import BUDGET_RATE, DEFAULT, run
from benchmarks.fashion.suite import CACHE, CALIBRATION, ID, OOD, Images, suite
from benchmarks.shift_logits import keep, tuned
from benchmarks.shift_suite import Images as Preprocessed
from carot.models.clip import ClipModel

SEEDS = (1, 2, 3)
CALIBRATION_IMAGES = 1000
"""Of which versions under noise are made: levels are found by trying many."""


def clothes(folder: Path, runs: Path = CACHE / "runs") -> list[Path]:
    """A folder of logits for each seed; what is there already is not made again."""
    sets = suite()
    start_CD = sets.text_head(sets.model)
    made = []
    for seed in SEEDS:
        kept = run(DEFAULT, BUDGET_RATE, seed, quick=False).weights(runs)
        model = tuned(sets.model, start_CD, kept)
        of_seed = folder / f"seed-{seed}"
        for name in (CALIBRATION, ID, *OOD):
            images = preprocessed(sets.model, sets.sets[name])
            if name == CALIBRATION:
                images = Preprocessed(
                    images.images_NCHW[:CALIBRATION_IMAGES], images.labels_N[:CALIBRATION_IMAGES]
                )
            keep(model, images, of_seed / f"{name}.safetensors", noisy=name == CALIBRATION)
        made.append(of_seed)
    return made


def preprocessed(model: ClipModel, images: Images) -> Preprocessed:
    """A set as the model takes it, (N, 3, H, W)."""
    mean_311, std_311 = (
        torch.tensor(model.preprocess_cfg[name])[:, None, None] for name in ("mean", "std")
    )
    pixels = torch.from_numpy(np.array(images.pixels_NHW3)).permute(0, 3, 1, 2)
    return Preprocessed((pixels.float() / 255 - mean_311) / std_311, images.labels_N)
