"""The kinds of run: each is one spec, told apart by `kind`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from carot.errors import SpecError
from carot.specs.adapters import LoraSpec, check_adapters
from carot.specs.base import DatasetReference, OnCopies, Spec
from carot.specs.calibration import OWN_DOMAIN, CalibrationSpec
from carot.specs.evaluation import EvaluationSpec, PromptSpec, ShortText, SplitName
from carot.specs.methods import CarotMethod, Merge, Method
from carot.specs.model import ModelSpec
from carot.specs.predicting import PredictSpec
from carot.specs.presets import with_preset
from carot.specs.selection import Rule, SelectionSpec
from carot.specs.training import TrainingOptions, TrainingSpec

Start = Annotated[
    ModelSpec | None,
    Field(
        description="The zero-shot model that the fine-tuned one started from; by default the one "
        "that the checkpoint says it started from."
    ),
]
SelectionSplit = Annotated[
    SplitName, Field(description="Images that the rule looks at; best none of the test images.")
]


UNSEEN = "unseen"
"""Name of the report's row of a data set's own classes that were left out."""


def _can_be_compared(unseen: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    evaluation: EvaluationSpec | None = info.data.get("evaluation")
    if len(set(unseen)) != len(unseen):
        raise ValueError("a class is there twice")
    rows = (evaluation and evaluation.datasets) or ()
    if unseen and rows and not any(row.in_distribution for row in rows):
        raise ValueError(
            "unseen classes are compared with images in distribution: mark one of "
            "evaluation.datasets as in_distribution"
        )
    if unseen and any(row.unseen and row.name == UNSEEN for row in rows):
        raise ValueError(f"one of evaluation.datasets is called {UNSEEN!r}, as these classes are")
    return unseen


Unseen = Annotated[
    tuple[ShortText, ...],
    Field(
        max_length=25_000,
        description="Classes of the data set that the classifier is not to know: their images are "
        "left out of every split, and those of the test split show, in the report's `unseen`, how "
        "well things that are none of the classes are told from the others.",
    ),
    AfterValidator(_can_be_compared),
]


def _knows_domains(calibration: CalibrationSpec, info: ValidationInfo) -> CalibrationSpec:
    evaluation: EvaluationSpec | None = info.data.get("evaluation")
    known = {OWN_DOMAIN, *(domain.name for domain in calibration.domains)}
    for row in (evaluation and evaluation.datasets) or ():
        if row.domain is not None and row.domain not in known:
            raise ValueError(
                f"{row.name} of evaluation.datasets is of the domain {row.domain!r}, which is "
                f"neither among calibration.domains nor {OWN_DOMAIN!r}"
            )
    return calibration


Calibrations = Annotated[
    CalibrationSpec, AfterValidator(_knows_domains), Field(validate_default=True)
]


class FinetuneSpec(Spec):
    """Fine-tune a model on the training split, then evaluate and calibrate it."""

    kind: Literal["finetune"] = "finetune"
    preset: str | None = Field(
        default=None,
        max_length=100,
        description="A recipe by name (`GET /presets`); what is given beside it takes precedence.",
    )
    model: ModelSpec
    dataset: DatasetReference
    copies: OnCopies = Field(
        default="leave_out",
        description="Images that are in two splits, byte for byte: left out of the later of train, "
        "validation, calibration and test, with a warning that counts them; or refused.",
    )
    method: Method = CarotMethod()
    adapters: LoraSpec | None = Field(
        default=None,
        description="Train low-rank adapters in the towers' attention in place of the towers' own "
        "weights (docs/methods.md). By default all that the method trains.",
    )
    training: TrainingOptions = TrainingOptions()
    selection: SelectionSpec = SelectionSpec()
    prompts: PromptSpec = PromptSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    unseen: Unseen = ()
    calibration: Calibrations = CalibrationSpec()
    measure_start: bool = Field(
        default=True,
        description="Measure the model that training starts from on the same rows, as the report's "
        "`before`; without it nobody is told when training has made the model no better.",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_in_preset(cls, document: Any) -> Any:
        return with_preset(document)

    @field_validator("adapters")
    @classmethod
    def _has_something_to_adapt(
        cls, adapters: LoraSpec | None, info: ValidationInfo
    ) -> LoraSpec | None:
        if adapters is not None and "method" in info.data:
            check_adapters(adapters, info.data["method"])
        return adapters

    def with_training(self, settings: TrainingSpec) -> FinetuneSpec:
        """The same, with nothing of the training left open."""
        options = TrainingOptions(**settings.model_dump())
        return self.model_copy(update={"training": options})


class EvaluateSpec(Spec):
    """Evaluate a model or checkpoint; calibrate where there is a calibration split."""

    kind: Literal["evaluate"] = "evaluate"
    model: ModelSpec
    dataset: DatasetReference
    prompts: PromptSpec = PromptSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    unseen: Unseen = ()
    calibration: Calibrations = CalibrationSpec()


class InterpolateSpec(Spec):
    """Weights between a checkpoint and its zero-shot start, all measured in one report (WiSE-FT).

    θ(α) = (1 − α) θ_start + α θ_checkpoint; the α that `rule` prefers becomes the new checkpoint.
    """

    kind: Literal["interpolate"] = "interpolate"
    model: ModelSpec = Field(description="The fine-tuned checkpoint.")
    start: Start = None
    alphas: tuple[Annotated[float, Field(ge=0.0, le=1.0)], ...] = Field(
        default=(0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        min_length=1,
        max_length=101,
        description="Shares of the fine-tuned weights.",
    )
    rule: Rule = "nll"
    split: SelectionSplit = "validation"
    dataset: DatasetReference
    evaluation: EvaluationSpec = EvaluationSpec()
    unseen: Unseen = ()
    calibration: Calibrations = CalibrationSpec()

    @field_validator("alphas")
    @classmethod
    def _differ(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(alphas)) != len(alphas):
            raise ValueError("the same α is there twice")
        return alphas


class MergeSpec(Spec):
    """One checkpoint out of several of the same architecture and classes."""

    kind: Literal["merge"] = "merge"
    method: Merge
    models: tuple[ModelSpec, ...] = Field(
        min_length=2, max_length=100, description="The checkpoints to merge."
    )
    start: Start = None
    dataset: DatasetReference
    evaluation: EvaluationSpec = EvaluationSpec()
    unseen: Unseen = ()
    calibration: Calibrations = CalibrationSpec()


class SelectSpec(Spec):
    """The best of several checkpoints, chosen without out-of-distribution data."""

    kind: Literal["select"] = "select"
    models: tuple[ModelSpec, ...] = Field(
        min_length=2, max_length=100, description="The checkpoints to choose from."
    )
    rule: Rule = "bound"
    split: SelectionSplit = "validation"
    dataset: DatasetReference
    evaluation: EvaluationSpec = EvaluationSpec()
    unseen: Unseen = ()
    calibration: Calibrations = CalibrationSpec()


MeasuringSpec = FinetuneSpec | EvaluateSpec | InterpolateSpec | MergeSpec | SelectSpec
"""What ends with a report."""
AnySpec = MeasuringSpec | PredictSpec
RunSpec = Annotated[AnySpec, Field(discriminator="kind")]
KINDS = ("finetune", "evaluate", "interpolate", "merge", "select", "predict")


def as_evaluation(spec: AnySpec) -> EvaluateSpec:
    """The evaluation that a spec asks for; of a fine-tuning, that of its start.

    Raises:
        SpecError: it asks for none.
    """
    if isinstance(spec, FinetuneSpec):
        return EvaluateSpec(
            model=spec.model,
            dataset=spec.dataset,
            prompts=spec.prompts,
            evaluation=spec.evaluation,
            unseen=spec.unseen,
            calibration=spec.calibration,
        )
    if not isinstance(spec, EvaluateSpec):
        raise SpecError(f"{spec.kind!r} asks for more than an evaluation", field="kind")
    return spec
