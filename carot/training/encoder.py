"""Encoding one step's samples: images in micro-batches, distinct captions once, shares gathered.

Where several processes share a batch, N images and A anchors are this one's, and features are of
all. Shape suffixes: also B samples of a batch, U distinct captions, L tokens, D embedding width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from carot.data.loader import ImageBatch
from carot.distributed import ALONE, Ranks, Share
from carot.models.clip import ClipModel
from carot.models.prompts import Captions
from carot.specs import TrainingSpec
from carot.training.methods import Features

AUTOCAST = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class StepEncoder:
    """Encodes one step's samples with the student or a teacher.

    Captions that repeat in the batch go through the text tower once, on every rank alike. Images
    and anchors go through the image tower where they are, and their features to everybody.

    Attributes:
        without_gradient: the same for a teacher, which sees anchors only when asked to.
    """

    def __init__(
        self,
        batch: ImageBatch,
        captions: Captions,
        uses_captions: bool,
        spec: TrainingSpec,
        anchors_ACHW: Tensor | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.batch = batch
        self.spec = spec
        self.anchors_ACHW = anchors_ACHW
        self.ranks = ranks
        self.share = batch.share or Share((len(batch.images_NCHW),))
        self.anchors_share: Share | None = None
        if anchors_ACHW is not None:
            self.anchors_share = ranks.share(len(anchors_ACHW))
        self.text: tuple[Tensor, Tensor] | None = None
        if uses_captions:
            self.text = captions.of_samples(batch.labels_N, batch.templates_N, batch.indices_N)
        self.without_gradient = _WithoutGradient(self)

    def __call__(self, model: ClipModel) -> Features:
        """Unit-length features of the batch and its anchors, float32, with gradient if enabled."""
        images_NCHW = self.batch.images_NCHW
        if self.anchors_ACHW is None or self.anchors_share is None:
            return self._features(model, self._images(model, images_NCHW))
        # In one go: under batch normalisation anchors take part in the batch's statistics.
        features_ND = self._images(model, torch.cat([images_NCHW, self.anchors_ACHW]))
        images_ND, anchors_AD = features_ND.split([len(images_NCHW), len(self.anchors_ACHW)])
        anchors_AD = self.ranks.gather(anchors_AD, self.anchors_share)
        return self._features(model, images_ND, anchors_AD)

    def encode(self, model: ClipModel) -> Features:
        """Features of the batch alone."""
        return self._features(model, self._images(model, self.batch.images_NCHW))

    def encode_anchors(self, model: ClipModel) -> Tensor:
        """Unit-length features of the anchors alone, of all processes."""
        assert self.anchors_ACHW is not None
        assert self.anchors_share is not None
        return self.ranks.gather(self._images(model, self.anchors_ACHW), self.anchors_share)

    def _features(
        self, model: ClipModel, images_ND: Tensor, anchors_AD: Tensor | None = None
    ) -> Features:
        device = model.device
        captions_BD = None
        if self.text is not None:
            tokens_UL, position_B = self.text
            with self._autocast(device):
                captions_UD = model.encode_captions(tokens_UL.to(device))
            captions_BD = captions_UD[position_B.to(device)]
        images_BD = self.ranks.gather(images_ND, self.share)
        return Features(images_BD, captions_BD, self.batch.labels_N.to(device), anchors_AD)

    def _images(self, model: ClipModel, images_NCHW: Tensor) -> Tensor:
        """Features of images of this process."""
        count = len(images_NCHW)
        if count == 0:
            # Weights must have a gradient here, too, if they have one elsewhere: it is zero.
            images_NCHW = images_NCHW.new_zeros((1, *images_NCHW.shape[1:]))
        device = model.device
        with self._autocast(device), self.ranks.own_randomness(device):
            return self._in_parts(model, images_NCHW.to(device))[:count]

    def _in_parts(self, model: ClipModel, images_NCHW: Tensor) -> Tensor:
        parts = images_NCHW.chunk(self.spec.accumulation_steps)
        if len(parts) == 1:
            return model.encode_images(images_NCHW)
        if not torch.is_grad_enabled():
            return torch.cat([model.encode_images(part) for part in parts])
        features = [checkpoint(model.encode_images, part, use_reentrant=False) for part in parts]
        return torch.cat(features)

    def _autocast(self, device: torch.device) -> torch.autocast:
        dtype = AUTOCAST[self.spec.precision]
        return torch.autocast(device.type, dtype=dtype, enabled=dtype is not torch.float32)


class _WithoutGradient:
    """A `carot.training.methods.base.Encode`."""

    def __init__(self, encoder: StepEncoder) -> None:
        self._encoder = encoder

    def __call__(self, model: ClipModel) -> Features:
        with torch.no_grad():
            return self._encoder.encode(model)

    def anchors(self, model: ClipModel) -> Tensor:
        with torch.no_grad():
            return self._encoder.encode_anchors(model)
