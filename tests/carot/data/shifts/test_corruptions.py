"""The corruptions: deterministic in every process, of any size, worse with each severity."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from functools import cache
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import convolve

from carot.data.digits import handwritten_digits
from carot.data.shifts.corruptions import CORRUPTIONS, GRAIN, PARAMETERS, corrupt_image
from carot.data.shifts.pixels import SEVERITIES
from carot.data.shifts.shifts import SHIFTS
from carot.errors import DataError
from carot.specs import SHIFT_NAMES, ShiftName

RANDOM = ("gaussian_noise", "shot_noise", "impulse_noise", "motion_blur", "fog")


@cache
def scene(seed: int, width: int = 224, height: int = 224) -> Image.Image:
    """Something like a photograph: cloudy colours of every scale, and objects with edges."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for octave in range(1, 8):
        for channel in range(3):
            grid = Image.fromarray(rng.normal(size=(2**octave,) * 2).astype(np.float32))
            smooth = grid.resize((width, height), Image.Resampling.BICUBIC)
            total[..., channel] += np.asarray(smooth) / 2**octave
    total = (total - total.min()) / (total.max() - total.min())
    y, x = np.mgrid[:height, :width]
    for _ in range(6):
        row, column = rng.uniform(0, (height, width))
        radius = rng.uniform(0.05, 0.25) * min(width, height)
        inside = (y - row) ** 2 + (x - column) ** 2 < radius**2
        total[inside] = 0.3 * total[inside] + 0.7 * rng.uniform(size=3)
    return Image.fromarray((total * 255).astype(np.uint8))


def values(image: Image.Image) -> NDArray[np.float64]:
    return np.asarray(image, dtype=np.float64)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("size", [(32, 32), (224, 224), (50, 31), (31, 300), (600, 451), (1, 1)])
def test_size_and_mode_stay(name: str, size: tuple[int, int]) -> None:
    image = scene(0).resize(size)
    before = image.tobytes()
    corrupted = corrupt_image(image, name, 3, "a")
    assert (corrupted.size, corrupted.mode) == (size, "RGB")
    assert corrupt_image(image, name, 3, "a").tobytes() == corrupted.tobytes()
    assert image.tobytes() == before
    if min(size) > 1:
        assert corrupted.tobytes() != before


@pytest.mark.slow
def test_the_result_is_the_same_in_another_process() -> None:
    script = (
        "import hashlib; from carot.data.digits import handwritten_digits as d;"
        "from carot.data.shifts.corruptions import CORRUPTIONS, corrupt_image;"
        "images = [d('test').image(5), d('test').image(5).resize((300, 260))];"
        "digest = hashlib.sha256();"
        "[digest.update(corrupt_image(image, name, 4, 'k').tobytes())"
        " for name in CORRUPTIONS for image in images];"
        "print(digest.hexdigest())"
    )
    elsewhere = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    image, digest = handwritten_digits("test").image(5), hashlib.sha256()
    for name in CORRUPTIONS:
        for each in (image, image.resize((300, 260))):
            digest.update(corrupt_image(each, name, 4, "k").tobytes())
    assert elsewhere.stdout.decode().strip() == digest.hexdigest()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_key_and_not_the_order_of_calls_decides(name: str) -> None:
    image = scene(1).resize((64, 64))
    keys = [f"key-{index}" for index in range(4)]
    forwards = {key: corrupt_image(image, name, 4, key).tobytes() for key in keys}
    backwards = {key: corrupt_image(image, name, 4, key).tobytes() for key in reversed(keys)}
    assert forwards == backwards
    assert len(set(forwards.values())) == (len(keys) if name in RANDOM else 1)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("kind", ["digits", "scenes", "large"])
def test_each_severity_is_further_from_the_clean_image(name: str, kind: str) -> None:
    if kind == "digits":
        source = handwritten_digits("train")
        images = [source.image(index) for index in range(40)]
    elif kind == "scenes":
        images = [scene(seed) for seed in range(6)]
    else:
        images = [scene(seed, 450, 300) for seed in range(6)]
    distances = [
        np.mean(
            [
                np.square(
                    values(corrupt_image(image, name, severity, f"{i}")) - values(image)
                ).mean()
                for i, image in enumerate(images)
            ]
        )
        for severity in SEVERITIES
    ]
    assert distances[0] > 0
    assert all(after > 1.05 * before for before, after in pairwise(distances))


@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "impulse_noise", "jpeg"])
def test_a_large_photograph_is_as_noisy_to_a_model_as_a_small_one(name: str) -> None:
    """Noise of single pixels would be averaged away when the image is scaled down."""
    large, shares = scene(3, 4 * GRAIN, 4 * GRAIN), []
    for image in (large, large.resize((GRAIN, GRAIN), Image.Resampling.BOX)):
        clean, corrupted = (
            values(each.resize((GRAIN, GRAIN), Image.Resampling.BOX))
            for each in (image, corrupt_image(image, name, 4, "k"))
        )
        shares.append(np.square(corrupted - clean).mean())
    assert shares[0] == pytest.approx(shares[1], rel=0.15)


def test_noise_has_the_strength_that_the_table_says() -> None:
    grey = Image.new("RGB", (200, 200), (128, 128, 128))
    for severity in SEVERITIES:
        at = severity - 1
        changed = {
            name: values(corrupt_image(grey, name, severity, "k")) / 255
            for name in ("gaussian_noise", "shot_noise", "impulse_noise")
        }
        if severity < 4:  # beyond, much is clipped
            deviation = changed["gaussian_noise"].std()
            assert deviation == pytest.approx(PARAMETERS["gaussian_noise"][at], rel=0.05)
            # A Poisson number of mean m has the variance m.
            variance = (128 / 255) / PARAMETERS["shot_noise"][at]
            assert changed["shot_noise"].var() == pytest.approx(variance, rel=0.05)
        hit = np.isin(changed["impulse_noise"], (0.0, 1.0)).all(axis=2)
        assert hit.mean() == pytest.approx(PARAMETERS["impulse_noise"][at], rel=0.1)
        assert (changed["impulse_noise"][~hit] == 128 / 255).all()


def test_defocus_is_a_convolution_with_a_disc() -> None:
    image = scene(2, 60, 48)
    radius = PARAMETERS["defocus_blur"][4] * 48
    y, x = np.mgrid[-6:7, -6:7]
    kernel = np.clip(radius + 0.5 - np.sqrt(x**2 + y**2), 0, 1)
    expected = np.stack(
        [
            convolve(values(image)[..., channel], kernel / kernel.sum(), mode="nearest")
            for channel in range(3)
        ],
        axis=2,
    )
    assert np.abs(values(corrupt_image(image, "defocus_blur", 5, "k")) - expected).max() <= 0.51


def test_a_point_moves_along_a_line_of_the_length_in_the_table() -> None:
    dot = np.zeros((101, 101, 3), dtype=np.uint8)
    dot[50, 50] = 255
    for key in map(str, range(5)):
        moved = values(corrupt_image(Image.fromarray(dot), "motion_blur", 3, key))[..., 0]
        row, column = np.nonzero(moved)
        weight = moved[row, column]
        spread = np.cov(np.stack([row, column]), aweights=weight, ddof=0)
        narrow, wide = np.linalg.eigvalsh(spread)
        assert np.average(row, weights=weight) == pytest.approx(50, abs=0.3)
        # An even line of length l has the variance l² / 12.
        assert np.sqrt(12 * wide) == pytest.approx(PARAMETERS["motion_blur"][2] * 101, rel=0.1)
        assert narrow < 0.5


def test_brightness_keeps_the_hue_and_contrast_the_mean() -> None:
    colour = Image.new("RGB", (9, 9), (80, 40, 20))
    raised = values(corrupt_image(colour, "brightness", 2, "k"))[0, 0]
    assert raised[0] == pytest.approx(80 + 255 * PARAMETERS["brightness"][1], abs=0.6)
    assert raised / raised[0] == pytest.approx([1, 0.5, 0.25], abs=0.01)
    black = Image.new("RGB", (9, 9))
    assert len(set(values(corrupt_image(black, "brightness", 2, "k")).ravel())) == 1
    image = scene(4)
    flat = corrupt_image(image, "contrast", 4, "k")
    assert values(flat).mean(axis=(0, 1)) == pytest.approx(values(image).mean(axis=(0, 1)), abs=0.1)
    ratios = values(flat).std(axis=(0, 1)) / values(image).std(axis=(0, 1))
    assert ratios == pytest.approx(PARAMETERS["contrast"][3], abs=0.01)


def test_squares_are_as_many_along_the_shorter_side_as_the_table_says() -> None:
    for size in ((280, 280), (560, 280)):
        image = corrupt_image(scene(5, *size), "pixelate", 4, "k")
        rows = values(image)[:, 0]
        assert (np.abs(np.diff(rows, axis=0)).sum(axis=1) > 0).sum() <= 9
        assert (values(image)[:28, :28] == values(image)[0, 0]).all()


def test_the_tables_are_complete_and_monotone() -> None:
    assert set(PARAMETERS) == set(CORRUPTIONS)
    for row in PARAMETERS.values():
        assert len(set(row)) == len(SEVERITIES)
        assert list(row) in (sorted(row), sorted(row, reverse=True))


def test_they_are_shifts_of_a_spec_and_no_shift_has_the_name_of_one() -> None:
    assert set(get_args(ShiftName)) == {*SHIFTS, "printed", *CORRUPTIONS}
    assert len(get_args(ShiftName)) == len(SHIFTS) + 1 + len(CORRUPTIONS)
    assert SHIFT_NAMES == SHIFTS


def test_unknown_names_and_severities_are_named() -> None:
    with pytest.raises(DataError, match="gaussian_noise, shot_noise") as caught:
        corrupt_image(Image.new("RGB", (8, 8)), "rain", 1, "k")
    assert caught.value.field == "shift"
    with pytest.raises(DataError, match="1 to 5") as caught:
        corrupt_image(Image.new("RGB", (8, 8)), "fog", 6, "k")
    assert caught.value.field == "severity"
