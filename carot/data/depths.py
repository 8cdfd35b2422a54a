"""How the deep images of an opened data set are to be read, found by looking at some or all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from weakref import WeakKeyDictionary

from carot.data.decoding.depth import Depth
from carot.data.decoding.survey import DepthSurvey
from carot.data.source import EncodedSource, ImageSource, underlying
from carot.errors import UnreadableImage
from carot.events import Reporter, Warning

_SURVEYS: WeakKeyDictionary[ImageSource, DepthSurvey] = WeakKeyDictionary()
"""Of sources that are still open: a run reads the same one several times."""

PROBED = 256
"""Images looked at before a data set counts as one without deep images."""
THREADS = 4


def settle_depth(source: ImageSource, known: Depth, name: str, reporter: Reporter) -> None:
    """Have a source's deep images read as a model knows them, or else as they are.

    What was recognised in them is told when they are looked at first.

    Args:
        known: the depth of a checkpoint's card.
        name: of the data set, for warnings.
    """
    images = underlying(source)
    found = _SURVEYS.get(images)
    if found is None:
        found = _SURVEYS[images] = survey(images)
        for warning in found.warnings(name, known):
            reporter.report(Warning.of(warning))
    source.depth = known.filled_from(found.depth())


def survey(source: ImageSource) -> DepthSurvey:
    """What the source's deep images span.

    Where none of `PROBED` images, evenly chosen, is deep, no other is looked at. Where some are,
    all are, until nothing more can change: for 16 bits in full use that is soon.
    """
    found = DepthSurvey()
    encoded = underlying(source)
    if not isinstance(encoded, EncodedSource) or len(encoded) == 0:
        return found
    # Evenly within one block, where images are read in blocks: each would be read for one image.
    within = range(len(encoded)) if encoded.blocks is None else encoded.blocks.ranges[0]
    probed = within[:: max(1, len(within) // PROBED)]
    _take(found, encoded, probed)
    if found.deep == 0:
        return found
    seen = set(probed)
    rest = [index for index in range(len(encoded)) if index not in seen]
    for start in range(0, len(rest), PROBED):
        if found.decided:
            break
        _take(found, encoded, rest[start : start + PROBED])
    return found


def _take(found: DepthSurvey, source: EncodedSource, indices: range | list[int]) -> None:
    def look(index: int) -> DepthSurvey:
        one = DepthSurvey()
        with suppress(UnreadableImage):  # counted where it is used
            one.take(source.content(index), str(source.keys[index]))
        return one

    with ThreadPoolExecutor(THREADS) as pool:
        for one in pool.map(look, indices):
            found.add(one)
