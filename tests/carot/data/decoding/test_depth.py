"""Images of more than eight bits, and transparent ones, against the same picture in eight bits."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from carot.data.decoding.decoder_client import DecodeLimits, Decoder
from carot.data.decoding.depth import INTEGERS, UNKNOWN, Depth, span_of
from carot.data.decoding.images import decode_image, has_contrast, to_rgb
from carot.data.decoding.survey import DepthSurvey
from tests.carot.data.written_depths import colour_tiff, deep_png, tiff

GREY = (np.arange(20 * 30).reshape(20, 30) % 256).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)
TWELVE = Depth(integers=INTEGERS[1])
OF_12_BITS = (GREY.astype(float) / 255 * 4095).round().astype(np.uint16)
COLOUR_OF_12_BITS = (COLOUR.astype(float) / 255 * 4095).round().astype(np.uint16)


def decoded(content: bytes, depth: Depth = UNKNOWN) -> NDArray[Any]:
    return np.asarray(decode_image(content, "x", depth))


def assert_shows(pixels: NDArray[Any], picture: NDArray[np.uint8]) -> None:
    """The picture, to the rounding of one level."""
    expected = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("content", "picture"),
    [
        pytest.param(deep_png(GREY.astype(int) * 257), GREY, id="png 16"),
        pytest.param(deep_png(COLOUR.astype(int) * 257), COLOUR, id="png 16 rgb"),
        pytest.param(tiff(GREY.astype(np.uint16) * 257), GREY, id="tiff 16"),
        pytest.param(
            tiff(GREY.astype(np.uint16) * 257, compression="tiff_lzw"), GREY, id="tiff 16 lzw"
        ),
        pytest.param(colour_tiff(COLOUR.astype(int) * 257), COLOUR, id="tiff 16 rgb"),
        pytest.param(colour_tiff(COLOUR.astype(int) * 257, ">"), COLOUR, id="tiff 16 rgb MM"),
        pytest.param(
            colour_tiff(COLOUR.astype(int) * 257, packed=True), COLOUR, id="tiff 16 rgb deflated"
        ),
        pytest.param(tiff(GREY.astype(np.int32) * (2**32 // 512)), GREY // 2, id="tiff 32"),
        pytest.param(tiff(GREY.astype(np.int32)), GREY, id="8 in 32"),
        pytest.param(tiff((GREY / 255).astype(np.float32)), GREY, id="0 to 1"),
        pytest.param(tiff((GREY / 127.5 - 1).astype(np.float32)), GREY, id="-1 to 1"),
        pytest.param(tiff(GREY.astype(np.float32)), GREY, id="0.0 to 255.0"),
        pytest.param(tiff((GREY * 257.0).astype(np.float32)), GREY, id="0.0 to 65535.0"),
        pytest.param(tiff((GREY * 9.0 - 1000).astype(np.float32)), GREY, id="by its own extremes"),
        pytest.param(deep_png(OF_12_BITS, 12), GREY, id="sBIT at the lower end"),
        pytest.param(deep_png(OF_12_BITS * 16 + OF_12_BITS // 256, 12), GREY, id="sBIT as PNG has"),
        pytest.param(deep_png(COLOUR_OF_12_BITS, 12), COLOUR, id="sBIT in colour"),
        pytest.param(tiff(OF_12_BITS, {281: 4095}), GREY, id="MaxSampleValue"),
    ],
)
def test_a_file_is_scaled_by_its_range_or_by_what_it_says(
    content: bytes, picture: NDArray[np.uint8]
) -> None:
    assert_shows(decoded(content), picture)


@pytest.mark.parametrize(
    ("content", "picture"),
    [
        (deep_png(OF_12_BITS), GREY),
        (tiff(OF_12_BITS), GREY),
        (deep_png(COLOUR_OF_12_BITS), COLOUR),
        (colour_tiff(COLOUR_OF_12_BITS), COLOUR),
        (colour_tiff(COLOUR_OF_12_BITS, ">"), COLOUR),
        (colour_tiff(COLOUR_OF_12_BITS, packed=True), COLOUR),
    ],
)
def test_twelve_bits_in_sixteen_are_what_the_set_says(
    content: bytes, picture: NDArray[np.uint8]
) -> None:
    assert decoded(content).max() <= 16, "a single file says nothing: its full range"
    assert_shows(decoded(content, TWELVE), picture)


def test_an_image_that_passes_the_sets_range_is_of_another_kind() -> None:
    pixels = decoded(deep_png(GREY.astype(int) * 257), TWELVE)
    assert_shows(pixels, GREY)


def test_beyond_a_range_of_the_sets_own_numbers_are_cut() -> None:
    values = np.array([[-2000.0, -1000.0, 0.0, 1000.0, 5000.0, np.nan]], np.float32)
    pixels = decoded(tiff(values), Depth(reals=(-1000.0, 1000.0)))
    assert pixels[0, :, 0].tolist() == [0, 0, 128, 255, 255, 0]


def test_what_the_file_says_comes_before_the_set() -> None:
    assert_shows(decoded(tiff(OF_12_BITS, {281: 4095}), Depth(integers=INTEGERS[2])), GREY)


def test_a_picture_that_pillow_holds_already() -> None:
    held = Image.fromarray(OF_12_BITS)
    assert_shows(np.asarray(to_rgb(held, TWELVE)), GREY)
    assert_shows(np.asarray(to_rgb(Image.fromarray(GREY))), GREY)


@pytest.mark.parametrize(
    ("low", "high", "span"),
    [(0, 255, (0, 255)), (0, 256, (0, 4095)), (3, 4096, (0, 65535)), (-1024, 3071, (-1024, 3071))],
)
def test_the_smallest_usual_range_of_integers(low: int, high: int, span: tuple[int, int]) -> None:
    assert span_of("integers", low, high) == span


def surveyed(*contents: bytes) -> DepthSurvey:
    survey = DepthSurvey()
    for number, content in enumerate(contents):
        survey.take(content, str(number))
    return survey


def test_a_set_of_twelve_bits_is_recognised_and_said() -> None:
    survey = surveyed(deep_png(OF_12_BITS), deep_png(OF_12_BITS // 100), deep_png(OF_12_BITS * 0))
    assert survey.depth() == TWELVE
    (warning,) = survey.warnings("pets")
    assert warning.code == "image_depth"
    assert warning.message.startswith("pets: 3 images hold integers that never pass 4095")
    assert survey.warnings("pets", TWELVE) == []  # not up to the set


def test_one_image_that_passes_makes_it_sixteen() -> None:
    survey = surveyed(deep_png(OF_12_BITS), deep_png(OF_12_BITS * 2))
    assert survey.depth() == Depth(integers=INTEGERS[2])
    assert survey.decided
    assert survey.warnings("pets") == []


def test_files_that_say_their_range_and_eight_bits_tell_nothing() -> None:
    file = io.BytesIO()
    Image.fromarray(GREY).save(file, "PNG")
    survey = surveyed(deep_png(OF_12_BITS, 12), file.getvalue(), b"junk")
    assert (survey.deep, survey.depth()) == (1, UNKNOWN)


@pytest.mark.parametrize(("ink", "ground"), [((0, 0, 0), 255), ((255, 255, 255), 0)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_composed_where_it_shows(
    ink: tuple[int, int, int], ground: int, mode: str
) -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., :3] = ink
    pixels[2:6, 2:6, 3] = 255
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.quantize(4) if mode == "P" else image.convert(mode)).save(file, "PNG")
    shown = decoded(file.getvalue())
    assert shown[0, 0].tolist() == [ground] * 3
    assert shown[4, 4].tolist() == list(ink)


def test_half_transparent_ink_is_mixed_with_the_ground() -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :, 3] = 128
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    assert decoded(file.getvalue())[:, 0, 0].tolist() == [127, 127, 255, 255]


@pytest.mark.parametrize("opaque", [4095, 65535])
def test_colours_of_twelve_bits_may_have_an_alpha_of_sixteen(opaque: int) -> None:
    alpha = np.full((20, 30, 1), opaque)
    alpha[:5] = 0
    content = deep_png(np.concatenate([COLOUR_OF_12_BITS, alpha], axis=2))
    assert surveyed(content).depth() == TWELVE
    shown = decoded(content, TWELVE)
    assert (shown[:5] == 255).all()
    assert_shows(shown[5:], COLOUR[5:])


def test_what_has_contrast() -> None:
    assert not has_contrast(Image.new("RGB", (9, 9), (200, 10, 90)))
    assert has_contrast(Image.fromarray(COLOUR))


def test_a_child_reads_it_alike() -> None:
    async def decode() -> list[Image.Image]:
        decoder = Decoder(DecodeLimits())
        try:
            return [
                (await decoder.decode(content, "x", depth=depth)).image()
                for content, depth in [
                    (deep_png(OF_12_BITS), TWELVE),
                    (tiff((GREY / 255).astype(np.float32)), UNKNOWN),
                ]
            ]
        finally:
            decoder.close()

    for image in asyncio.run(decode()):
        assert_shows(np.asarray(image), GREY)
