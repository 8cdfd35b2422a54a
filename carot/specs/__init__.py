"""Specs of runs: the one schema that the API, the command line and the trainer share.

Every spec is frozen and refuses unknown fields; ranges are part of the types, so that a bad value
is named before anything is started. Units stand in the field descriptions. No torch in here.
"""

from __future__ import annotations

from carot.specs.adapters import TARGETS, TOWERS, TRAINED_TOWERS, LoraSpec, Target, Tower
from carot.specs.base import DatasetReference, Spec
from carot.specs.calibration import (
    CALIBRATORS,
    OWN_DOMAIN,
    CalibrationSpec,
    CalibratorName,
    Domain,
    Perturbation,
)
from carot.specs.evaluation import (
    SHIFT_NAMES,
    EvaluationDataset,
    EvaluationSpec,
    PromptSpec,
    Severity,
    ShiftName,
    SplitName,
)
from carot.specs.methods import (
    AnchorSpec,
    CarotMethod,
    DiveMethod,
    FinetuneMethod,
    FlypMethod,
    Form,
    FunctionSpaceMethod,
    LabelSmoothingMethod,
    LinearProbeMethod,
    LipsumMethod,
    LpFtMethod,
    Merge,
    Method,
    ModelStock,
    TeacherSpec,
    TracerMethod,
    UniformSoup,
    ZeroShotMethod,
)
from carot.specs.model import HUB, ModelSpec
from carot.specs.predicting import PredictSpec, SetMethod, TransductiveSpec
from carot.specs.presets import preset, preset_names
from carot.specs.runs import (
    KINDS,
    AnySpec,
    EvaluateSpec,
    FinetuneSpec,
    InterpolateSpec,
    MeasuringSpec,
    MergeSpec,
    RunSpec,
    SelectSpec,
)
from carot.specs.selection import AverageSpec, Rule, SelectionSpec
from carot.specs.training import TrainingOptions, TrainingSpec
from carot.specs.training_defaults import complete_training, rate_warnings

__all__ = [
    "CALIBRATORS", "HUB", "KINDS", "OWN_DOMAIN", "SHIFT_NAMES", "TARGETS", "TOWERS",
    "TRAINED_TOWERS", "AnchorSpec", "AnySpec", "AverageSpec", "CalibrationSpec", "CalibratorName",
    "CarotMethod", "DatasetReference", "DiveMethod", "Domain", "EvaluateSpec", "EvaluationDataset",
    "EvaluationSpec", "FinetuneMethod", "FinetuneSpec", "FlypMethod", "Form", "FunctionSpaceMethod",
    "InterpolateSpec", "LabelSmoothingMethod", "LinearProbeMethod", "LipsumMethod", "LoraSpec",
    "LpFtMethod", "MeasuringSpec", "Merge", "MergeSpec", "Method", "ModelSpec", "ModelStock",
    "Perturbation", "PredictSpec", "PromptSpec", "Rule", "RunSpec", "SelectSpec", "SelectionSpec",
    "SetMethod", "Severity", "ShiftName", "Spec", "SplitName", "Target", "TeacherSpec", "Tower",
    "TracerMethod", "TrainingOptions", "TrainingSpec", "TransductiveSpec", "UniformSoup",
    "ZeroShotMethod",
    "complete_training", "preset", "preset_names", "rate_warnings",
]  # fmt: skip
