"""Class names and templates -> captions -> the zero-shot head.

The head of CLIP (Radford et al. 2021, §3.1.4): for each class the mean of its captions' unit
features, made unit length again. C classes, T templates, D embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from carot.data import digits, fashion
from carot.data.formats.wordnet import are_imagenet, imagenet_names, imagenet_templates
from carot.data.resolve import DIGITS
from carot.models.clip import ClipModel
from carot.specs import PromptSpec
from carot.specs.base import FASHION

DEFAULT_TEMPLATES = ("a photo of a {}.",)
CAPTIONS_PER_PASS = 512


class Captions:
    """Every caption of every class, tokenized once: caption `c * T + t` is class c, template t.

    Attributes:
        cut: captions whose end the model does not read.
    """

    def __init__(self, model: ClipModel, names: Sequence[str], templates: Sequence[str]) -> None:
        self.names = tuple(names)
        self.templates = tuple(templates)
        # Not str.format: a template comes from a user, and format reaches into attributes.
        captions = [template.replace("{}", name) for name in names for template in templates]
        self.tokens_UL = model.tokenize(captions)
        self.cut = cut_captions(model, captions, self.tokens_UL)

    @property
    def draws(self) -> int:
        """How many captions there are to draw from for each image."""
        return len(self.templates)

    def of_samples(
        self, labels_B: Tensor, drawn_B: Tensor, images_B: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The captions of a batch's samples, as `tokens` gives them.

        Args:
            drawn_B: what was drawn for each, below `draws`.
            images_B: positions of the images among those trained on.
        """
        return self.tokens(labels_B * len(self.templates) + drawn_B)

    def tokens(self, captions_B: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens of the distinct captions among `captions_B`, and where each sample's is.

        Returns:
            (tokens_UL, position_B): `tokens_UL[position_B]` are the captions of the batch.
        """
        unique_U, position_B = torch.unique(captions_B, return_inverse=True)
        return self.tokens_UL[unique_U], position_B


class ImageCaptions(Captions):
    """Captions of classes for the head, and captions of N images to train on, each of its own.

    An image without any has those of its class.

    Args:
        of_images: for each image its captions.
    """

    def __init__(
        self,
        model: ClipModel,
        names: Sequence[str],
        templates: Sequence[str],
        of_images: Sequence[Sequence[str]],
    ) -> None:
        super().__init__(model, names, templates)
        distinct = list(dict.fromkeys(caption for each in of_images for caption in each))
        position = {caption: len(self.tokens_UL) + i for i, caption in enumerate(distinct)}
        own_UL = model.tokenize(distinct)
        self.cut += cut_captions(model, distinct, own_UL)
        self._all_UL = torch.cat([self.tokens_UL, own_UL])
        self._flat_F = torch.tensor([position[caption] for each in of_images for caption in each])
        self._count_N = torch.tensor([len(each) for each in of_images])
        self._first_N = self._count_N.cumsum(0) - self._count_N

    @property
    def draws(self) -> int:
        """Far more than any image has captions: what is drawn is taken modulo their number."""
        return 1 << 30

    def of_samples(
        self, labels_B: Tensor, drawn_B: Tensor, images_B: Tensor
    ) -> tuple[Tensor, Tensor]:
        count_B, templates = self._count_N[images_B], len(self.templates)
        own_B = (self._first_N[images_B] + drawn_B % count_B.clamp_min(1)).clamp_max(
            len(self._flat_F) - 1
        )
        of_class_B = labels_B * templates + drawn_B % templates
        chosen_B = torch.where(count_B > 0, self._flat_F[own_B], of_class_B)
        unique_U, position_B = torch.unique(chosen_B, return_inverse=True)
        return self._all_UL[unique_U], position_B


def cut_captions(model: ClipModel, captions: Sequence[str], tokens_UL: Tensor) -> list[str]:
    """Those that end beyond the model's context: without their end their tokens are the same.

    Args:
        tokens_UL: of the captions.
    """
    context = tokens_UL.shape[1]
    # A token is at least a byte, besides those that begin and end a caption.
    long = [i for i, each in enumerate(captions) if len(each.encode()) > context - 3]
    # Two characters, so that a full stop alone does not count.
    shorter = [captions[i].rstrip()[:-2] for i in long]
    if not long:
        return []
    same_U = (model.tokenize(shorter) == tokens_UL[long]).all(dim=1)
    return [captions[i] for i, same in zip(long, same_U.tolist(), strict=True) if same]


def caption_names(classes: Sequence[str], prompts: PromptSpec) -> tuple[str, ...]:
    """What each class is called in a caption: as the spec says, else without underscores.

    Classes that are all WordNet ids of ImageNet have the names that CLIP was published with.
    """
    given = prompts.class_names or {}
    if are_imagenet(classes):
        given = imagenet_names() | given
    return tuple(given.get(name, name.replace("_", " ")) for name in classes)


def default_templates(dataset: str, classes: Sequence[str]) -> tuple[str, ...]:
    """The caption templates that go with a data set and its classes when a spec names none."""
    if dataset == DIGITS:
        return digits.TEMPLATES
    if dataset.startswith(FASHION):
        return fashion.TEMPLATES
    return imagenet_templates() if are_imagenet(classes) else DEFAULT_TEMPLATES


@torch.no_grad()
def zero_shot_head(model: ClipModel, captions: Captions) -> Tensor:
    """Class prototypes of shape (C, D), unit length, float32, on the model's device."""
    templates = len(captions.templates)
    features = [
        model.encode_captions(tokens.to(model.device))
        for tokens in captions.tokens_UL.split(CAPTIONS_PER_PASS)
    ]
    features_CTD = torch.cat(features).unflatten(0, (len(captions.names), templates))
    return F.normalize(features_CTD.mean(dim=1), dim=-1)
