"""Images of one split that look like an image of an earlier one: re-encoded, resized, cropped.

Each image is kept as a grey thumbnail of 32 x 32 pixels, 1 KiB. Those of a split are compared with
all of the earlier splits, in blocks: first by the correlation of their 16 x 16 means, as they are
and mirrored, which leaves `CANDIDATES` for each; then by the best correlation of the thumbnails
over a few centre crops of either. What counts as near depends on the set: among handwritten digits
unrelated images correlate at 0.99, among photographs at 0.7. So an image is a near copy where its
best candidate is nearly equal, or is so near, and so much nearer than its other candidates, as
chance does not make it, judged by all images that are looked up.

Shapes: N images looked up, M images looked in, K candidates, S crops, P pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carot.data.splits import SPLITS

SIDE = 32
CANDIDATES = 6
CROPS = (1.0, 0.97, 0.94, 0.91, 0.88)
"""Shares of width and height that a centre crop keeps."""
EQUAL = 0.995
"""From this correlation on images are near copies in any set."""
ALIKE = 0.9
"""Below this they are in none."""
GAP_DEVIATIONS, NEAR_DEVIATIONS = 5.0, 2.75
"""From the median of all images: of the gap to the other candidates, and of the nearness."""
LEAST_GAP, MOST_GAP = 1.6, 3.0
"""Bounds of the gap that is more than chance, in nats of 1 - r."""
FLAT = 4.0
"""Standard deviation of grey levels up to which a thumbnail shows nothing to compare."""
LOOKED_UP, LOOKED_IN = 512, 8192
"""Images of a block."""
MOST_IMAGES = 250_000
"""Beyond this many no near copies are looked for."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class NearCopy:
    """An image, and the one of an earlier split that it looks like.

    Attributes:
        likeness: correlation of the two, at most 1.
    """

    split: str
    key: str
    other_split: str
    other_key: str
    likeness: float


class NearCopies:
    """Gathers thumbnails, and finds near copies across splits."""

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._thumbnails = bytearray()

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, key: str, thumbnail: NDArray[np.uint8]) -> None:
        """Keep one image; `thumbnail` has `SIDE` x `SIDE` grey levels. Flat ones are passed over.

        What is beyond `MOST_IMAGES` is not kept.
        """
        assert thumbnail.shape == (SIDE, SIDE)
        if thumbnail.std() > FLAT and len(self) <= MOST_IMAGES:
            self._keys.append(key)
            self._thumbnails += thumbnail.tobytes()

    def find(self, splits: Mapping[str, str]) -> list[NearCopy]:
        """Each image that is a near copy with what it is one of, the most alike first.

        Args:
            splits: the split of each key.
        """
        if len(self) > MOST_IMAGES:
            return []
        places: dict[str, list[int]] = {split: [] for split in SPLITS}
        for place, key in enumerate(self._keys):
            places[splits[key]].append(place)
        found: list[NearCopy] = []
        for number, split in enumerate(SPLITS):
            earlier = [(each, place) for each in SPLITS[:number] for place in places[each]]
            if places[split] and earlier:
                found += self._among(split, places[split], earlier)
        return sorted(found, key=lambda copy: (-copy.likeness, copy.key))

    def _among(
        self, split: str, own: Sequence[int], earlier: Sequence[tuple[str, int]]
    ) -> Iterator[NearCopy]:
        inside_MHW = self._pixels([place for _, place in earlier])
        best_N, scores_NK = _compare(self._pixels(own), inside_MHW)
        for index in np.flatnonzero(_are_near(scores_NK)).tolist():
            other_split, other = earlier[best_N[index]]
            likeness = min(1.0, float(scores_NK[index, 0]))
            key, other_key = self._keys[own[index]], self._keys[other]
            yield NearCopy(split, key, other_split, other_key, likeness)

    def _pixels(self, places: Sequence[int]) -> NDArray[np.uint8]:
        pixels = np.frombuffer(self._thumbnails, np.uint8).reshape(-1, SIDE, SIDE)
        chosen: NDArray[np.uint8] = pixels[np.asarray(places)]
        return chosen


def _compare(
    looked_up_NHW: NDArray[np.uint8], inside_MHW: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], Floats]:
    """Position of the best candidate (N,), and correlations of all, best first, (N, K)."""
    count = min(CANDIDATES, len(inside_MHW))
    means_MP = _means(inside_MHW)
    best, scores = [], []
    for first in range(0, len(looked_up_NHW), LOOKED_UP):
        block_NHW = looked_up_NHW[first : first + LOOKED_UP]
        candidates_NK = _candidates(block_NHW, means_MP, count)
        scores_NK = _scores(block_NHW, inside_MHW, candidates_NK)
        order_NK = np.argsort(-scores_NK, axis=1)
        best.append(np.take_along_axis(candidates_NK, order_NK[:, :1], axis=1)[:, 0])
        scores.append(np.take_along_axis(scores_NK, order_NK, axis=1))
    return np.concatenate(best), np.concatenate(scores)


def _candidates(block_NHW: NDArray[np.uint8], means_MP: Floats, count: int) -> NDArray[np.int64]:
    """The `count` images that correlate best at low resolution, in any order."""
    straight_NP, mirrored_NP = _means(block_NHW), _means(block_NHW[:, :, ::-1])
    kept_NK = np.empty((len(block_NHW), 0), np.int64)
    values_NK = np.empty((len(block_NHW), 0), np.float32)
    for first in range(0, len(means_MP), LOOKED_IN):
        inside_PM = means_MP[first : first + LOOKED_IN].T
        found_NM = np.maximum(straight_NP @ inside_PM, mirrored_NP @ inside_PM)
        places_NM = np.broadcast_to(np.arange(found_NM.shape[1]) + first, found_NM.shape)
        if found_NM.shape[1] > count:
            top_NK = np.argpartition(found_NM, -count, axis=1)[:, -count:]
            found_NM = np.take_along_axis(found_NM, top_NK, axis=1)
            places_NM = top_NK + first
        values_NK = np.concatenate([values_NK, found_NM], axis=1)
        kept_NK = np.concatenate([kept_NK, places_NM], axis=1)
        if kept_NK.shape[1] > count:
            top_NK = np.argpartition(values_NK, -count, axis=1)[:, -count:]
            values_NK = np.take_along_axis(values_NK, top_NK, axis=1)
            kept_NK = np.take_along_axis(kept_NK, top_NK, axis=1)
    return kept_NK


def _scores(
    block_NHW: NDArray[np.uint8], inside_MHW: NDArray[np.uint8], candidates_NK: NDArray[np.int64]
) -> Floats:
    """The best correlation of each candidate over crops of either image, and mirrored."""
    crops = [_crops(block_NHW), _crops(block_NHW[:, :, ::-1])]
    scores_NK = np.full(candidates_NK.shape, -1.0, np.float32)
    for k in range(candidates_NK.shape[1]):
        others_NSP = _crops(inside_MHW[candidates_NK[:, k]])
        for own_NSP in crops:
            cropped_NS = np.einsum("nsp,np->ns", own_NSP, others_NSP[:, 0])
            whole_NS = np.einsum("np,nsp->ns", own_NSP[:, 0], others_NSP)
            both_N = np.maximum(cropped_NS.max(axis=1), whole_NS.max(axis=1))
            scores_NK[:, k] = np.maximum(scores_NK[:, k], both_N)
    return scores_NK


def _are_near(scores_NK: Floats) -> NDArray[np.bool_]:
    """Which images are near copies of their best candidate, whose score stands first."""
    best_N = scores_NK[:, 0]
    near_N = best_N >= EQUAL
    if scores_NK.shape[1] < CANDIDATES:
        return near_N  # too few others to say what chance does
    logs_NK = -np.log(np.maximum(1.0 - scores_NK, 1e-6))
    best_logs_N, gaps_N = logs_NK[:, 0], logs_NK[:, 0] - logs_NK[:, -1]
    is_apart_N = gaps_N >= np.clip(_limit(gaps_N, GAP_DEVIATIONS), LEAST_GAP, MOST_GAP)
    is_nearer_N = best_logs_N >= _limit(best_logs_N, NEAR_DEVIATIONS)
    near: NDArray[np.bool_] = near_N | ((best_N >= ALIKE) & is_apart_N & is_nearer_N)
    return near


def _limit(values_N: Floats, deviations: float) -> float:
    """So many deviations above the median, both of them blind to a few outliers."""
    median = float(np.median(values_N))
    # Of a normal distribution the deviation is 1.4826 times the median absolute one.
    return median + deviations * 1.4826 * float(np.median(np.abs(values_N - median)))


def _means(images_NHW: NDArray[np.uint8]) -> Floats:
    """Means of 2 x 2 pixels, of unit length around their mean."""
    half = SIDE // 2
    means_NP = np.empty((len(images_NHW), half * half), np.float32)
    for first in range(0, len(images_NHW), LOOKED_IN):  # a block at a time, at little memory
        block_NHW = images_NHW[first : first + LOOKED_IN].astype(np.float32)
        means = block_NHW.reshape(-1, half, 2, half, 2).mean(axis=(2, 4))
        means_NP[first : first + LOOKED_IN] = _unit(means.reshape(len(block_NHW), -1))
    return means_NP


def _crops(images_NHW: NDArray[np.uint8]) -> Floats:
    """Centre crops resized to `SIDE`, of unit length around their mean: (N, S, P)."""
    floats_NHW = images_NHW.astype(np.float32)
    crops = [_SAMPLING[s] @ floats_NHW @ _SAMPLING[s].T for s in range(len(CROPS))]
    stacked: Floats = np.stack(crops, axis=1).astype(np.float32)
    return _unit(stacked.reshape(len(images_NHW), len(CROPS), -1))


def _unit(vectors: Floats) -> Floats:
    centred = vectors - vectors.mean(axis=-1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=-1, keepdims=True)
    unit: Floats = (centred / np.maximum(lengths, 1e-6)).astype(np.float32)
    return unit


def _sampling(share: float) -> Floats:
    """The linear map from `SIDE` pixels to as many in their middle `share`."""
    places = (np.arange(SIDE) + 0.5) * share + SIDE * (1 - share) / 2 - 0.5
    lower = np.floor(places).astype(int)
    matrix = np.zeros((SIDE, SIDE), np.float32)
    for row, (low, rest) in enumerate(zip(lower.tolist(), (places - lower).tolist(), strict=True)):
        matrix[row, min(max(low, 0), SIDE - 1)] += 1 - rest
        matrix[row, min(max(low + 1, 0), SIDE - 1)] += rest
    return matrix


_SAMPLING = [_sampling(share) for share in CROPS]
