"""Batches: which images come when, decoded in threads, cropped and captioned reproducibly.

Everything drawn at random for a sample depends on (seed, epoch, index) alone. So the order and the
crops of a run need no state: to resume is to ask for the next step. And where several processes
share a batch, each of them has the images that it would have alone.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from carot.data.crops import Resizing, random_crop
from carot.data.decoding.images import has_contrast
from carot.data.order import epoch_order
from carot.data.source import ImageSource
from carot.distributed import ALONE, Ranks, Share, even_share
from carot.errors import DataError, TooManyUnreadable, UnreadableImage
from carot.events import Reporter, Warning

MAX_UNREADABLE_SHARE = 0.01
MAX_LISTED = 100
NEARLY_FLAT = 0.5
"""In normalised pixels, more than the levels of an image without contrast can be apart."""
BATCHES_AHEAD = 2
Result = TypeVar("Result")


class Unreadable:
    """Keeps count of a data set's images that cannot be decoded, and ends the run at too many.

    The run fails when more than 1 % of the images are unreadable. Images that can be read and
    show nothing are counted as well, and end nothing.
    """

    def __init__(self, dataset: str, source: ImageSource, reporter: Reporter) -> None:
        self.dataset = dataset
        self.source = source
        self.reporter = reporter
        self.reasons: dict[str, str] = {}
        self._without_contrast: set[str] = set()

    def check_contrast(self, image: Image.Image, input_CHW: Tensor, name: str) -> None:
        """Count an image without contrast. Any thread may call it.

        Args:
            image: as it was decoded.
            input_CHW: what the model gets of it, which is quicker to look at.
        """
        spans_C = input_CHW.amax(dim=(1, 2)) - input_CHW.amin(dim=(1, 2))
        if float(spans_C.max()) < NEARLY_FLAT and not has_contrast(image):
            self._without_contrast.add(name)

    def tell_contrast(self) -> None:
        """Warn of the images without contrast that were counted so far, once."""
        names = sorted(self._without_contrast)
        self._without_contrast.clear()
        if names:
            message = f"{self.dataset}: {len(names)} of {len(self.source)} images show one colour"
            listed = tuple(names[:MAX_LISTED])
            self.reporter.report(Warning(code="no_contrast", message=message, names=listed))

    def note(self, error: UnreadableImage) -> None:
        """Take note of one image; each is counted once however often it is met.

        Raises:
            TooManyUnreadable: this one was too many; up to `MAX_LISTED` of them are named.
        """
        if error.name in self.reasons:
            return
        self.reasons[error.name] = error.reason
        self.reporter.report(
            Warning(code="unreadable_image", message=str(error), names=(error.name,))
        )
        total = len(self.source)
        if len(self.reasons) > MAX_UNREADABLE_SHARE * total:
            self._find_the_others()
            names = sorted(self.reasons)
            count = f"{len(names)} or more" if len(names) >= MAX_LISTED else str(len(names))
            listed = "; ".join(f"{name}: {self.reasons[name]}" for name in names[:20])
            raise TooManyUnreadable(
                f"{self.dataset}: {count} of {total} images cannot be read, more than "
                f"{MAX_UNREADABLE_SHARE:.0%}: {listed}",
                names,
            )

    def _find_the_others(self) -> None:
        """Check the remaining images, so that the error lists all that cannot be read."""
        for index in range(len(self.source)):
            if len(self.reasons) >= MAX_LISTED:
                return
            try:
                self.source.image(index)
            except UnreadableImage as error:
                self.reasons[error.name] = error.reason


@dataclass(frozen=True)
class ImageBatch:
    """Images of one step.

    Attributes:
        images_NCHW: float32, normalised as the model expects; those of the share, if there is one.
        labels_N: int64 class indices.
        templates_N: int64 template indices, drawn per sample; zeros in evaluation.
        indices_N: positions in the source.
        share: which of the samples the images belong to, where several processes share the batch;
            labels, templates and indices are of all of it.
    """

    images_NCHW: Tensor
    labels_N: Tensor
    templates_N: Tensor
    indices_N: Tensor
    share: Share | None = None


class TrainingBatches:
    """The batches of a training run, by step.

    Args:
        resizing: how the model takes images; crops keep to it.
        templates: number of caption templates to draw from.
        crop_scale: smallest share of the area that a random crop keeps; 1 for no crop.
        ranks: who shares each batch; all of them ask for the same steps.
    """

    def __init__(
        self,
        source: ImageSource,
        transform: Callable[[Image.Image], Tensor],
        resizing: Resizing,
        *,
        batch_size: int,
        templates: int,
        crop_scale: float,
        seed: int,
        unreadable: Unreadable,
        ranks: Ranks = ALONE,
    ) -> None:
        self.source = source
        self.transform = transform
        self.resizing = resizing
        self.crop_scale = crop_scale
        self.batch_size = batch_size
        self.templates = templates
        self.seed = seed
        self.unreadable = unreadable
        self.ranks = ranks
        self._order: tuple[int, Tensor] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch: an epoch's last, smaller batch is left out."""
        return len(self.source) // self.batch_size

    def indices(self, step: int) -> list[int]:
        """Positions of the images of optimizer step `step`, counted from 0."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order[0] != epoch:
            order = epoch_order(len(self.source), self.source.blocks, self.seed, epoch)
            self._order = epoch, order
        return self._order[1][position * self.batch_size :][: self.batch_size].tolist()

    def steps(self, first: int, last: int) -> Iterator[ImageBatch]:
        """The batches of steps `first` to `last - 1`, decoded ahead in threads."""

        def load(index: int, epoch: int) -> tuple[Tensor, int, int] | UnreadableImage:
            rng = np.random.default_rng((self.seed, epoch, index))
            template = int(rng.integers(self.templates))
            try:
                image = self.source.image(index)
            except UnreadableImage as error:
                return error
            cropped = random_crop(image, self.resizing, self.crop_scale, rng)
            input_CHW = self.transform(cropped)
            self.unreadable.check_contrast(image, input_CHW, str(self.source.keys[index]))
            return input_CHW, index, template

        mine = even_share(self.batch_size, self.ranks.rank, self.ranks.count).span
        plan = (
            [(index, step // self.steps_per_epoch) for index in self.indices(step)[mine]]
            for step in range(first, last)
        )
        for step, results in zip(range(first, last), _ahead(load, plan), strict=True):
            batch = _collate(results, self.source, self.unreadable)
            if not self.ranks.alone:
                batch = self._completed(batch, step)
            if len(batch.labels_N) == 0:
                raise DataError(f"{self.unreadable.dataset}: a batch without a readable image")
            yield batch
        self.unreadable.tell_contrast()

    def _completed(self, batch: ImageBatch, step: int) -> ImageBatch:
        """The batch with what the others know of their shares of it."""
        share = self.ranks.share(len(batch.indices_N))
        own_N3 = torch.stack([batch.labels_N, batch.templates_N, batch.indices_N], dim=1)
        labels_B, templates_B, indices_B = self.ranks.gather(own_N3, share).unbind(dim=1)
        if share.total < self.batch_size:
            missing = set(self.indices(step)) - set(indices_B.tolist())
            self._note_what_others_miss(sorted(missing))
        images_NCHW = batch.images_NCHW
        if len(images_NCHW) == 0:
            images_NCHW = torch.empty(0, 3, *self.resizing.size)
        return ImageBatch(images_NCHW, labels_B, templates_B, indices_B, share)

    def _note_what_others_miss(self, missing: Sequence[int]) -> None:
        # So that every process counts what one alone would count, and gives up when it would.
        for index in missing:
            try:
                self.source.image(index)
            except UnreadableImage as error:
                self.unreadable.note(error)
            else:
                name = str(self.source.keys[index])
                self.unreadable.note(UnreadableImage(name, "not readable by another process"))


def evaluation_batches(
    source: ImageSource,
    transform: Callable[[Image.Image], Tensor],
    batch_size: int,
    unreadable: Unreadable,
) -> Iterator[ImageBatch]:
    """Every readable image of `source` once, in order."""

    def load(index: int) -> tuple[Tensor, int, int] | UnreadableImage:
        try:
            image = source.image(index)
        except UnreadableImage as error:
            return error
        input_CHW = transform(image)
        unreadable.check_contrast(image, input_CHW, str(source.keys[index]))
        return input_CHW, index, 0

    plan = (
        [(index,) for index in range(start, min(start + batch_size, len(source)))]
        for start in range(0, len(source), batch_size)
    )
    for results in _ahead(load, plan):
        batch = _collate(results, source, unreadable)
        if len(batch.labels_N) > 0:
            yield batch
    unreadable.tell_contrast()


def batches_as_listed(
    source: ImageSource, transform: Callable[[Image.Image], Tensor], batch_size: int
) -> Iterator[list[Tensor | UnreadableImage]]:
    """Every image of `source` in order, ready for the model, or why it cannot be read."""

    def load(index: int) -> Tensor | UnreadableImage:
        try:
            return transform(source.image(index))
        except UnreadableImage as error:
            return error

    plan = (
        [(index,) for index in range(start, min(start + batch_size, len(source)))]
        for start in range(0, len(source), batch_size)
    )
    yield from _ahead(load, plan)


def _ahead(
    load: Callable[..., Result], plan: Iterator[Sequence[tuple[int, ...]]]
) -> Iterator[list[Result]]:
    """Results of `load` for each batch of arguments in the plan, a few batches ahead."""
    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        waiting: deque[list[Future[Result]]] = deque()
        try:
            for arguments in plan:
                waiting.append([pool.submit(load, *argument) for argument in arguments])
                if len(waiting) > BATCHES_AHEAD:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _collate(
    results: Sequence[tuple[Tensor, int, int] | UnreadableImage],
    source: ImageSource,
    unreadable: Unreadable,
) -> ImageBatch:
    images, indices, templates = [], [], []
    for result in results:
        if isinstance(result, UnreadableImage):
            unreadable.note(result)
            continue
        images.append(result[0])
        indices.append(result[1])
        templates.append(result[2])
    labels_N = torch.from_numpy(source.labels[np.asarray(indices, dtype=np.int64)])
    images_NCHW = torch.stack(images) if images else torch.empty(0)
    drawn_N = torch.tensor(templates, dtype=torch.int64)
    return ImageBatch(images_NCHW, labels_N, drawn_N, torch.tensor(indices, dtype=torch.int64))
