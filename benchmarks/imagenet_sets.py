"""The data sets of `benchmarks/imagenet.py`: which folder each is in, and where to get it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from carot.data.resolve import open_dataset
from carot.data.source import ImageSource
from carot.errors import CarotError
from carot.evaluation.rows import open_evaluation
from carot.evaluation.suites import suite
from carot.specs import EvaluationDataset

SUITE = "imagenet"
PLACES = {
    "imagenet": "https://image-net.org/download.php (ILSVRC2012, train/ and val/)",
    "v2": "https://github.com/modestyachts/ImageNetV2 (matched frequency)",
    "r": "https://github.com/hendrycks/imagenet-r",
    "a": "https://github.com/hendrycks/natural-adv-examples",
    "sketch": "https://github.com/HaohanWang/ImageNet-Sketch",
    "objectnet": "https://objectnet.dev",
}
"""Option without dashes, and who publishes the data set."""


class Refused(Exception):
    """What the command was given cannot be used."""


@dataclass(frozen=True)
class Sets:
    """Everything that is measured.

    Attributes:
        reference: ImageNet itself, which is trained on.
        rows: of the report; ImageNet's validation images are in distribution.
        opened: their images, in the same order.
        missing: names of the sets that are left out.
    """

    reference: str
    rows: tuple[EvaluationDataset, ...]
    opened: tuple[ImageSource, ...]
    missing: tuple[str, ...]

    def split(self, name: str) -> ImageSource:
        """A split of ImageNet."""
        return open_dataset(self.reference, name)


def open_sets(folders: Mapping[str, Path | None], *, skip_missing: bool) -> Sets:
    """Open everything, so that nothing is trained for a table that cannot be filled.

    Args:
        folders: by option; None where it was not given.

    Raises:
        Refused: a folder is missing or of another layout; the message names all of them, and where
            to get them.
    """
    absent = [name for name, folder in folders.items() if folder is None or not folder.is_dir()]
    told = [f"  --{name}: {_why(folders[name])}; get it from {PLACES[name]}" for name in absent]
    if "imagenet" in absent or (absent and not skip_missing):
        hint = "" if "imagenet" in absent else "\n--skip-missing leaves them out"
        raise Refused("\n".join(["data sets are missing:", *told]) + hint)
    reference = f"imagenet:{folders['imagenet']}"
    rows, opened = [], []
    try:
        classes = open_dataset(reference, "train").classes
        for split in ("train", "calibration"):
            if len(open_dataset(reference, split)) == 0:
                raise Refused(f"--imagenet: no images to be its {split} split; is train/ there?")
        for row in suite(SUITE).rows:
            option = row.name.removeprefix("imagenet-")
            if option in absent:
                continue
            scheme = row.dataset.partition(":")[0]
            fields = row.model_dump(exclude={"each", "dataset"})
            dataset = f"{scheme}:{folders[option]}"
            rows.append(EvaluationDataset.model_validate(fields | {"dataset": dataset}))
            opened.append(open_evaluation(rows[-1], classes, f"--{option}").source)
    except CarotError as error:
        option = "imagenet" if not rows else rows[-1].name.removeprefix("imagenet-")
        place = f"--{option}: {error.message}\nits layout is in docs/suites.md; get it from "
        raise Refused(place + PLACES[option]) from error
    return Sets(reference, tuple(rows), tuple(opened), tuple(absent))


def _why(folder: Path | None) -> str:
    return "not given" if folder is None else f"{folder}: no such folder"
