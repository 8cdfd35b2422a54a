"""Which run a snapshot is of: the training that its spec asks for, and the images it trains on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from carot.data.identity import DataIdentity
from carot.data.source import ImageSource
from carot.specs import FinetuneSpec

NO_TRAINING: dict[str, Any] = {
    "copies": True,
    "evaluation": True,
    "calibration": True,
    "measure_start": True,
    "model": {"folder"},
}
"""Of a spec, what changes no weight: a run may be resumed with another of these."""

LISTED = 5


@dataclass(frozen=True)
class RunIdentity:
    """What a snapshot must agree on with the run that resumes from it.

    Attributes:
        spec: every field that training depends on, by dotted name.
        given: the names of those that are not at their default.
        fingerprint: of the whole spec, as earlier releases kept it.
        data: the training split.
    """

    spec: Mapping[str, Any]
    given: frozenset[str]
    fingerprint: str
    data: DataIdentity

    @classmethod
    def of(cls, spec: FinetuneSpec, source: ImageSource) -> RunIdentity:
        """That of a run that trains on `source`."""
        fields = dict(_flat(spec.model_dump(mode="json", exclude=NO_TRAINING)))
        given = spec.model_dump(mode="json", exclude=NO_TRAINING, exclude_defaults=True)
        names = {name for name, _ in _flat(given)}
        # A part that is off by default and is switched on as it stands is given as a whole.
        told = frozenset(
            name for name in fields if any(f"{name}.".startswith(f"{each}.") for each in names)
        )
        return cls(fields, told, fingerprint(spec), DataIdentity.of(source))

    def document(self) -> dict[str, Any]:
        """For a snapshot; JSON-ready."""
        return {"spec": dict(self.spec), "data": self.data.model_dump(mode="json")}

    def difference(self, document: str | Mapping[str, Any]) -> str:
        """How this run differs from the one that a snapshot is of; empty if it does not.

        A field that a snapshot does not know is one that came with a later release: at its
        default it is no difference.
        """
        if isinstance(document, str):  # earlier releases kept a fingerprint and nothing of the data
            return "" if document == self.fingerprint else "it is of another spec"
        before = document["spec"]
        changed = [
            f"{name} was {before[name]!r}, is {self.spec.get(name)!r}"
            for name in sorted(before, key=lambda name: (name not in self.spec, name))
            if self.spec.get(name) != before[name]
        ]
        changed += [
            f"{name} is {self.spec[name]!r}" for name in sorted(self.given) if name not in before
        ]
        images = DataIdentity.model_validate(document["data"]).changes(self.data)
        told = [
            (images, "the training images have changed since"),
            (changed, "it is of another spec"),
        ]
        return "; ".join(f"{what} ({_listed(found)})" for found, what in told if found)


def fingerprint(spec: FinetuneSpec) -> str:
    """SHA-256 of what a spec says of its training, as earlier releases computed it.

    They did not know `freeze_batch_norm`, `average`, `adapters` and `unseen`, and trained as if
    none was there.
    """
    later: dict[str, Any] = {
        "training": set() if spec.training.freeze_batch_norm else {"freeze_batch_norm"},
        "selection": {"average"} if spec.selection.average.kind == "none" else set(),
    }
    later |= {} if spec.adapters is not None else {"adapters": True}
    later |= {} if spec.unseen else {"unseen": True}
    payload = spec.model_dump_json(exclude={**NO_TRAINING, **later})
    return hashlib.sha256(payload.encode()).hexdigest()


def _flat(document: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _listed(changes: list[str]) -> str:
    more = len(changes) - LISTED
    return "; ".join(changes[:LISTED]) + (f"; and {more} more" if more > 0 else "")
