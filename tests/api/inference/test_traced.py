"""Towers without Python in them: the same numbers, or the tower itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from api.inference.traced import traced
from carot.models.clip import ClipModel, load_model
from carot.specs import ModelSpec


@pytest.fixture(scope="module")
def mini() -> ClipModel:
    return load_model(ModelSpec(architecture="carot-mini"))


class Odd(nn.Module):
    """A tower that does what a trace cannot say."""

    def __init__(self, *, refuses: bool) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.zeros(()))
        self._refuses = refuses

    def encode_image(self, images_NCHW: Tensor) -> Tensor:
        if self._refuses and torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            raise RuntimeError("not with me")
        several = len(images_NCHW) > 2
        return images_NCHW.flatten(1)[:, :4] + (1.0 if several else 0.0)


def test_a_trace_says_what_the_model_says_whatever_the_batch(mini: ClipModel) -> None:
    encode = traced(mini)
    assert isinstance(encode, torch.jit.ScriptModule)
    for size in (1, 2, 3, 7, 16):
        images = torch.randn(size, 3, *mini.image_size)
        with torch.inference_mode():
            assert torch.allclose(encode(images), mini.encode_images(images), atol=1e-6)


def test_a_trace_shares_the_weights(mini: ClipModel) -> None:
    encode = traced(mini)
    assert isinstance(encode, torch.jit.ScriptModule)
    own = {each.data_ptr() for each in mini.module.parameters()}
    assert {each.data_ptr() for each in encode.parameters()} == own


@pytest.mark.parametrize("refuses", [True, False])
def test_what_has_no_true_trace_runs_as_it_is(mini: ClipModel, refuses: bool) -> None:
    odd = replace(mini, module=Odd(refuses=refuses))
    encode = traced(odd)
    assert not isinstance(encode, torch.jit.ScriptModule)
    images = torch.randn(1, 3, *mini.image_size)
    assert torch.equal(encode(images), odd.encode_images(images))
