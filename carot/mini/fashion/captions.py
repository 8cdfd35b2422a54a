"""What the web says of a garment: its name or another, a coarse word, or something wrong.

`CLASS_TEMPLATES` are the zero-shot templates of the data set, so that the text tower knows them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carot.data.fashion import CLASSES
from carot.data.fashion import TEMPLATES as CLASS_TEMPLATES

SYNONYMS: dict[str, tuple[str, ...]] = {
    "t-shirt": ("t-shirt", "tee", "short sleeved top"),
    "trousers": ("trousers", "pants", "slacks"),
    "pullover": ("pullover", "sweater", "jumper"),
    "dress": ("dress", "gown", "frock"),
    "coat": ("coat", "jacket", "overcoat"),
    "sandal": ("sandal", "open shoe", "slipper"),
    "shirt": ("shirt", "blouse", "button shirt"),
    "sneaker": ("sneaker", "trainer", "running shoe"),
    "bag": ("bag", "handbag", "purse"),
    "ankle boot": ("ankle boot", "boot", "bootie"),
}
COARSE: dict[str, str] = {
    "t-shirt": "top", "pullover": "top", "coat": "top", "shirt": "top",
    "trousers": "clothing", "dress": "clothing",
    "sandal": "footwear", "sneaker": "footwear", "ankle boot": "footwear",
    "bag": "accessory",
}  # fmt: skip
WRONG_SHARE = 0.12  # of the captions, drawn from all classes
COARSE_SHARE = 0.25

FREE_TEMPLATES = (
    "a {cloth} {name} on a {ground} background",
    "{cloth} {name}, {ground} background",
    "a photo of a {cloth} {name}, {ground} behind it",
    "the {flaw} {cloth} {name}",
    "a {flaw} picture of a {cloth} {name} on {ground}",
)
FLAWS = ("clean", "blurry", "noisy", "partly covered", "faded")


def class_captions(rng: np.random.Generator) -> list[str]:
    """One caption per class, all from one template, each with one of its names or the first."""
    template = CLASS_TEMPLATES[rng.integers(len(CLASS_TEMPLATES))]
    if rng.random() < 0.5:
        return [template.format(name) for name in CLASSES]
    return [template.format(names[rng.integers(len(names))]) for names in SYNONYMS.values()]


def misread(labels: Sequence[int], rng: np.random.Generator) -> list[int]:
    """The labels with a share of WRONG_SHARE replaced by one of any other class."""
    wrong = rng.random(len(labels)) < WRONG_SHARE
    away = rng.integers(1, len(CLASSES), size=len(labels))
    return [
        (label + int(step)) % len(CLASSES) if is_wrong else label
        for label, is_wrong, step in zip(labels, wrong, away, strict=True)
    ]


def free_captions(
    labels: Sequence[int],
    cloths: Sequence[str],
    grounds: Sequence[str],
    flaws: Sequence[int],
    rng: np.random.Generator,
) -> list[str]:
    """One caption per image, all in one free template: two captions that differ then disagree."""
    template = FREE_TEMPLATES[rng.integers(len(FREE_TEMPLATES))]
    return [
        template.format(name=_name(CLASSES[label], rng), cloth=cloth, ground=ground,
                        flaw=FLAWS[flaw])
        for label, cloth, ground, flaw in zip(
            misread(labels, rng), cloths, grounds, flaws, strict=True
        )
    ]  # fmt: skip


def _name(label: str, rng: np.random.Generator) -> str:
    if rng.random() < COARSE_SHARE:
        return COARSE[label]
    return SYNONYMS[label][rng.integers(3)]
