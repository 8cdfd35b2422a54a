"""Hours and bytes of `benchmarks/imagenet.py`, before anything is run.

Step rates are measured with a few steps of each method's own training loop, images read and decoded
as in a run, or follow from one rate that is given. Encoding the captions and listing the folders
are not counted.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from benchmarks.imagenet_plan import Run
from benchmarks.imagenet_sets import Sets
from carot.data.loader import TrainingBatches, Unreadable
from carot.data.source import ImageSource, SubsetSource
from carot.distributed import ALONE
from carot.evaluation.evaluate import run_model
from carot.events import AnyEvent, Silent, StepDone
from carot.models.classifier import pick_device
from carot.models.clip import ClipModel, load_model
from carot.models.prompts import Captions, caption_names
from carot.run.validation import MOST_IMAGES, looks_for
from carot.specs import FinetuneSpec, PromptSpec, TrainingSpec, complete_training
from carot.training.identity import RunIdentity
from carot.training.methods import Method, build_method
from carot.training.normalisation import prepare_normalisation
from carot.training.trainer import fit

STEPS = 4
FORWARD = 3.0
"""Images that are only looked at for one that is trained on: backward is twice a forward pass."""
TEMPLATES = ("a photo of a {}.",)
"""For heads that nothing is measured with."""
LARGEST_ON_CPU = 32
"""Images of a measured step where there is no GPU; a run takes what its recipe says."""


@dataclass(frozen=True)
class Estimate:
    """One run.

    Attributes:
        images, looked_at: trained on, and only looked at (evaluation, calibration, validation).
        training_rate, evaluation_rate: images a second.
        checkpoint, snapshot, logits: bytes; the snapshot is deleted when its run is done.
    """

    name: str
    images: int
    looked_at: int
    training_rate: float
    evaluation_rate: float
    checkpoint: int
    snapshot: int
    logits: int

    @property
    def hours(self) -> float:
        """Of training and evaluation."""
        seconds = self.images / self.training_rate + self.looked_at / self.evaluation_rate
        return seconds / 3600


class _Stopwatch:
    def __init__(self) -> None:
        self.times: list[float] = []

    def report(self, event: AnyEvent) -> None:
        if isinstance(event, StepDone):
            self.times.append(time.monotonic())


def estimates(runs: list[Run], sets: Sets, rate: float | None) -> list[Estimate]:
    """Of every run.

    Args:
        rate: images a second in training, for all methods; None measures it.

    Raises:
        CarotError: the model cannot be loaded, or a method does not go with it.
    """
    source = sets.split("train")
    evaluating = rate * FORWARD if rate else 0.0
    found = []
    for run in runs:
        model = load_model(run.spec.model, pick_device())
        settings = _settings(run.spec, model, len(source))
        spec = run.spec.with_training(settings)
        names = caption_names(source.classes, PromptSpec())
        captions = Captions(model, names, TEMPLATES)
        total = settings.epochs * (len(source) // settings.batch_size)
        method = build_method(spec.method, model, captions, max(1, total), settings.seed)
        head_CD = torch.zeros(len(source.classes), int(model.model_cfg["embed_dim"]))
        # The same for all: they differ in nothing but weights.
        evaluating = evaluating or evaluation_rate(spec, model, head_CD, source)
        trained = settings.batch_size * total if method.trains else 0
        size = _bytes(model.module.state_dict().values())
        found.append(
            Estimate(
                run.name,
                trained,
                _looked_at(spec, sets, trained, method, len(source.classes)),
                rate or (training_rate(spec, model, captions, source) if trained else evaluating),
                evaluating,
                size + 4 * head_CD.numel(),
                snapshot_bytes(method) if method.trains else 0,
                sum(_logits(each) for each in sets.opened),
            )
        )
    return found


def snapshot_bytes(method: Method) -> int:
    """Modules, and the two moments of AdamW for what trains."""
    modules = sum(_bytes(each.state_dict().values()) for each in method.modules().values())
    return modules + 2 * _bytes(parameter for _, parameter in method.parameters())


def training_rate(
    spec: FinetuneSpec, model: ClipModel, captions: Captions, source: ImageSource
) -> float:
    """Images a second of a few steps of the product's own loop; changes the model's weights."""
    settings = TrainingSpec.model_validate(spec.training.model_dump())
    batch = settings.batch_size
    if model.device.type == "cpu":
        batch = min(batch, LARGEST_ON_CPU)
    settings = settings.model_copy(
        update={"batch_size": batch, "epochs": STEPS + 1, "snapshot_every": 10**9}
    )
    some = SubsetSource(source, _spread(source, batch))
    prepare_normalisation(model, ALONE, settings)
    method = build_method(spec.method, model, captions, STEPS + 1, settings.seed)
    batches = TrainingBatches(
        some,
        model.transform,
        model.resizing,
        batch_size=batch,
        templates=len(TEMPLATES),
        crop_scale=settings.random_crop_scale,
        seed=settings.seed,
        unreadable=Unreadable(spec.dataset, some, Silent()),
    )
    watch = _Stopwatch()
    with TemporaryDirectory() as folder:
        fit(
            model,
            method,
            batches,
            captions,
            settings,
            watch,
            snapshot_folder=Path(folder) / "snapshot",
            run=RunIdentity.of(spec.with_training(settings), some),
            should_stop=lambda: False,
        )
    # Between steps: the first one also warms up.
    return batch * (len(watch.times) - 1) / (watch.times[-1] - watch.times[0])


def evaluation_rate(
    spec: FinetuneSpec, model: ClipModel, head_CD: Tensor, source: ImageSource
) -> float:
    """Images a second that are only looked at."""
    batch = spec.evaluation.batch_size if model.device.type != "cpu" else LARGEST_ON_CPU

    def seconds(images: int) -> float:
        some = SubsetSource(source, _spread(source, images))
        began = time.monotonic()
        run_model(
            model,
            head_CD,
            some,
            name="estimate",
            batch_size=batch,
            reporter=Silent(),
            should_stop=lambda: False,
        )
        return (time.monotonic() - began) / len(some)

    seconds(batch)  # warms up
    return 1 / seconds(2 * batch)


def _settings(spec: FinetuneSpec, model: ClipModel, images: int) -> TrainingSpec:
    tower = model.module.get_submodule("visual")
    parameters = sum(each.numel() for each in tower.parameters())
    return complete_training(spec.training, spec.method, model.architecture, images, parameters)


def _looked_at(spec: FinetuneSpec, sets: Sets, trained: int, method: Method, classes: int) -> int:
    rows = sum(len(each) for each in sets.opened)
    calibration = len(sets.split("calibration")) * (1 + len(spec.calibration.perturbations))
    validation = min(len(sets.split("validation")), MOST_IMAGES)
    if trained == 0 or validation == 0:
        return rows + calibration
    said = classes if method.uses_captions else 0
    return rows + calibration + validation * (1 + looks_for(trained, validation, said))


def _logits(source: ImageSource) -> int:
    """Of one row: float32 logits, labels, and names in four bytes a letter."""
    longest = max(map(len, source.keys))
    return len(source) * (4 * len(source.classes) + 8 + 4 * longest)


def _spread(source: ImageSource, count: int) -> list[int]:
    """So many positions, evenly over a source; all of a smaller one."""
    count = min(count, len(source))
    return [i * len(source) // count for i in range(count)]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(each.numel() * each.element_size() for each in tensors)
