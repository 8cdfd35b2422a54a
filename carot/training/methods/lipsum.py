"""Lipsum-FT: fine-tuning that keeps the model's answers to random texts (Nam et al., ICLR 2024).

L = CE(f_θ(x) W', y) + λ · mean_x 1/(2M) Σ_m (s ⟨f_θ(x), t_m⟩ − s ⟨f_0(x), t_m⟩)², with f_0 the
image tower as it was at the start, t_m the unit-length features of M random texts and s = exp(logit
scale), frozen like the text tower. A text is start token, 8 tokens drawn uniformly from all ids
below it, end token; the texts of a step are shared by its images, and fresh in each step.
Constants: λ = 1, M = 80; released runs: AdamW, rate 1e-5, no weight decay, 50,000 steps.

As in the released code image tower, its projection and head train. There the head is the
prototypes and its logits are multiplied by s; here s is inside the head, as in every method with
one. The model and its loss are the same; a step of the head of given rate is s times smaller.

Shape suffixes: B samples, M texts, L tokens, D embedding width, C classes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from carot.errors import ModelError, SpecError
from carot.models.clip import ClipModel
from carot.specs import LipsumMethod
from carot.training.methods.base import Encode, Features, Loss
from carot.training.methods.head import HeadMethod
from carot.training.methods.start import frozen_start
from carot.training.precision import full_precision, widened


class Lipsum(HeadMethod):
    """Cross-entropy, and the change of the answers to random texts.

    Attributes:
        start: the starting model, which shares what does not train with the model that does; None
            where the weight is zero. It is made again when a run resumes, so that no snapshot
            has to contain it.
        texts_MD: features of the step's random texts.

    Raises:
        ModelError: a tokenizer that does not frame a text as CLIP's does.
        SpecError: a text is longer than the text tower takes.
    """

    def __init__(
        self,
        spec: LipsumMethod,
        model: ClipModel,
        total_steps: int,
        weight_CD: Tensor,
        seed: int,
    ) -> None:
        super().__init__(model, total_steps, weight_CD)
        self.spec = spec
        self.seed = seed
        self.frame_L = text_frame(model, spec.tokens)
        self.start = frozen_start(model, self.tower.values()) if spec.weight > 0 else None
        self.texts_MD = weight_CD.new_empty(0, weight_CD.shape[1])

    def before_step(self, step: int) -> None:
        super().before_step(step)
        spec = self.spec
        if self.start is not None:
            tokens_ML = random_texts(self.frame_L, spec.texts, spec.tokens, self.seed, step)
            with torch.no_grad():
                self.texts_MD = self.start.encode_captions(tokens_ML.to(self.model.device))

    def teach(self, step: int, encode: Encode) -> Features | None:
        return encode(self.start) if self.start is not None else None

    def loss(self, features: Features, teacher: Features | None) -> Loss:
        total = cross_entropy = self.cross_entropy(features, label_smoothing=0.0)
        terms = {"cross_entropy": cross_entropy}
        if teacher is not None:
            scale = self.model.logit_scale.exp()
            terms["texts"] = text_change(
                features.images_BD, teacher.images_BD, self.texts_MD, scale
            )
            total = cross_entropy + self.spec.weight * terms["texts"]
        return Loss(total, terms)


def text_change(images_BD: Tensor, start_BD: Tensor, texts_MD: Tensor, scale: Tensor) -> Tensor:
    """Half the squared change of the logits of texts, mean over texts and images."""
    with full_precision(images_BD):
        difference_BD = widened(images_BD) - widened(start_BD)
        return (scale * difference_BD @ texts_MD.t()).square().mean() / 2


def text_frame(model: ClipModel, tokens: int) -> Tensor:
    """The tokens of an empty text, with zeros up to the context length: shape (L,).

    Raises:
        ModelError: it is not a start token and the end token that follows it in number.
        SpecError: `tokens` more do not fit.
    """
    frame_L = model.tokenize([""])[0]
    start, end = int(frame_L[0]), int(frame_L[1])
    if end != start + 1 or frame_L[2:].any():
        raise ModelError(
            f"{model.architecture}: lipsum_ft draws random tokens between the start and end tokens "
            "of CLIP's tokenizer, and this model has another one; choose another method",
            field="method.name",
        )
    if tokens + 2 > len(frame_L):
        raise SpecError(
            f"{model.architecture} takes texts of {len(frame_L)} tokens, start and end included; "
            f"method.tokens can be {len(frame_L) - 2} at most",
            field="method.tokens",
        )
    return frame_L


def random_texts(frame_L: Tensor, texts: int, tokens: int, seed: int, step: int) -> Tensor:
    """Token ids of random texts, shape (M, L), int64: a function of its arguments alone."""
    # A key of its own kind: the loader draws crops from tuples that begin with the seed, too.
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(step,)))
    start, end = int(frame_L[0]), int(frame_L[1])
    texts_ML = frame_L.new_zeros(texts, len(frame_L))
    texts_ML[:, 0] = start
    texts_ML[:, 1 : tokens + 1] = torch.from_numpy(rng.integers(start, size=(texts, tokens)))
    texts_ML[:, tokens + 1] = end
    return texts_ML
