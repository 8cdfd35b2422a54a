"""What is said of a glyph: the class alone, or the class with its colours and its flaw.

`CLASS_TEMPLATES` are the zero-shot templates of the bundled digits, so that the text tower knows
them; `FREE_TEMPLATES` name colours too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from carot.data.digits import CLASSES
from carot.data.digits import TEMPLATES as CLASS_TEMPLATES

FREE_TEMPLATES = (
    "a {ink} {name} on a {ground} background",
    "the digit {name} in {ink} on {ground}",
    "a photo of a {ink} number {name}, {ground} background",
    "{ink} {name} on {ground}",
    "the {flaw} digit {name} in {ink}",
    "a {flaw} picture of a {ink} {name} on a {ground} background",
)
FLAWS = ("clean", "blurry", "noisy", "partly covered", "faded")


def class_captions(rng: np.random.Generator) -> list[str]:
    """One caption per class, all from one template."""
    template = CLASS_TEMPLATES[rng.integers(len(CLASS_TEMPLATES))]
    return [template.format(name) for name in CLASSES]


def free_captions(
    labels: Sequence[int],
    inks: Sequence[str],
    grounds: Sequence[str],
    flaws: Sequence[int],
    rng: np.random.Generator,
) -> list[str]:
    """One caption per image, all in one free template: two captions that differ then disagree."""
    template = FREE_TEMPLATES[rng.integers(len(FREE_TEMPLATES))]
    return [
        template.format(name=CLASSES[label], ink=ink, ground=ground, flaw=FLAWS[flaw])
        for label, ink, ground, flaw in zip(labels, inks, grounds, flaws, strict=True)
    ]
