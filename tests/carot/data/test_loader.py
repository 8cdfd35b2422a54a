from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from carot.data.crops import Resizing, random_crop
from carot.data.decoding.images import MAX_PIXELS, decode_image
from carot.data.formats.folder import open_folder
from carot.data.loader import TrainingBatches, Unreadable, evaluation_batches
from carot.errors import TooManyUnreadable, UnreadableImage
from carot.events import AnyEvent, Silent
from tests.carot.tiny import tiny_model, write_images


class Collecting:
    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def report(self, event: AnyEvent) -> None:
        self.events.append(event)


def training_batches(root: Path, **changes: object) -> TrainingBatches:
    source = open_folder(root, "train")
    model = tiny_model()
    settings: dict = {
        "batch_size": 4,
        "templates": 3,
        "crop_scale": 0.8,
        "seed": 7,
        "unreadable": Unreadable("images", source, Silent()),
        **changes,
    }
    return TrainingBatches(source, model.transform, model.resizing, **settings)


def test_a_step_is_the_same_whoever_asks_and_whenever(tmp_path: Path) -> None:
    write_images(tmp_path / "train")
    batches = training_batches(tmp_path)
    straight = list(batches.steps(0, 2 * batches.steps_per_epoch))
    late = list(training_batches(tmp_path).steps(3, 5))
    for first, second in zip(straight[3:5], late, strict=True):
        assert torch.equal(first.images_NCHW, second.images_NCHW)
        assert torch.equal(first.labels_N, second.labels_N)
        assert torch.equal(first.templates_N, second.templates_N)
    epochs = [
        torch.cat([b.indices_N for b in straight[: batches.steps_per_epoch]]),
        torch.cat([b.indices_N for b in straight[batches.steps_per_epoch :]]),
    ]
    assert not torch.equal(*epochs)
    assert all(len(set(e.tolist())) == len(e) for e in epochs)
    other_seed = next(training_batches(tmp_path, seed=8).steps(0, 1))
    assert not torch.equal(straight[0].indices_N, other_seed.indices_N)


def test_equal_images_are_cropped_differently_in_a_batch_and_in_the_next_epoch(
    tmp_path: Path,
) -> None:
    """Whoever decodes: what is drawn depends on the seed, the epoch and the place alone."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    for i in range(8):
        path = tmp_path / "train" / ("bright", "dark")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    crops = [b.images_NCHW for b in training_batches(tmp_path, crop_scale=0.3).steps(0, 4)]
    assert len({crop.numpy().tobytes() for crop in torch.cat(crops)}) == 16


def test_random_crop_keeps_its_share_of_the_area() -> None:
    # A horizontal and a vertical ramp: the range of values shows what part of the image is left.
    ramp = np.linspace(0, 255, 64, dtype=np.float32)
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1] = ramp[None, :], ramp[:, None]
    rng = np.random.default_rng(0)
    for _ in range(50):
        crop = np.asarray(random_crop(Image.fromarray(pixels), Resizing((64, 64)), 0.5, rng), float)
        wide, high = np.ptp(crop[..., 0]) / 255, np.ptp(crop[..., 1]) / 255
        assert 0.44 < wide * high <= 1.0
    image = Image.fromarray(pixels)
    assert random_crop(image, Resizing((64, 64)), 1.0, rng) is image


def test_unreadable_images_are_skipped_counted_and_named(tmp_path: Path) -> None:
    write_images(tmp_path / "test", each=100)
    (tmp_path / "test" / "dark" / "torn.png").write_bytes(b"")
    source = open_folder(tmp_path, "test")
    reporter = Collecting()
    unreadable = Unreadable("images", source, reporter)
    batches = list(evaluation_batches(source, tiny_model().transform, 64, unreadable))
    assert sum(len(b.labels_N) for b in batches) == 200
    [event] = reporter.events
    assert event.type == "warning"
    assert event.names == ("test/dark/torn.png",)
    assert "empty" in event.message


def test_more_than_one_percent_unreadable_ends_the_run_with_the_list(tmp_path: Path) -> None:
    write_images(tmp_path / "test", each=50)
    whole = (tmp_path / "test" / "dark" / "0.png").read_bytes()
    (tmp_path / "test" / "dark" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "test" / "dark" / "text.png").write_text("hello")
    (tmp_path / "test" / "dark" / "zero.png").write_bytes(b"")
    source = open_folder(tmp_path, "test")
    unreadable = Unreadable("images", source, Silent())
    with pytest.raises(TooManyUnreadable) as caught:
        list(evaluation_batches(source, tiny_model().transform, 256, unreadable))
    assert caught.value.names == [f"test/dark/{n}.png" for n in ("cut", "text", "zero")]
    assert "3 of 103" in caught.value.message


def test_a_hundred_megapixels_are_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    Image.new("1", (10_000, 10_000)).save(path)
    assert MAX_PIXELS < 10_000 * 10_000
    with pytest.raises(UnreadableImage, match="megapixels"):
        decode_image(path, "huge.png")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"<svg/>"])
def test_bytes_that_are_no_image(content: bytes) -> None:
    with pytest.raises(UnreadableImage):
        decode_image(content, "x")
