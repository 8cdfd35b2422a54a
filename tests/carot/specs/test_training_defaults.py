"""Rate, epochs and batch where a job says none."""

from __future__ import annotations

import pytest

from carot.specs import (
    CarotMethod,
    FinetuneMethod,
    FinetuneSpec,
    LinearProbeMethod,
    TrainingOptions,
    TrainingSpec,
    ZeroShotMethod,
    complete_training,
    rate_warnings,
)
from carot.specs.training_defaults import BASE, HUGE, LARGE, SMALL, Size, size_of

CAROT = CarotMethod()


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ("carot-mini", SMALL),
        ("ViT-B-16", BASE),
        ("RN50-quickgelu", BASE),
        ("a folder of somebody", BASE),
        ("ViT-L-14-336", LARGE),
        ("convnext_large_d", LARGE),
        ("xlm-roberta-large-ViT-H-14", HUGE),
        ("EVA01-g-14", HUGE),
        ("ViT-SO400M-14-SigLIP", HUGE),
        ("convnext_xxlarge", HUGE),
    ],
)
def test_the_size_of_a_model_is_in_its_name(architecture: str, size: Size) -> None:
    assert size_of(architecture) == size


def test_what_is_said_stands_and_the_rest_is_chosen() -> None:
    made = complete_training(TrainingOptions(epochs=3, seed=7), CAROT, "carot-mini", 1078)
    assert (made.epochs, made.seed, made.batch_size, made.learning_rate) == (3, 7, 128, 5e-4)
    said = TrainingSpec(epochs=2, batch_size=4, learning_rate=0.25)
    assert complete_training(said, CAROT, "ViT-B-16", 10**6) == said


def test_few_images_get_small_batches_and_more_epochs() -> None:
    few, many = (
        complete_training(TrainingOptions(), CAROT, "ViT-B-16", images)
        for images in (100, 1_281_167)
    )
    assert (few.batch_size, few.epochs) == (8, 24)  # 13 steps an epoch
    assert (many.batch_size, many.epochs) == (128, 10)
    for images in range(2, 300):
        made = complete_training(TrainingOptions(), CAROT, "ViT-B-16", images)
        assert 2 <= made.batch_size <= max(2, images // 8)
        assert 10 <= made.epochs <= 50


def test_a_head_alone_has_a_rate_of_its_own() -> None:
    made = complete_training(TrainingOptions(), LinearProbeMethod(), "ViT-B-16", 1000)
    assert made.learning_rate == 1e-2
    assert rate_warnings(made, LinearProbeMethod(), "ViT-B-16") == []


def test_a_rate_far_from_the_default_is_told() -> None:
    slow = TrainingSpec(learning_rate=1e-5)
    [warning] = rate_warnings(slow, FinetuneMethod(), "carot-mini")
    assert warning.code == "unusual_learning_rate"
    assert "1e-05" in warning.message
    assert "0.0005" in warning.message
    assert rate_warnings(slow, FinetuneMethod(), "ViT-B-16") == []
    assert rate_warnings(slow, ZeroShotMethod(), "carot-mini") == []


def test_a_spec_leaves_open_what_it_does_not_say_and_reads_back_whole() -> None:
    said = {"kind": "finetune", "model": {"architecture": "carot-mini"}, "dataset": "folder:x"}
    spec = FinetuneSpec.model_validate(said)
    assert (spec.training.epochs, spec.training.learning_rate) == (None, None)
    settings = complete_training(spec.training, spec.method, "carot-mini", 100)
    whole = spec.with_training(settings)
    assert whole.training.epochs == settings.epochs
    assert FinetuneSpec.model_validate_json(whole.model_dump_json()) == whole
