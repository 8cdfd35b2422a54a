"""How a run turns logits into confidences, and what its report says of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator

from carot.specs.base import DatasetReference, Spec
from carot.specs.evaluation import Severity, ShiftName, SplitName

CalibratorName = Literal[
    "temperature", "smoothed_temperature", "top_versus_all", "perturbed_temperature",
    "ensemble_temperature", "domain_temperature", "isotonic", "vector",
]  # fmt: skip
CALIBRATORS: tuple[CalibratorName, ...] = get_args(CalibratorName)
"""Every kind, from the simplest to the one with most parameters."""

OWN_DOMAIN = "own"
"""The domain that the run's own calibration split is."""

Names = tuple[CalibratorName, ...] | None
Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class Perturbation(Spec):
    """One way in which the calibration images are seen beside the clean ones."""

    shift: ShiftName = Field(description="Any but `printed`.")
    severity: Severity = 4

    @field_validator("shift")
    @classmethod
    def _of_any_image(cls, shift: ShiftName) -> ShiftName:
        if shift == "printed":
            raise ValueError("`printed` is a data set of its own; name a shift of any image")
        return shift


class Domain(Spec):
    """Labelled images of one domain, such as a camera or a site, of the same classes."""

    name: str = Field(
        min_length=1,
        max_length=100,
        description=f"By which rows of a report and requests name it; `{OWN_DOMAIN}` is the "
        "run's own calibration split.",
    )
    dataset: DatasetReference
    split: SplitName = "calibration"
    shift: ShiftName | None = Field(
        default=None, description="`printed` only with `builtin:digits`; the others with any set."
    )
    severity: Severity = 3

    @field_validator("name")
    @classmethod
    def _not_the_own_one(cls, name: str) -> str:
        if name == OWN_DOMAIN:
            raise ValueError(f"`{OWN_DOMAIN}` is the run's own calibration split")
        return name


class CalibrationSpec(Spec):
    """Which calibrators are fitted on the calibration split, and what is asked of confidences."""

    calibrator: Literal[CalibratorName, "auto", "none"] = Field(
        default="temperature",
        description="The kind that is served. `auto` takes the simplest of those within one "
        "standard error of the lowest negative log-likelihood, by cross-validation on the "
        "calibration split. `none` serves raw confidences; other kinds are still reported.",
    )
    none_if_worse: bool = Field(
        default=False,
        description="Serve raw confidences where the calibrator looks worse than none on the data "
        "set in distribution: a higher negative log-likelihood with an ECE above its chance level, "
        "which is higher as well, or the likelihood is by a tenth. That data set then has a part "
        "in one choice.",
    )
    also: Names = Field(
        default=None,
        max_length=len(CALIBRATORS),
        description="Kinds that are fitted and reported beside it, and that `auto` compares; by "
        "default all that can be fitted.",
    )
    perturbations: tuple[Perturbation, ...] = Field(
        default=(
            Perturbation(shift="gaussian_noise"),
            Perturbation(shift="motion_blur"),
            Perturbation(shift="fog"),
            Perturbation(shift="pixelate"),
        ),
        max_length=20,
        validate_default=True,
        description="How `perturbed_temperature` sees the calibration images beside the clean "
        "ones, best so that accuracy falls evenly; each costs a pass over them. By default one of "
        "each family of ImageNet-C: noise, blur, weather, digital. Empty leaves that kind out.",
    )
    domains: tuple[Domain, ...] = Field(
        default=(),
        max_length=100,
        validate_default=True,
        description="What `domain_temperature` is fitted on beside the calibration split. Empty "
        "leaves that kind out.",
    )
    coverages: tuple[Share, ...] = Field(
        default=(0.9, 0.95),
        max_length=10,
        description="For which shares the report says what prediction sets hold.",
    )
    max_risks: tuple[Share, ...] = Field(
        default=(0.01, 0.05),
        max_length=10,
        description="For which shares of wrong answers the report says how many are accepted.",
    )
    refit: bool = Field(
        default=False,
        description="Fit anew where an evaluated or selected checkpoint brings a calibration of "
        "its own, which is what is measured otherwise.",
    )

    @field_validator("also")
    @classmethod
    def _auto_compares(cls, also: Names, info: ValidationInfo) -> Names:
        comparable = also is None or set(also) - {"domain_temperature"}
        if info.data.get("calibrator") == "auto" and not comparable:
            raise ValueError(
                "auto needs kinds to compare, which domain_temperature is not; name some, or leave "
                "the field out"
            )
        return also

    @field_validator("perturbations", "domains")
    @classmethod
    def _kind_has_what_it_needs(cls, given: Any, info: ValidationInfo) -> Any:
        kind = "domain_temperature" if info.field_name == "domains" else "perturbed_temperature"
        named = (info.data.get("calibrator"), *(info.data.get("also") or ()))
        if kind in named and not given:
            raise ValueError(f"{kind} needs {info.field_name}")
        return given

    @field_validator("also", "perturbations", "domains", "coverages", "max_risks")
    @classmethod
    def _differ(cls, given: Any) -> Any:
        names = [each.name if isinstance(each, Domain) else each for each in given or ()]
        if len(set(names)) != len(names):
            raise ValueError("one of them is there twice")
        return given

    @property
    def asked_by_name(self) -> tuple[CalibratorName, ...]:
        """The kinds whose absence a user should be told of."""
        return tuple(kind for kind in CALIBRATORS if kind in {self.calibrator, *(self.also or ())})

    @property
    def kinds(self) -> tuple[CalibratorName, ...]:
        """Every kind that is tried, the simplest first."""
        return CALIBRATORS if self.also is None else self.asked_by_name
