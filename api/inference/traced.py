"""An image tower as one call without Python in it. Imports torch.

Shape suffixes: N images, D embedding width.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

import structlog
import torch
from torch import Tensor, nn

from carot.models.clip import ClipModel

SIZES = (1, 2, 5)
"""Batches for which the trace must say what the model says."""
TRACED_SIZE = 3
"""A batch of one would be taken for something that never changes."""
TOLERANCE = 1e-6
ONE_AT_A_TIME = threading.Lock()
"""What tracing notes is one for the whole process, and so are filters of warnings."""
log = structlog.get_logger("api.inference")
Encode = Callable[[Tensor], Tensor]


class _Encoder(nn.Module):
    def __init__(self, model: ClipModel) -> None:
        super().__init__()
        self.tower = model.module
        self._encode = model.encode_images

    def forward(self, images_NCHW: Tensor) -> Tensor:
        return self._encode(images_NCHW)


def traced(model: ClipModel, form: torch.memory_format = torch.contiguous_format) -> Encode:
    """`model.encode_images`, images (N, 3, H, W) to unit features (N, D), as a TorchScript trace.

    Python's lock is taken once for a pass and not, as in the model itself, after each of some
    hundred operations: with requests to parse in other threads, most of a pass of a small model was
    waiting for that lock (`benchmarks/traced.py`). It shares the model's weights. `torch.compile`,
    which PyTorch would rather have people use, wants a compiler on the machine and a minute for
    each model.

    Args:
        form: in which images come.

    Returns:
        The model's own method where it cannot be traced, or where its trace says something else.
    """
    try:
        with ONE_AT_A_TIME, torch.no_grad(), warnings.catch_warnings():
            # That tracing is deprecated, and that checks of shapes are not traced.
            warnings.simplefilter("ignore")
            trace: Encode = torch.jit.trace(
                _Encoder(model), _noise(model, TRACED_SIZE, form), check_trace=False
            )
    # Architectures are other people's code, and there is another way.
    except Exception as error:  # noqa: BLE001
        return _own(model, str(error))
    with torch.inference_mode():
        for size in SIZES:
            images_NCHW = _noise(model, size, form)
            if not torch.allclose(
                trace(images_NCHW), model.encode_images(images_NCHW), atol=TOLERANCE
            ):
                return _own(model, f"another answer for a batch of {size}")
    return trace


def _own(model: ClipModel, why: str) -> Encode:
    log.info("not_traced", architecture=model.architecture, why=why[:300])
    return model.encode_images


def _noise(model: ClipModel, size: int, form: torch.memory_format) -> Tensor:
    generator = torch.Generator().manual_seed(size)
    images_NCHW = torch.randn(size, 3, *model.image_size, generator=generator)
    return images_NCHW.to(model.device, memory_format=form)
