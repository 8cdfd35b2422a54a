"""Live calibration over HTTP of a checkpoint that a real fine-tuning made, on what it kept itself:
images like the calibration split, and the same images shifted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from api.models.calibrators import EVIDENCE_FILE
from carot.data.digits import handwritten_digits
from carot.data.shifts.shifts import shift_image
from carot.events import Silent
from carot.run import execute
from carot.specs import FinetuneSpec
from store.artifacts.bundles import pack
from tests.acceptance.harness import png
from tests.api.helpers import Start, context_of
from tests.api.rows import add_checkpoint, add_report

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CLASSES = ("zero", "one", "four")
BATCH = 30


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """carot-mini, fine-tuned for some steps on three handwritten digits."""
    images = tmp_path_factory.mktemp("digits")
    splits = {"train": digits("train")[:200], "validation": digits("validation")}
    # Every second of the same images: exchangeable.
    for split, some in (splits | {"calibration": digits("test")[::2], "test": like()}).items():
        for i, (name, image) in enumerate(some):
            folder = images / split / name
            folder.mkdir(parents=True, exist_ok=True)
            image.save(folder / f"{i}.png")
    folder = tmp_path_factory.mktemp("run")
    spec = FinetuneSpec.model_validate(
        {
            "model": {"architecture": "carot-mini"},
            "dataset": f"folder:{images}",
            "method": {"name": "carot"},
            "training": {"epochs": 1, "batch_size": 20, "learning_rate": 1e-5},
        }
    )
    execute(spec, folder, Silent())
    return folder


def digits(split: str) -> list[tuple[str, Image.Image]]:
    """The three digits of a split of the bundled data, in its order."""
    source = handwritten_digits(split)
    named = [(source.classes[label], i) for i, label in enumerate(source.labels)]
    return [(name, source.image(i)) for name, i in named if name in CLASSES]


def like() -> list[tuple[str, Image.Image]]:
    """Images like the calibration images, none of which the run has learnt from."""
    return digits("test")[1::2]


class Model:
    """The checkpoint behind an alias of a service."""

    def __init__(self, client: TestClient, run: Path) -> None:
        self.client = client
        self.document = json.loads((run / "report.json").read_text())
        self._run = run

    def point(self) -> None:
        """Let the alias point to the checkpoint as one of its own, of which nothing was asked."""
        context, classes = context_of(self.client), tuple(self.document["classes"])
        content = b"".join(pack(self._run / "checkpoint"))
        checkpoint = add_checkpoint(context, content, classes)
        add_report(context, checkpoint, self.document)
        answer = self.client.put("/models/digits", json={"checkpoint": checkpoint})
        assert answer.status_code == 200, answer.text
        named = self.client.post(
            "/predict",
            files={"images": ("0.png", png(like()[0][1]))},
            data={"checkpoint": checkpoint},
        )
        assert named.status_code == 200, named.text  # it is in memory: the alias has moved

    def show(self, images: Sequence[Image.Image]) -> None:
        for start in range(0, len(images), BATCH):
            some = images[start : start + BATCH]
            files = [("images", (f"{i}.png", png(image))) for i, image in enumerate(some)]
            answer = self.client.post("/predict", files=files, data={"model": "digits"})
            assert answer.status_code == 200, answer.text

    def look(self) -> Any:
        answer = self.client.get("/models/digits/calibration")
        assert answer.status_code == 200, answer.text
        return answer.json()


def test_shifted_images_drift_and_others_do_not(start: Start, run: Path) -> None:
    kept = json.loads((run / "checkpoint" / EVIDENCE_FILE).read_text())
    images = [image for _, image in like()]
    shifted = [shift_image(each, "noise", 5, str(i)) for i, each in enumerate(images)]
    model, found = Model(start(), run), {}
    for name, some in {"like": images, "shifted": shifted}.items():
        model.point()
        model.show(some)
        found[name] = model.look()
        assert found[name]["window"]["predictions"] == len(images)
    for drift in ("confidence_drift", "shift_drift"):
        same, other = (found[name]["live"][drift] for name in ("like", "shifted"))
        assert same["calibration_images"] == other["calibration_images"] == kept["n"]
        assert same["p_value"] > 0.001
        assert other["p_value"] < 1e-6
        assert other["psi"] > other["psi_null_p95"]
        assert other["ks"] > 2 * same["ks"]
    [row] = [each for each in model.document["datasets"] if each["in_distribution"]]
    for each in found.values():
        assert each["reported"]["reliability"] == row["reliability_calibrated"]
        assert each["reported"]["ece"] == row["calibrated"]["ece"]
