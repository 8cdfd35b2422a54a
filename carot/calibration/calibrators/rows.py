"""Logits for an iterative search: in chunks, float64, minus each row's maximum.

Shape suffixes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from carot.calibration.metrics.inputs import slices


class Chunk(NamedTuple):
    """Some rows. `logits_NC` and `power_NC` are overwritten by the next chunk.

    Attributes:
        logits_NC: less the row's maximum, in units of `Rows.unit`; at most 0.
        power_NC: as much room, for what is made of them.
        labels_N: class indices.
        top_N: index of the first maximum; None unless asked for.
    """

    logits_NC: Tensor
    power_NC: Tensor
    labels_N: Tensor
    top_N: Tensor | None


@dataclass(frozen=True)
class Rows:
    """Rows of logits with their labels; the logits stay as they are.

    Attributes:
        parts: (logits_NC, labels_N) of one or more sets of images.
        top: of each part the row's maximum, float64, and which class has it, if that was asked for.
        unit: what logits are divided by.
    """

    parts: Sequence[tuple[Tensor, Tensor]]
    top: Sequence[tuple[Tensor, Tensor | None]]
    unit: float

    @classmethod
    def of(
        cls, parts: Sequence[tuple[Tensor, Tensor]], unit: float, *, with_top: bool = False
    ) -> Rows:
        """Of sets that `check` lets pass; `with_top` lets chunks say which class is on top."""
        top: list[tuple[Tensor, Tensor | None]] = []
        for logits_NC, _ in parts:
            if with_top:
                highest_N, top_N = logits_NC.max(dim=1)
                top.append((highest_N.double(), top_N))
            else:
                top.append((logits_NC.amax(dim=1).double(), None))
        return cls(parts, top, unit)

    @property
    def images(self) -> int:
        return sum(len(labels_N) for _, labels_N in self.parts)

    def thinned(self, images: int) -> Rows:
        """Every k-th row, `images` of them or somewhat more."""
        step = max(1, self.images // images)
        return Rows(
            [(logits_NC[::step], labels_N[::step]) for logits_NC, labels_N in self.parts],
            [(value[::step], None if at is None else at[::step]) for value, at in self.top],
            self.unit,
        )

    def __iter__(self) -> Iterator[Chunk]:
        """All rows, chunk by chunk, in order."""
        for (logits_NC, labels_N), (highest_N, top_N) in zip(self.parts, self.top, strict=True):
            buffers: tuple[Tensor, Tensor] | None = None
            for part in slices(logits_NC):
                given_NC = logits_NC[part]
                if buffers is None:
                    first = torch.empty_like(given_NC, dtype=torch.float64, requires_grad=False)
                    buffers = first, torch.empty_like(first)
                room_NC, power_NC = (each[: len(given_NC)] for each in buffers)
                room_NC.copy_(given_NC).sub_(highest_N[part, None])
                if self.unit != 1.0:
                    room_NC.div_(self.unit)
                index_N = None if top_N is None else top_N[part]
                yield Chunk(room_NC, power_NC, labels_N[part].long(), index_N)
