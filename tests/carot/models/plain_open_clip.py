"""A process that knows open_clip and none of this project: logits of the folders it is told.

One line of JSON for each line of its input, a folder's path. There is no hub here and no cache of
it; `CLASSES` and `images` are what both sides score.
"""

from __future__ import annotations

import json
import sys
import warnings

import open_clip
import torch

import tests.carot.models.tiny_trunks  # noqa: F401  # timm's own come with timm

CLASSES = ("bright", "dark")
TEMPLATE = "a photo of a {}."


def images(size: int | tuple[int, int]) -> torch.Tensor:
    height, width = (size, size) if isinstance(size, int) else size
    return torch.rand(3, 3, height, width, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits_of(folder: str) -> list[list[float]]:
    name = f"local-dir:{folder}"
    module = open_clip.create_model(name).eval()
    tokens = open_clip.get_tokenizer(name)([TEMPLATE.format(each) for each in CLASSES])
    text = torch.nn.functional.normalize(module.encode_text(tokens), dim=-1)
    features = torch.nn.functional.normalize(
        module.encode_image(images(module.visual.image_size)), dim=-1
    )
    found: list[list[float]] = (module.logit_scale.exp() * features @ text.t()).tolist()
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        print(json.dumps(logits_of(line.strip())), flush=True)
