"""The shifts: deterministic in every process, of any size, worse with each severity."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from carot.data.digits import handwritten_digits, printed_digits
from carot.data.shifts.shifts import (
    PARAMETERS,
    PRINTED_PARAMETERS,
    SEVERITIES,
    SHIFTS,
    distort_printed,
    shift_image,
)
from carot.data.source import ImageSource
from carot.errors import DataError


def _change(image: Image.Image, name: str, severity: int, key: str) -> Image.Image:
    if name == "printed":
        return distort_printed(image, severity, key)
    return shift_image(image, name, severity, key)


ALL = (*SHIFTS, "printed")


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("size", [(32, 32), (224, 224), (50, 31)])
def test_size_and_mode_stay(name: str, size: tuple[int, int]) -> None:
    image = handwritten_digits("test").image(0).resize(size)
    shifted = _change(image, name, 3, "a")
    assert (shifted.size, shifted.mode) == (size, "RGB")
    assert shifted.tobytes() != image.tobytes()
    assert _change(image, name, 3, "a").tobytes() == shifted.tobytes()


@pytest.mark.slow
def test_the_result_is_the_same_in_another_process() -> None:
    script = (
        "import hashlib; from carot.data.digits import handwritten_digits as d;"
        "from carot.data.shifts.shifts import SHIFTS, shift_image, distort_printed;"
        "image = d('test').image(5); digest = hashlib.sha256();"
        "[digest.update(shift_image(image, name, 4, 'k').tobytes()) for name in SHIFTS];"
        "digest.update(distort_printed(image, 4, 'k').tobytes()); print(digest.hexdigest())"
    )
    elsewhere = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    image, digest = handwritten_digits("test").image(5), hashlib.sha256()
    for name in ALL:
        digest.update(_change(image, name, 4, "k").tobytes())
    assert elsewhere.stdout.decode().strip() == digest.hexdigest()


@pytest.mark.parametrize("name", [name for name in SHIFTS if name != "inverted"])
def test_the_key_and_not_the_order_of_calls_decides(name: str) -> None:
    image = handwritten_digits("test").image(1)
    keys = [f"key-{index}" for index in range(4)]
    forwards = {key: shift_image(image, name, 5, key).tobytes() for key in keys}
    backwards = {key: shift_image(image, name, 5, key).tobytes() for key in reversed(keys)}
    assert forwards == backwards
    if name != "blur":
        assert len(set(forwards.values())) == len(keys)


def _distance(source: ImageSource, name: str, severity: int) -> float:
    """Mean distance of 40 images from their shifted selves; for "coloured", of their contrast."""
    distances = []
    for index in range(40):
        image = source.image(index)
        before = np.asarray(image.convert("L"), dtype=np.float64)
        after = _change(image, name, severity, source.keys[index]).convert("L")
        pixels = np.asarray(after, dtype=np.float64)
        lost = before.std() - pixels.std()
        distances.append(lost if name == "coloured" else np.abs(before - pixels).mean())
    return float(np.mean(distances))


@pytest.mark.parametrize("name", ALL)
def test_each_severity_is_worse_than_the_one_before(name: str) -> None:
    source = printed_digits("train") if name == "printed" else handwritten_digits("train")
    distances = [_distance(source, name, severity) for severity in SEVERITIES]
    assert distances == sorted(distances)
    assert len(set(distances)) == len(distances)


def test_the_tables_are_complete_and_monotone() -> None:
    assert set(PARAMETERS) == set(SHIFTS)
    for row in PARAMETERS.values():
        assert len(row) == 5
        assert list(row) in (sorted(row), sorted(row, reverse=True))
    assert len(PRINTED_PARAMETERS) == 5


def test_full_inversion_is_the_negative_and_the_third_severity_is_mostly_there() -> None:
    image = handwritten_digits("test").image(0)
    negative = 255 - np.asarray(image)
    assert np.array_equal(np.asarray(shift_image(image, "inverted", 5, "k")), negative)
    third = np.asarray(shift_image(image, "inverted", 3, "k"), dtype=np.float64)
    assert third[0, 0].mean() > 128  # the ground is bright


@pytest.mark.parametrize("severity", [0, 6, -1])
@pytest.mark.parametrize("name", ["blur", "printed"])
def test_an_unknown_severity_is_named(name: str, severity: int) -> None:
    with pytest.raises(DataError, match="1 to 5") as caught:
        _change(Image.new("RGB", (8, 8)), name, severity, "k")
    assert caught.value.field == "severity"


def test_an_unknown_shift_is_named_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="inverted, coloured") as caught:
        shift_image(Image.new("RGB", (8, 8)), "fog", 1, "k")
    assert caught.value.field == "shift"
