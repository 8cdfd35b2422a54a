"""carot-mini: small enough, loadable as any CLIP, a good zero-shot model, reproducible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from carot.data.digits import CLASSES, TEMPLATES, handwritten_digits, printed_digits
from carot.data.shifts.shifts import shift_image
from carot.data.source import ShiftedSource, SubsetSource
from carot.mini import augment, pretrain
from carot.mini.captions import FLAWS, class_captions, free_captions
from carot.mini.evaluate import Mini, accuracy, load_mini
from carot.mini.glyphs import drop_odd_fonts, held_out_family, render_font
from carot.mini.strokes import MASK_SIZE, PEN_DIGITS, draw, pen_digits
from carot.models.mini import MODEL_FOLDERS


@pytest.fixture(scope="module")
def mini() -> Mini:
    return load_mini()


def test_the_folder_and_the_tower_are_small(mini: Mini) -> None:
    assert sum(path.stat().st_size for path in MODEL_FOLDERS["carot-mini"].iterdir()) <= 10 * 2**20
    assert sum(p.numel() for p in mini.model.visual.parameters()) <= 1_000_000
    rows, columns = mini.model.visual.proj.T.shape
    assert rows <= columns  # the transposed projection's Gram matrix can be the identity


def test_the_tokenizer_is_the_standard_one_and_short_enough_for_every_caption() -> None:
    tokenizer = open_clip.get_tokenizer(f"local-dir:{MODEL_FOLDERS['carot-mini']}")
    assert type(tokenizer) is open_clip.SimpleTokenizer
    longest = [template.format("seven") for template in TEMPLATES]
    rng = np.random.default_rng(0)
    for _ in range(20):
        longest += free_captions([7], ["purple"], ["yellow"], [FLAWS.index("partly covered")], rng)
    tokens = tokenizer(longest)
    assert tokens.shape[1] == pretrain.CONTEXT_LENGTH
    assert (tokens[:, -1] == 0).all()  # nothing was cut


def test_zero_shot_accuracy_stays_above_its_floor(mini: Mini) -> None:
    handwritten = SubsetSource(handwritten_digits("test"), range(256))
    assert accuracy(mini, handwritten) >= 0.85
    assert accuracy(mini, SubsetSource(printed_digits("test"), range(128))) >= 0.90


@pytest.mark.parametrize("name", ["inverted", "coloured", "rotation"])
def test_zero_shot_holds_under_shift(mini: Mini, name: str) -> None:
    base = SubsetSource(handwritten_digits("test"), range(128))
    shifted = ShiftedSource(base, lambda image, key: shift_image(image, name, 3, key))
    assert accuracy(mini, shifted) >= 0.75


def test_every_way_of_writing_leaves_ink_and_the_pen_is_deterministic() -> None:
    assert {digit.label for digit in PEN_DIGITS} == set(range(10))
    for digit in PEN_DIGITS:
        masks = draw(digit, 3, torch.Generator().manual_seed(1))
        again = draw(digit, 3, torch.Generator().manual_seed(1))
        assert masks.shape == (3, MASK_SIZE, MASK_SIZE)
        assert masks.dtype == np.uint8
        assert np.array_equal(masks, again)
        assert ((masks > 127).mean(axis=(1, 2)) > 0.01).all()


def test_held_out_families_are_known_by_their_files() -> None:
    assert held_out_family(Path("Comic Neue-Bold.otf")) == "comicneue"
    assert held_out_family(Path("Carlito-Italic.ttf")) == "carlito"
    assert held_out_family(Path("DejaVuSans.ttf")) is None


def test_a_file_that_is_no_font_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "torn.ttf").write_bytes(b"\0" * 64)
    assert render_font(tmp_path / "torn.ttf") is None


def test_fonts_of_pictures_are_dropped() -> None:
    rng = np.random.default_rng(0)
    digits_10HW = np.stack([pen_digits(1, 0)[0][i] for i in range(10)])
    noisy = [np.clip(digits_10HW + rng.normal(0, 20, digits_10HW.shape), 0, 255) for _ in range(9)]
    pictures = rng.permutation(digits_10HW[:1].ravel()).reshape(1, MASK_SIZE, MASK_SIZE)
    masks = np.stack([*noisy, np.repeat(pictures, 10, axis=0)]).astype(np.uint8)
    assert drop_odd_fonts(masks).tolist() == [True] * 9 + [False]


def test_batches_have_the_stated_shapes_and_are_deterministic() -> None:
    glyphs = pretrain.load_glyphs(pen_per_digit=8, seed=0, most_fonts=4)
    for plain in (True, False):
        batch = pretrain.draw_batch(glyphs, 16, plain, torch.Generator().manual_seed(3))
        again = pretrain.draw_batch(glyphs, 16, plain, torch.Generator().manual_seed(3))
        assert batch.images_NCHW.shape == (16, 3, augment.SIZE, augment.SIZE)
        assert 0 <= float(batch.images_NCHW.min()) <= float(batch.images_NCHW.max()) <= 1
        assert torch.equal(batch.images_NCHW, again.images_NCHW)
        captions, target_N = pretrain.describe(batch, np.random.default_rng(0))
        assert len(captions) == len(set(captions))
        for index, label in zip(target_N.tolist(), batch.labels_N.tolist(), strict=True):
            assert CLASSES[label] in captions[index].replace(",", " ").split()


def test_class_captions_share_one_template() -> None:
    captions = class_captions(np.random.default_rng(0))
    assert {c.replace(n, "{}") for c, n in zip(captions, CLASSES, strict=True)} <= set(TEMPLATES)


@pytest.mark.slow
def test_two_steps_of_pretraining_give_equal_loadable_models(tmp_path: Path) -> None:
    small = ["--steps", "2", "--batch-size", "8", "--pen-per-digit", "4", "--most-fonts", "4"]
    for name in ("first", "second"):
        pretrain.main(["--out", str(tmp_path / name), *small])
    weights = [
        (tmp_path / name / "open_clip_model.safetensors").read_bytes()
        for name in ("first", "second")
    ]
    assert weights[0] == weights[1]
    assert load_mini(tmp_path / "first").head_DC.shape == (64, 10)
