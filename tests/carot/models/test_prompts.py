from __future__ import annotations

import torch

from carot.models.prompts import Captions, ImageCaptions
from tests.carot.tiny import tiny_model


def test_captions_of_images_are_drawn_from_their_own() -> None:
    model = tiny_model()
    names, templates = ("cat", "dog"), ("a {}", "the {}")
    own = (("a tom cat", "an old cat"), ("rex",), (), ("an old cat",))
    captions = ImageCaptions(model, names, templates, own)
    assert torch.equal(captions.tokens_UL, Captions(model, names, templates).tokens_UL)
    labels_B = torch.tensor([0, 0, 1, 1, 1, 1, 0])
    images_B = torch.tensor([0, 0, 1, 1, 2, 2, 3])
    drawn_B = torch.tensor([4, 7, 0, 9, 2, 3, 5])
    tokens_UL, position_B = captions.of_samples(labels_B, drawn_B, images_B)
    expected = ["a tom cat", "an old cat", "rex", "rex", "a dog", "the dog", "an old cat"]
    assert torch.equal(tokens_UL[position_B], model.tokenize(expected))
    assert len(tokens_UL) == 5
