"""A checkpoint behind LitServe, for benchmarks/serve.py. Runs in an environment that has both.

python benchmarks/serve_litserve.py FOLDER PORT BATCH WAIT_SECONDS
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import litserve
import torch

from carot.data.decoding.images import decode_image
from carot.models.classifier import Classifier


class Api(litserve.LitAPI):  # type: ignore[misc]
    """What LitServe's pages show, with this project's classifier."""

    def setup(self, device: str) -> None:
        self.classifier = Classifier.load(Path(sys.argv[1]), "cpu")

    # Without annotations: LitServe makes of them what it takes and gives.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        content = request["images"].file.read()
        return self.classifier.preprocess(decode_image(content, "image"))

    def batch(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack([*inputs])

    @torch.inference_mode()
    def predict(self, images: torch.Tensor) -> Any:
        single = images.ndim == 3
        logits_NC = self.classifier.logits_of(images[None] if single else images)
        raw_NC, calibrated_NC = self.classifier.confidences(logits_NC)
        rows = list(zip(logits_NC, raw_NC, calibrated_NC, strict=True))
        return rows[0] if single else rows

    def unbatch(self, output: Any) -> Any:
        return output

    def encode_response(self, output):  # type: ignore[no-untyped-def]
        logits_C, raw_C, calibrated_C = output
        top = logits_C.argsort(descending=True)[:5].tolist()
        return {
            "top": [
                {
                    "label": self.classifier.classes[c],
                    "index": c,
                    "confidence": float(calibrated_C[c]),
                    "raw_confidence": float(raw_C[c]),
                    "logit": float(logits_C[c]),
                }
                for c in top
            ]
        }


def main() -> None:
    batch, wait_seconds = int(sys.argv[3]), float(sys.argv[4])
    api = Api(max_batch_size=batch, batch_timeout=wait_seconds if batch > 1 else 0.0)
    server = litserve.LitServer(
        api, accelerator="cpu", devices=1, workers_per_device=1, timeout=120
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[2]), log_level="error", generate_client_file=False
    )


if __name__ == "__main__":
    main()
