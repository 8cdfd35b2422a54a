"""A fitted temperature as data: what a checkpoint keeps and the service serves. Loads no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Calibrator(BaseModel):
    """A fitted temperature and where it comes from. It divides logits; the ranking stays.

    Attributes say on how many images (`n`) of which `split` it was fitted, the mean negative
    log-likelihood there before and after (nats), whether the search converged, and whether the
    temperature ran to a bound because the data do not determine it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["temperature"] = "temperature"
    temperature: float = Field(gt=0.0, allow_inf_nan=False)
    split: str
    n: int
    logit_scale: float
    label_set_hash: str
    nll_before: float
    nll_after: float
    converged: bool
    at_bound: bool


def label_set_hash(classes: Sequence[str]) -> str:
    """SHA-256 of the ordered class names: a calibrator holds for one label set only."""
    return hashlib.sha256(json.dumps(list(classes)).encode()).hexdigest()
