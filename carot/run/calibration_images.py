"""The images that calibrators are fitted on: the calibration split, and what is named beside it.

Shape suffixes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from carot.calibration.calibrators.fitting import Sample
from carot.calibration.calibrators.origin import Origin
from carot.errors import CalibrationError
from carot.evaluation.evaluate import Outputs
from carot.evaluation.rows import open_domains, open_evaluation
from carot.run.context import Context
from carot.run.evaluated import EvaluatedModel
from carot.specs import OWN_DOMAIN, EvaluationDataset

DOMAINS = "domain_temperature"
PERTURBED = "perturbed_temperature"


class Samples:
    """What each kind is fitted on; images beyond the calibration split are run when asked for."""

    def __init__(self, context: Context, evaluated: EvaluatedModel, outputs: Outputs) -> None:
        self.context, self.evaluated, self.outputs = context, evaluated, outputs
        self.plain = Sample(outputs.logits_NC, outputs.labels_N)
        self.origin: Origin = {
            "logit_scale": evaluated.card.logit_scale,
            "classes": evaluated.card.classes,
        }
        self._perturbed: Sample | None = None

    def of(self, kind: str) -> Sample:
        """The sample of a kind.

        Raises:
            CalibrationError: it needs what the spec does not name, or not the same images can be
                read when perturbed.
            DataError: images of another domain cannot be used.
        """
        if kind == DOMAINS:
            return self._with_domains()
        return self._with_versions() if kind == PERTURBED else self.plain

    def _with_versions(self) -> Sample:
        if not self.context.spec.calibration.perturbations:
            raise CalibrationError("no perturbations are named (calibration.perturbations)")
        if self._perturbed is None:
            versions = list(self._versions())
            self._perturbed = replace(self.plain, versions=versions)
        return self._perturbed

    def _versions(self) -> Iterator[Tensor]:
        for each in self.context.spec.calibration.perturbations:
            name = f"calibration, {each.shift} {each.severity}"
            row = EvaluationDataset(
                name=name,
                dataset=self.context.spec.dataset,
                split="calibration",
                shift=each.shift,
                severity=each.severity,
            )
            classes, unseen = self.evaluated.card.classes, self.context.spec.unseen
            opened = open_evaluation(row, classes, "calibration", unseen)
            found = self.context.outputs(self.evaluated, opened.source, name)
            if found.keys != self.outputs.keys:
                raise CalibrationError(f"{name}: not the same images can be read as without")
            yield found.logits_NC

    def _with_domains(self) -> Sample:
        spec = self.context.spec
        others = open_domains(spec.calibration, self.evaluated.card.classes, spec.unseen)
        if not others:
            raise CalibrationError("no domains are named (calibration.domains)", field="domains")
        parts = [(OWN_DOMAIN, self.outputs)]
        for name, opened in others:
            parts.append((name, self.context.outputs(self.evaluated, opened.source, name)))
        return Sample(
            torch.cat([each.logits_NC for _, each in parts]),
            torch.cat([each.labels_N for _, each in parts]),
            [name for name, each in parts for _ in range(len(each.labels_N))],
        )
