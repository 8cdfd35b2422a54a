"""From pixels to what an image tower takes, for a whole batch at once. Imports torch.

Shape suffixes: N images, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Normalisation:
    """The end of open_clip's transform: what it does to an image that has its size already.

    Args:
        preprocess_cfg: open_clip's; `mean` and `std` are of its three channels, each 0 to 1.
    """

    def __init__(self, preprocess_cfg: Mapping[str, Any], device: torch.device) -> None:
        mean, std = (
            torch.tensor(preprocess_cfg[name], dtype=torch.float32, device=device)
            for name in ("mean", "std")
        )
        self._mean_311, self._std_311 = mean[:, None, None], std[:, None, None]

    def __call__(self, pixels_NHW3: Tensor) -> Tensor:
        """Normalised images (N, 3, H, W), float32, of pixels from 0 to 255, on their device."""
        images_N3HW = pixels_NHW3.permute(0, 3, 1, 2).float().div_(255)
        return images_N3HW.sub_(self._mean_311).div_(self._std_311)
