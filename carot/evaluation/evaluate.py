"""One pass over a data set: logits, labels and image features. No metrics here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from carot.data.loader import Unreadable, evaluation_batches
from carot.data.source import ImageSource
from carot.errors import DataError, Interrupted
from carot.events import Reporter
from carot.models.clip import ClipModel


@dataclass(frozen=True)
class Outputs:
    """What a model makes of a data set, on the CPU. N readable images, C classes, D width.

    Attributes:
        logits_NC: float32, unit image features times the head.
        labels_N: int64.
        features_ND: unit-length image features, float32.
        keys: the N images' names, in order.
        skipped: names of the images that could not be read.
    """

    logits_NC: Tensor
    labels_N: Tensor
    features_ND: Tensor
    keys: tuple[str, ...]
    skipped: tuple[str, ...]


@torch.no_grad()
def run_model(
    model: ClipModel,
    head_CD: Tensor,
    source: ImageSource,
    *,
    name: str,
    batch_size: int,
    reporter: Reporter,
    should_stop: Callable[[], bool],
) -> Outputs:
    """Logits and features of every readable image of `source`, in float32.

    Args:
        head_CD: class prototypes times the logit scale.

    Raises:
        TooManyUnreadable: more than 1 % of the images cannot be decoded.
        DataError: none can.
        Interrupted: `should_stop` said so.
    """
    model.module.eval()
    unreadable = Unreadable(name, source, reporter)
    features, labels, indices = [], [], []
    for batch in evaluation_batches(source, model.transform, batch_size, unreadable):
        if should_stop():
            raise Interrupted(f"stopped while evaluating {name}")
        features.append(model.encode_images(batch.images_NCHW.to(model.device)))
        labels.append(batch.labels_N)
        indices.append(batch.indices_N)
    if not features:
        raise DataError(f"{name}: no image can be read")
    features_ND = torch.cat(features)
    logits_NC = features_ND @ head_CD.to(features_ND).t()
    keys = tuple(source.keys[i] for i in torch.cat(indices).tolist())
    return Outputs(
        logits_NC.cpu(),
        torch.cat(labels),
        features_ND.cpu(),
        keys,
        tuple(sorted(unreadable.reasons)),
    )
