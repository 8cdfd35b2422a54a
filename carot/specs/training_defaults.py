"""Learning rate, epochs and batch size where a job does not say them.

Rates of CLIP's own sizes are those of CaRot (NeurIPS 2024), A.3; those of carot-mini and of trained
heads, and the number of steps, were measured (docs/methods.md has the table).
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from carot.specs.adapters import LoraSpec
from carot.specs.methods import Method
from carot.specs.training import TrainingOptions, TrainingSpec
from carot.warnings import CodedWarning

HEAD_RATE = 1e-2
"""Of a head on frozen features, whatever the model (Kumar et al., ICLR 2022)."""
HEAD_ONLY = "linear_probe"
ADAPTERS = 10
"""Times the rate of the weights themselves."""
STEPS = 300
"""Fewest optimizer steps that a run is given."""
EPOCHS = (10, 50)
"""Fewest and most passes, whatever the number of steps."""
FAR = 10
"""From which factor on a rate is told of."""
STEPS_PER_EPOCH = 8
"""Fewest, by which the batch of a small data set is bounded."""


class Size(NamedTuple):
    """What models of one size are trained with.

    Attributes:
        batch_size: largest batch.
    """

    learning_rate: float
    batch_size: int


SMALL = Size(5e-4, 128)
"""Trained from scratch on small pictures, with a few million weights: carot-mini."""
BASE = Size(1e-5, 128)
LARGE = Size(1e-5, 64)
HUGE = Size(1e-5, 32)
HUGE_PARTS = frozenset(["H", "e", "E", "g", "gopt", "bigG", "SO400M", "xxlarge", "RN50x64"])
LARGE_PARTS = frozenset(["L", "L2", "XL", "large", "xlarge", "RN50x16"])
SMALL_NAME = "carot-mini"
FEW_PARAMETERS = 5_000_000


def size_of(architecture: str, parameters: int | None = None) -> Size:
    """By an open_clip name; one that says no size is taken for CLIP's base size.

    Args:
        parameters: of the image tower, where they are known: names of folders say nothing.
    """
    if architecture.startswith(SMALL_NAME) or (parameters or FEW_PARAMETERS) < FEW_PARAMETERS:
        return SMALL
    parts = set(re.split("[-_]", architecture))
    if parts & HUGE_PARTS:
        return HUGE
    return LARGE if parts & LARGE_PARTS else BASE


def complete_training(
    options: TrainingOptions,
    method: Method,
    architecture: str,
    images: int,
    parameters: int | None = None,
    adapters: LoraSpec | None = None,
) -> TrainingSpec:
    """What is left open, chosen.

    Args:
        architecture: of the model to start from.
        images: of the training split.
        parameters: of its image tower, where they are known.
        adapters: what trains in place of the towers' weights, if anything does.
    """
    size = size_of(architecture, parameters)
    batch = options.batch_size or min(size.batch_size, _power_of_two(images / STEPS_PER_EPOCH))
    steps = math.ceil(max(images, 1) / batch)
    epochs = options.epochs or min(max(math.ceil(STEPS / steps), EPOCHS[0]), EPOCHS[1])
    usual = _usual_rate(method, size, adapters)
    said = options.model_dump(exclude={"batch_size", "epochs", "learning_rate"})
    return TrainingSpec(
        **said, batch_size=batch, epochs=epochs, learning_rate=options.learning_rate or usual
    )


def rate_warnings(
    settings: TrainingSpec,
    method: Method,
    architecture: str,
    parameters: int | None = None,
    adapters: LoraSpec | None = None,
) -> list[CodedWarning]:
    """One where the rate is far from what models of this size are trained with."""
    usual = _usual_rate(method, size_of(architecture, parameters), adapters)
    rate = settings.learning_rate
    if usual / FAR < rate < usual * FAR or method.name == "zero_shot":
        return []
    message = (
        f"a learning rate of {rate:g} is far from {usual:g}, the default for {architecture} "
        f"with method {method.name}{' and adapters' if adapters else ''}"
    )
    return [CodedWarning(code="unusual_learning_rate", message=message)]


def _usual_rate(method: Method, size: Size, adapters: LoraSpec | None) -> float:
    if method.name == HEAD_ONLY:
        return HEAD_RATE
    return size.learning_rate * (ADAPTERS if adapters else 1)


def _power_of_two(number: float) -> int:
    """The largest that is no larger, at least 2."""
    return int(2 ** max(1, math.floor(math.log2(max(number, 2)))))
