"""What a data set's images of more than eight bits span: decided once, for all of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from carot.data.decoding.deep_files import Samples, samples_of
from carot.data.decoding.depth import INTEGERS, REALS, UNKNOWN, Depth, Kind, Span, is_deep, span_of
from carot.data.decoding.images import FORMATS, check_size
from carot.warnings import CodedWarning

NAMES: Mapping[Kind, str] = {"integers": "integers", "reals": "numbers with a fraction"}


class DepthSurvey:
    """Gathers the extremes of deep images whose files do not say what is black and white.

    Attributes:
        deep: how many images of more than eight bits were met, whatever their files say.
        counts: how many of each kind have told nothing.
    """

    def __init__(self) -> None:
        self.deep = 0
        self.counts: dict[Kind, int] = {}
        self._extremes: dict[Kind, Span] = {}
        self._only_16_bit = True

    def take(self, content: bytes | Path, name: str) -> None:
        """Look at one image; one that cannot be read is another's to tell."""
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        try:
            with Image.open(stream, formats=FORMATS) as image:
                if not is_deep(image):
                    return
                check_size(image, name)
                samples = samples_of(image, content)
        # A decoder meets arbitrary bytes: whatever it raises means the same here.
        except Exception:  # noqa: BLE001
            return
        self.deep += 1
        if samples.declared is None:
            self._note(samples)

    def add(self, other: DepthSurvey) -> None:
        """What another has found, too."""
        self.deep += other.deep
        for kind, span in other._extremes.items():
            self._widen(kind, span, other.counts[kind])
        self._only_16_bit &= other._only_16_bit

    def _note(self, samples: Samples) -> None:
        self._widen(samples.kind, samples.extremes(), 1)
        self._only_16_bit &= samples.is_16_bit

    def _widen(self, kind: Kind, span: Span, images: int) -> None:
        before = self._extremes.get(kind, span)
        self._extremes[kind] = min(before[0], span[0]), max(before[1], span[1])
        self.counts[kind] = self.counts.get(kind, 0) + images

    @property
    def decided(self) -> bool:
        """Whether no further image can change what was found: 16 bits are in full use."""
        passes = self._extremes.get("integers", (0.0, 0.0))[1] > INTEGERS[1][1]
        return self._only_16_bit and passes

    def depth(self) -> Depth:
        """What the images span."""
        found = {kind: span_of(kind, *span) for kind, span in self._extremes.items()}
        return Depth(found.get("integers"), found.get("reals"))

    def warnings(self, name: str, known: Depth = UNKNOWN) -> list[CodedWarning]:
        """What was recognised and might be meant otherwise.

        Args:
            name: of the data set.
            known: what is not up to the set.
        """
        depth = self.depth()
        decided = {"integers": known.integers, "reals": known.reals}
        spans: dict[Kind, Span | None] = {"integers": depth.integers, "reals": depth.reals}
        return [
            CodedWarning(code="image_depth", message=f"{name}: {self._sentence(kind, span)}")
            for kind, span in spans.items()
            if span and decided[kind] is None and (span in INTEGERS[:2] or span not in REALS)
        ]

    def _sentence(self, kind: Kind, span: Span) -> str:
        found = f"{self.counts[kind]} images hold {NAMES[kind]}"
        if span in INTEGERS[:2]:
            bits = 8 if span == INTEGERS[0] else 12
            return f"{found} that never pass {span[1]:g}: they are read as {bits} bits"
        return f"{found}: {span[0]:g} is read as black and {span[1]:g} as white"
