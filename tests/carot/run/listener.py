"""Somebody who listens to a run, and the specs that its tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from carot.events import AnyEvent, StepDone
from carot.run import RunResult, execute
from carot.specs import FinetuneSpec, MeasuringSpec


class Listener:
    def __init__(self) -> None:
        self.events: list[AnyEvent] = []

    def report(self, event: AnyEvent) -> None:
        self.events.append(event)

    def types(self) -> list[str]:
        return [event.type for event in self.events]

    def steps(self) -> list[int]:
        return [event.step for event in self.events if isinstance(event, StepDone)]


def finetune(model: Path, images: Path, **changes: Any) -> FinetuneSpec:
    document = {
        "model": {"folder": str(model)},
        "dataset": f"folder:{images}",
        "method": {"name": "carot"},
        "training": {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3},
        **changes,
    }
    return FinetuneSpec.model_validate(document)


def run(spec: MeasuringSpec, folder: Path) -> tuple[RunResult, Listener]:
    listener = Listener()
    return execute(spec, folder, listener), listener
