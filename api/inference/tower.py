"""An image tower and its class head as a device runs them best. Imports torch.

Shape suffixes: N images, C classes, D embedding width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from api.inference.traced import traced
from carot.models.clip import ClipModel

FIRST_SIZES = (1, 2)
"""On a CPU only the first passes are slow: there weights are packed and kernels chosen, for a
single image other ones than for several."""
SHORT_SECONDS = 0.005
"""Of one thread's time for one image: below it, threads cost more than they bring."""
ROUNDS = 3
THREADS = torch.get_num_threads()


class Tower:
    """Runs batches of normalised images.

    On a GPU the tower runs in bfloat16 (sums, norms and the head stay float32), and batches are
    padded to powers of two: its kernels are chosen for each shape, so only shapes that were
    warmed may occur. A CPU computes in float32 what it is given: padding would cost it as much as
    images do. There the tower is traced, and convolutional ones are kept channels-last, which their
    kernels want; a vision transformer has a single convolution and gains nothing.
    """

    def __init__(self, model: ClipModel, head_CD: Tensor) -> None:
        self._model = model
        self._head_DC = head_CD.t()
        self._half = self._padded = model.device.type == "cuda"
        self._format = torch.contiguous_format
        if model.device.type == "cpu" and is_convolutional(model.module.get_submodule("visual")):
            self._format = torch.channels_last
            model.module.get_submodule("visual").to(memory_format=torch.channels_last)
        self._encode = model.encode_images if self._half else traced(model, self._format)
        self._one_thread = not self._half and self._is_short()

    @property
    def device(self) -> torch.device:
        """The device that it runs on and that its images must be on."""
        return self._model.device

    @torch.inference_mode()
    def __call__(self, images_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (N, C) and unit features (N, D), float32, on the CPU."""
        count = len(images_NCHW)
        if self._padded:
            images_NCHW = pad(images_NCHW)
        images_NCHW = images_NCHW.contiguous(memory_format=self._format)
        with (
            _one_thread(self._one_thread),
            torch.autocast("cuda", torch.bfloat16, enabled=self._half),
        ):
            features_ND = self._encode(images_NCHW)
        # Outside: a product of 1000 classes in bfloat16 would leave logits two or three digits.
        features_ND = features_ND[:count].float()
        return (features_ND @ self._head_DC).cpu(), features_ND.cpu()

    @property
    def memory_bytes(self) -> int:
        """What weights, buffers and the head take on the device."""
        module = self._model.module
        tensors = [*module.parameters(), *module.buffers(), self._head_DC]
        return sum(each.numel() * each.element_size() for each in tensors)

    def warm_ups(self, batch: int) -> Sequence[Callable[[], None]]:
        """A pass of each size whose first one is slower than later ones, the smallest first."""
        sizes = padded_sizes(batch) if self._padded else [n for n in FIRST_SIZES if n <= batch]
        return [lambda size=size: self._blank(size) for size in sizes]  # type: ignore[misc]

    def _is_short(self) -> bool:
        """Whether an image takes one thread a few milliseconds, whatever else the machine does."""
        self._one_thread = True
        times = []
        for _ in range(ROUNDS):
            began = time.thread_time()
            self._blank(1)
            times.append(time.thread_time() - began)
        return min(times) < SHORT_SECONDS

    def _blank(self, size: int) -> None:
        self(torch.zeros(size, 3, *self._model.image_size, device=self.device))


@contextmanager
def _one_thread(wanted: bool) -> Iterator[None]:
    """The number holds for the whole process; only the models' thread computes for long."""
    torch.set_num_threads(1 if wanted else THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(THREADS)


def pad(images_NCHW: Tensor) -> Tensor:
    """Blank images behind a batch, up to the next power of two."""
    count = len(images_NCHW)
    blank = images_NCHW.new_zeros(padded_size(count) - count, *images_NCHW.shape[1:])
    return torch.cat([images_NCHW, blank])


def padded_size(count: int) -> int:
    """The least power of two that is at least `count`."""
    return int(1 << (count - 1).bit_length())


def padded_sizes(batch: int) -> list[int]:
    """Every size that batches of at most `batch` images are padded to."""
    return [1 << exponent for exponent in range(padded_size(batch).bit_length())]


def is_convolutional(tower: nn.Module) -> bool:
    """Whether convolutions are most of a tower's work: more of them than a patch embedding."""
    return sum(isinstance(each, nn.Conv2d) for each in tower.modules()) > 1
