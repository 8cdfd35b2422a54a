"""The scores that tell unseen classes from known ones, by name. Loads no torch."""

from __future__ import annotations

from typing import Literal, get_args

Score = Literal["confidence", "shift", "combined"]
SCORES: tuple[Score, ...] = get_args(Score)

ACCEPTED = 0.95
"""Share of images of the known classes that are to be accepted; the others are abstained from."""
