from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from carot.models.prompts import Captions, zero_shot_head
from carot.specs import FinetuneMethod, LinearProbeMethod, LpFtMethod
from carot.training.methods import Finetune, LinearProbe, LpFt, Method, build_method
from tests.carot.tiny import tiny_model
from tests.carot.training import reference
from tests.carot.training.methods.batches import LABELS, WIDTH, drawn, drawn_features, wide_model

KINDS: list[tuple[Any, Any]] = [
    (Finetune, FinetuneMethod),
    (LinearProbe, LinearProbeMethod),
    (LpFt, LpFtMethod),
]
IMAGES = torch.zeros(2, 3, 32, 32)


@pytest.mark.parametrize(("kind", "spec"), KINDS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_matches_a_slow_implementation(kind: Any, spec: Any, smoothing: float) -> None:
    head_CD = 7 * drawn(3, WIDTH, seed=2)
    method = kind(spec(label_smoothing=smoothing), wide_model(), 10, head_CD)
    features = drawn_features(requires_grad=True)

    def slow(at: Mapping[str, np.ndarray]) -> float:
        table = reference.similarities(at["images"], at["head"], 1.0)
        return reference.classify(table, LABELS, smoothing)

    loss = method.loss(features, None)
    leaves = {"images": features.images_BD, "head": method.classifier.weight}
    reference.check_slopes(loss.total, leaves, slow)
    assert torch.equal(method.classifier.weight.detach(), head_CD)
    assert torch.equal(method.outcome().head_CD, head_CD)


@pytest.mark.parametrize("spec", [s() for _, s in KINDS], ids=lambda s: s.name)
def test_the_head_starts_as_the_zero_shot_head(spec: Any) -> None:
    model = tiny_model()
    captions = Captions(model, ("a", "b", "c"), ("{}", "photo of {}"))
    expected = model.logit_scale.detach().exp() * zero_shot_head(model, captions)
    method = build_method(spec, model, captions, 10)
    assert torch.equal(method.outcome().head_CD, expected)  # type: ignore[arg-type]
    assert not method.uses_captions


def probe() -> tuple[Method, nn.Module]:
    model = wide_model()
    method = LinearProbe(LinearProbeMethod(), model, 10, drawn(3, WIDTH))
    model.module.train()
    return method, model.module


def test_only_the_head_trains_and_no_graph_of_a_tower_is_built() -> None:
    method, module = probe()
    assert [name for name, _ in method.parameters()] == ["classifier.weight"]
    assert not any(p.requires_grad for p in module.parameters())
    method.before_step(0)
    features = method.model.encode_images(IMAGES.double())
    assert not features.requires_grad


def test_a_frozen_tower_gathers_no_statistics() -> None:
    """Though the trainer puts the whole model into training mode."""
    method, module = probe()
    assert isinstance(module.visual, nn.Module)
    module.visual.ln_post = nn.BatchNorm1d(17).double()  # one channel a token
    statistics = module.visual.ln_post.running_mean
    assert statistics is not None
    before = statistics.clone()
    for step in range(2):
        module.train()
        method.before_step(step)
        method.model.encode_images(torch.rand(4, 3, 32, 32).double())
    assert torch.equal(statistics, before)
