"""Everything `carot` raises on purpose.

CarotError                      something the caller can act on; `field` says where
├── SpecError                   a spec that cannot be run as written
├── ModelError                  a model that cannot be loaded or lacks what is asked of it
│   └── ProjectionNotFound      the image tower has no known final projection
├── DataError                   a data set that cannot be used
│   ├── UnreadableImage         one image that cannot be decoded
│   ├── TooManyUnreadable       more than the tolerated share of them
│   └── ClassMismatch           two class lists that should be equal are not
├── CheckpointError             a checkpoint folder that is missing, torn or of another kind
├── CalibrationError            a calibrator that cannot be fitted on what it was given
└── TrainingError               a run that went wrong (non-finite loss)
    ├── NoSpace                 the disk is full
    ├── Interrupted             the run was asked to stop; its last snapshot stands
    └── RankLost                another process of the same run has ended
"""

from __future__ import annotations


class CarotError(Exception):
    """Root of the tree. `field` is the dotted path of the spec field at fault, if there is one."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class SpecError(CarotError):
    """A spec that cannot be run as written."""


class ModelError(CarotError):
    """A model that cannot be loaded, or that lacks what is asked of it."""


class ProjectionNotFound(ModelError):
    """The image tower has no final linear projection that this project knows how to find."""


class DataError(CarotError):
    """A data set that cannot be used."""


class UnreadableImage(DataError):
    """One image that cannot be decoded; `name` says which."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


class TooManyUnreadable(DataError):
    """More than the tolerated share of a data set's images cannot be decoded."""

    def __init__(self, message: str, names: list[str]) -> None:
        super().__init__(message)
        self.names = names


class ClassMismatch(DataError):
    """Two class lists that should be equal are not."""


class CheckpointError(CarotError):
    """A checkpoint folder that is missing, torn or of another kind."""


class CalibrationError(CarotError):
    """A calibrator that cannot be fitted on what it was given."""


class TrainingError(CarotError):
    """A run that went wrong: a loss that is not finite, a disk without space."""


class NoSpace(TrainingError):
    """The disk is full; what stood there before still stands."""


class Interrupted(TrainingError):
    """The run was asked to stop; its last snapshot stands."""


class RankLost(TrainingError):
    """Another process of the same run has ended, and this one cannot go on without it."""
