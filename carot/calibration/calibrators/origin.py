"""Where a calibrator comes from: what its caller knows, and what every fit writes down of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from carot.calibration.label_sets import label_set_hash


class Origin(TypedDict, total=False):
    """Named arguments of every fit.

    Attributes:
        logit_scale: exp(s) that is already in the logits, by default 1.
        classes: names of the label set, kept as a hash; by default none.
        split: where the images come from, by default "calibration".
    """

    logit_scale: float
    classes: Sequence[str]
    split: str


def origin_fields(origin: Origin) -> dict[str, Any]:
    """The fields of a `Calibrator` that its origin sets."""
    return {
        "split": origin.get("split", "calibration"),
        "logit_scale": origin.get("logit_scale", 1.0),
        "label_set_hash": label_set_hash(origin.get("classes", ())),
    }
