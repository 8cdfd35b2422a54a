"""Real images for real models, and the truth about them: the handwritten test digits."""

from __future__ import annotations

import zipfile
from pathlib import Path

from carot.data.digits import handwritten_digits
from carot.data.shifts.shifts import shift_image
from tests.acceptance.harness import Deployment, png

LABELLED = 400
"""Predictions that get their labels, of those of the 542 test images."""

NIGHT = ("occlusion", 5)
"""Shift and severity of what the model of the night is asked about."""

EACH = 40
"""Images in one request, and labels."""


def images(*, shifted: bool = False) -> list[tuple[str, bytes, str]]:
    """The handwritten test images: name, PNG and class."""
    source = handwritten_digits("test")
    found = []
    for i, key in enumerate(source.keys):
        image = source.image(i)
        if shifted:
            image = shift_image(image, *NIGHT, key)
        found.append((f"{i}.png", png(image), source.classes[int(source.labels[i])]))
    return found


def ask(deployment: Deployment, alias: str, *, shifted: bool = False) -> int:
    """Ask a model about the test images and tell it of the first ones what they show.

    Returns:
        The place of the image that it was least sure of.
    """
    given = images(shifted=shifted)
    confidences: list[float] = []
    for start in range(0, len(given), EACH):
        batch = given[start : start + EACH]
        asked = [(name, content) for name, content, _ in batch]
        found = deployment.client.predict(asked, model=alias)["predictions"]
        confidences += [each["top"][0]["confidence"] for each in found]
        if start < LABELLED:
            truth = [label for *_, label in batch]
            _tell(deployment, [each["id"] for each in found], truth)
    return confidences.index(min(confidences))


def _tell(deployment: Deployment, ids: list[str], labels: list[str]) -> None:
    lines = ["id,label", *map(",".join, zip(ids, labels, strict=True))]
    answer = deployment.client.labels("\n".join(lines).encode(), "text/csv")
    assert answer["stored"] == len(labels), answer


def write_night(path: Path) -> Path:
    """Archive of the images that the model of the night is asked about."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content, label in images(shifted=True):
            archive.writestr(f"test/{label}/{name}", content)
    return path
