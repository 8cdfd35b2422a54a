from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from carot.data.order import epoch_order
from carot.data.source import ArraySource, Blocks, ShiftedSource, SubsetSource

SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=40)
SEEDS = st.integers(0, 1000)


def blocks_of(sizes: list[int], window: int) -> Blocks:
    ends = [0, *accumulate(sizes)]
    return Blocks(tuple(range(a, b) for a, b in pairwise(ends)), window)


@given(SIZES, st.integers(1, 45), SEEDS, st.integers(0, 50))
def test_every_image_once_an_epoch(sizes: list[int], window: int, seed: int, epoch: int) -> None:
    blocks = blocks_of(sizes, window)
    order = epoch_order(sum(sizes), blocks, seed, epoch)
    assert sorted(order.tolist()) == list(range(sum(sizes)))
    again = epoch_order(sum(sizes), blocks, seed, epoch)
    assert torch.equal(order, again)


@given(SIZES, st.integers(1, 10), SEEDS)
def test_no_block_is_met_again_after_its_window(sizes: list[int], window: int, seed: int) -> None:
    blocks = blocks_of(sizes, window)
    owner = [number for number, block in enumerate(blocks.ranges) for _ in block]
    order = [owner[i] for i in epoch_order(sum(sizes), blocks, seed, 0).tolist()]
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for position, block in enumerate(order):
        first.setdefault(block, position)
        last[block] = position
    for position in range(len(order)):
        opened = [b for b in first if first[b] <= position <= last[b]]
        assert len(opened) <= window


@given(st.integers(1, 200), SEEDS, st.integers(0, 50))
def test_without_blocks_the_order_is_what_it_always_was(images: int, seed: int, epoch: int) -> None:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    expected = torch.randperm(images, generator=generator)
    assert torch.equal(epoch_order(images, None, seed, epoch), expected)
    whole = blocks_of([1] * images, images)  # all of them are held at once
    assert torch.equal(epoch_order(images, whole, seed, epoch), expected)


def test_seeds_and_epochs_differ_and_images_of_a_window_are_mixed() -> None:
    blocks = blocks_of([10] * 30, 5)
    orders = [epoch_order(300, blocks, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(not torch.equal(a, b) for i, a in enumerate(orders) for b in orders[:i])
    for order in orders:
        owners = (order[:50] // 10).tolist()
        assert len(set(owners)) == 5
        changes = sum(a != b for a, b in pairwise(owners))
        assert changes > 25  # in blocks it would be 4


@pytest.mark.parametrize(
    "ranges", [(range(1, 3),), (range(2), range(3, 5)), (range(2), range(2, 2)), (range(0, 4, 2),)]
)
def test_blocks_cover_a_source(ranges: tuple[range, ...]) -> None:
    with pytest.raises(AssertionError):
        Blocks(ranges, 1)


# Sources of sources ---------------------------------------------------------------------------


def source(sizes: list[int]) -> ArraySource:
    images = sum(sizes)
    pixels = np.zeros((images, 2, 2), dtype=np.uint8)
    made = ArraySource(
        pixels, np.zeros(images, np.int64), ("a", "b"), list(map(str, range(images)))
    )
    made.blocks = blocks_of(sizes, 3)
    return made


@given(SIZES, st.data())
def test_blocks_of_a_subset(sizes: list[int], data: st.DataObject) -> None:
    base = source(sizes)
    assert base.blocks is not None
    chosen = sorted(data.draw(st.sets(st.integers(0, sum(sizes) - 1))))
    subset = SubsetSource(base, chosen)
    assert subset.blocks is not None
    assert subset.blocks.window == 3
    met = [[chosen[i] for i in block] for block in subset.blocks.ranges]
    slow = [[i for i in block if i in chosen] for block in base.blocks.ranges]
    assert met == [block for block in slow if block]


def test_a_subset_in_another_order_has_no_blocks() -> None:
    base = source([3, 3])
    assert SubsetSource(base, [4, 1]).blocks is None
    assert SubsetSource(base, [1, 1]).blocks is None
    base.blocks = None
    assert SubsetSource(base, [1, 4]).blocks is None


def test_a_shift_keeps_the_blocks() -> None:
    base = source([3, 3])
    assert ShiftedSource(base, lambda image, key: image).blocks == base.blocks
