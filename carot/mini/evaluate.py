"""Zero-shot accuracy of a local CLIP on the bundled digits, clean and shifted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from carot.data.digits import CLASSES, SPLITS, TEMPLATES, handwritten_digits, printed_digits
from carot.data.shifts.shifts import SEVERITIES, SHIFTS, distort_printed, shift_image
from carot.data.source import ImageSource, ShiftedSource
from carot.models.mini import MODEL_FOLDERS


@dataclass(frozen=True)
class Mini:
    """A loaded model with what its images and captions go through.

    Attributes:
        head_DC: unit text features of the C classes times exp(logit_scale).
    """

    model: open_clip.CLIP
    preprocess: Callable[[Image.Image], Tensor]
    head_DC: Tensor


@torch.no_grad()
def load_mini(folder: Path = MODEL_FOLDERS["carot-mini"]) -> Mini:
    """Loads a local-dir folder and builds the zero-shot head of the ten digits."""
    name = f"local-dir:{folder}"
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    model.eval()
    tokenizer = open_clip.get_tokenizer(name)
    columns = []
    for class_name in CLASSES:
        captions = [template.format(class_name) for template in TEMPLATES]
        features_TD = model.encode_text(tokenizer(captions), normalize=True)
        columns.append(F.normalize(features_TD.mean(dim=0), dim=0))
    return Mini(model, preprocess, torch.stack(columns, dim=1) * model.logit_scale.exp())


@torch.no_grad()
def logits(mini: Mini, source: ImageSource, batch_size: int = 256) -> Tensor:
    """Zero-shot logits (N, 10) of every image of a source."""
    parts = []
    for start in range(0, len(source), batch_size):
        indices = range(start, min(start + batch_size, len(source)))
        images_NCHW = torch.stack([mini.preprocess(source.image(index)) for index in indices])
        parts.append(mini.model.encode_image(images_NCHW, normalize=True) @ mini.head_DC)
    return torch.cat(parts)


def accuracy(mini: Mini, source: ImageSource) -> float:
    """Share of images whose largest logit is their label's, in [0, 1]."""
    right_N = logits(mini, source).argmax(dim=1) == torch.from_numpy(source.labels)
    return float(right_N.float().mean())


def _shifted(base: ImageSource, name: str, severity: int) -> ImageSource:
    def change(image: Image.Image, key: str) -> Image.Image:
        if name == "printed":
            return distort_printed(image, severity, key)
        return shift_image(image, name, severity, key)

    return ShiftedSource(base, change)


def _row(mini: Mini, base: ImageSource, name: str) -> dict[str, float]:
    return {str(level): accuracy(mini, _shifted(base, name, level)) for level in SEVERITIES}


def measure(mini: Mini) -> dict[str, float | dict[str, float]]:
    """All figures of the model card: accuracies in [0, 1].

    Returns:
        `handwritten_all`, `handwritten_test`, `printed_all`, `printed_test`; per shift, and for
        "printed", the test split's accuracy at each severity ("1" to "5"); `shift_mean` over the
        six shifts and all severities, `shift_mean_with_printed` over the seven.
    """
    handwritten, printed = handwritten_digits("test"), printed_digits("test")
    result: dict[str, float | dict[str, float]] = {
        "handwritten_test": accuracy(mini, handwritten),
        "handwritten_all": _over_splits(mini, handwritten_digits),
        "printed_test": accuracy(mini, printed),
        "printed_all": _over_splits(mini, printed_digits),
    }
    rows = {name: _row(mini, handwritten, name) for name in SHIFTS}
    rows["printed"] = _row(mini, printed, "printed")
    result.update(rows)
    means = [sum(row.values()) / len(row) for row in rows.values()]
    result["shift_mean"] = sum(means[:-1]) / len(SHIFTS)
    result["shift_mean_with_printed"] = sum(means) / len(means)
    return result


def _over_splits(mini: Mini, sources: Callable[[str], ImageSource]) -> float:
    parts = [sources(split) for split in SPLITS]
    right = sum(accuracy(mini, part) * len(part) for part in parts)
    return right / sum(map(len, parts))
