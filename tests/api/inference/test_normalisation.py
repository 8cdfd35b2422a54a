"""A batch of pixels becomes what open_clip's transform makes of each image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from api.inference.normalisation import Normalisation

OPENAI = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}


@pytest.mark.parametrize("cfg", [OPENAI, {"mean": [0.5] * 3, "std": [0.5] * 3}])
def test_bit_for_bit(cfg: dict[str, list[float]]) -> None:
    size = 32
    transform = image_transform_v2(
        PreprocessCfg(size=size, mean=tuple(cfg["mean"]), std=tuple(cfg["std"])), is_train=False
    )
    rng = np.random.default_rng(0)
    pixels_NHW3 = rng.integers(0, 256, (5, size, size, 3), dtype=np.uint8)
    expected = torch.stack([transform(Image.fromarray(each)) for each in pixels_NHW3])
    found = Normalisation(cfg, torch.device("cpu"))(torch.from_numpy(pixels_NHW3))
    assert torch.equal(found, expected)
