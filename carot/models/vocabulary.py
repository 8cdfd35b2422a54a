"""Classes that the calibration images did not have: names to weights, by the text tower.

The class weights of CLIP (Radford et al. 2021, §3.1.4), as `carot.models.prompts` makes them, each
class by itself, so that it is kept and found again in whatever company. K names, T templates, D
width.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from cachetools import LRUCache
from torch import Tensor
from torch.nn import functional as F

from carot.errors import SpecError
from carot.models.checkpoints import ClassifierCard
from carot.models.clip import ClipModel
from carot.models.prompts import Captions, caption_names
from carot.specs import PromptSpec

KEPT = 4096
"""Classes whose features stay in memory: 8 MiB at a width of 512."""
MOST_CAPTIONS = 2048
"""Captions that one vocabulary may take: a few seconds of ViT-B's text tower on a CPU."""
CAPTIONS_PER_PASS = 64
"""So few that nobody else who wants the processor waits for long."""


@dataclass(frozen=True)
class Vocabulary:
    """Class weights for names that a request brings.

    Attributes:
        names: K of them.
        templates: T captions that they stand in.
        head_KD: unit length, times the logit scale; float32, on the CPU.
        logit_scale: of the checkpoint.
        own_head: whether the checkpoint's own head is of the text tower as well, or was trained.
    """

    names: tuple[str, ...]
    templates: tuple[str, ...]
    head_KD: Tensor
    logit_scale: float
    own_head: Literal["text", "trained"]


class Vocabularies:
    """Makes them with one checkpoint's text tower. Any thread may ask.

    Args:
        kept: classes whose features are kept, those used last.
    """

    def __init__(self, model: ClipModel, card: ClassifierCard, kept: int = KEPT) -> None:
        self._model = model
        self._card = card
        self._features: LRUCache[tuple[tuple[str, ...], str], Tensor] = LRUCache(kept)
        self._lock = threading.Lock()

    def of(self, names: Sequence[str], templates: Sequence[str] | None = None) -> Vocabulary:
        """The weights of these classes; takes a while for names that are new.

        Args:
            templates: captions with `{}` for the name; None takes the checkpoint's own.

        Raises:
            SpecError: names and templates make too many captions; `field` is `classes`.
        """
        self.check(names, templates)
        used = self._used(templates)
        # Ids of ImageNet's classes become its names only where all are; each stands for itself.
        called = caption_names(names, PromptSpec())
        known = self._known(used, called)
        new = [name for name in dict.fromkeys(called) if name not in known]
        known |= self._encoded(used, new)
        self._keep(used, known)
        scale = self._card.logit_scale
        head_KD = scale * torch.stack([known[name] for name in called])
        is_text = self._card.head == "text"
        return Vocabulary(tuple(names), used, head_KD, scale, "text" if is_text else "trained")

    def check(self, names: Sequence[str], templates: Sequence[str] | None = None) -> None:
        """What `of` raises, at no cost."""
        used = self._used(templates)
        if len(names) * len(used) > MOST_CAPTIONS:
            raise SpecError(
                f"{len(names)} classes in {len(used)} templates are {len(names) * len(used)} "
                f"captions, more than {MOST_CAPTIONS}; send fewer classes or templates",
                field="classes",
            )

    def _used(self, templates: Sequence[str] | None) -> tuple[str, ...]:
        return self._card.templates if templates is None else tuple(templates)

    def _known(self, templates: tuple[str, ...], names: Sequence[str]) -> dict[str, Tensor]:
        with self._lock:
            found = {name: self._features.get((templates, name)) for name in names}
        return {name: feature_D for name, feature_D in found.items() if feature_D is not None}

    def _keep(self, templates: tuple[str, ...], features: dict[str, Tensor]) -> None:
        with self._lock:
            for name, feature_D in features.items():
                self._features[templates, name] = feature_D

    @torch.no_grad()
    def _encoded(self, templates: tuple[str, ...], names: Sequence[str]) -> dict[str, Tensor]:
        if not names:
            return {}
        captions = Captions(self._model, names, templates)
        features = [
            self._model.encode_captions(tokens_UL.to(self._model.device)).cpu()
            for tokens_UL in captions.tokens_UL.split(CAPTIONS_PER_PASS)
        ]
        features_KTD = torch.cat(features).unflatten(0, (len(names), len(templates)))
        means_KD = F.normalize(features_KTD.mean(dim=1), dim=-1)
        # Each in memory of its own: a view would keep the others alive.
        return {name: mean_D.clone() for name, mean_D in zip(names, means_KD, strict=True)}
