"""An anchor: the student stays what its start was on images unlike any that it trains on.

    w · mean over anchors of KL(softmax(s_0 f_0(x) P' / T) ‖ softmax(s_0 f(x) P'))

f_0, s_0 and P are the start's image tower, logit scale and class prototypes, f the student's tower,
x images through random filters (`carot.training.anchors`). T makes the start's confidences fit the
labels of training images, which the start has not seen: an anchor hands down what the start knows,
not how unsure it was of it. Filters, temperature and the combination are this project's. Distilling
the start on images without labels is as old as learning without forgetting (Li & Hoiem, ECCV 2016);
holding on to it on simulated images is also done in arXiv 2509.05328, the nearest rival
(`carot.training.methods.function_space`). Anchors go through the tower with the batch: under batch
normalisation they take part in its statistics.

Shape suffixes: A anchors, C classes, D embedding width, N images.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from carot.calibration.calibrators.temperature import fit_temperature
from carot.distributed import Share
from carot.models.clip import ClipModel
from carot.specs import AnchorSpec
from carot.training.anchors import random_filters
from carot.training.methods.base import Encode, Look
from carot.training.methods.start import frozen_start
from carot.training.precision import full_precision, widened

LOOKED_AT = 1024
"""Training images that the temperature is fitted on: one number needs no more."""


class Anchor:
    """Draws anchors, asks the start about them, and measures how far the student is from it.

    Args:
        model: the starting model, of which a frozen copy is used. It shares what does not train,
            and is made again when a run resumes, so that no snapshot has to contain it.
        weight_CD: the start's class weights, prototypes times its logit scale.
    """

    def __init__(self, spec: AnchorSpec, model: ClipModel, weight_CD: Tensor, seed: int) -> None:
        self.spec = spec
        self.seed = seed
        self.start = frozen_start(model)
        self.weight_CD = weight_CD.detach()
        self.temperature = spec.temperature or 1.0
        self.answers_AC: Tensor | None = None

    def prepare(self, look: Look) -> None:
        """Fit the start's temperature, unless the spec gives one."""
        if self.spec.temperature is None:
            features = look(LOOKED_AT)
            logits_NC = features.images_BD @ self.weight_CD.t()
            self.temperature = fit_temperature(logits_NC, features.labels_B).temperature

    def images(self, step: int, images_NCHW: Tensor, share: Share | None = None) -> Tensor:
        """The step's anchors: a function of the images, the seed and the step alone.

        Where several processes share the batch, those of them that this one's images give.
        """
        total = len(images_NCHW) if share is None else share.total
        count = max(1, round(self.spec.share * total))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        return random_filters(images_NCHW, count, generator, share)

    def ask(self, encode: Encode) -> None:
        """Have the start look at the step's anchors."""
        self.answers_AC = encode.anchors(self.start) @ self.weight_CD.t() / self.temperature

    def divergence(self, anchors_AD: Tensor) -> Tensor:
        """Mean divergence of the student's answers from the start's, in nats."""
        assert self.answers_AC is not None
        with full_precision(anchors_AD):
            logits_AC = widened(anchors_AD) @ widened(self.weight_CD).t()
            return F.kl_div(
                F.log_softmax(logits_AC, dim=-1),
                F.log_softmax(widened(self.answers_AC), dim=-1),
                reduction="batchmean",
                log_target=True,
            )
