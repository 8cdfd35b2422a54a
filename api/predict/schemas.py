"""Schemas of predictions."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from api.web.problems import FieldError
from carot.answers.schemas import (
    COVERAGE,
    MAX_SHIFT,
    SET_METHOD,
    Answer,
    Asked,
    Limits,
    ServedCalibrator,
    ServedVocabulary,
    SetMethod,
)
from carot.calibration.monitoring.online_coverage import OnlineCoverage
from carot.errors import SpecError
from store.models.coverage import COVERAGES

PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
MOST_CLASSES = 1000
MOST_TEMPLATES = 100
LEAST_LABELS = 100
"""Before so many, a threshold that follows them says more of where it began."""
ONLY_MODELS = "online sets follow the labels of a model of the service; name one in `model`"


def _one_slot(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError("a template has exactly one {} slot")
    return template


ClassName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Template = Annotated[str, Field(max_length=300), AfterValidator(_one_slot)]


class PredictRequest(BaseModel):
    """Images as base64 text, and what is wanted of each."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"model": "digits", "images": [PIXEL], "top_k": 3},
                {"model": "digits", "images": [PIXEL], "coverage": 0.95, "max_risk": 0.05},
                {"model": "digits", "images": [PIXEL], "classes": ["a cat", "a dog"]},
            ]
        },
    )

    images: list[str] = Field(min_length=1, description="Encoded images, base64.")
    model: str | None = Field(default=None, max_length=100, description="An alias.")
    checkpoint: str | None = Field(default=None, max_length=100, description="A checkpoint's id.")
    top_k: int = Field(default=5, ge=1, le=1000, description="Most classes in each answer.")
    coverage: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="How often prediction sets are to hold the right class; refused where the "
        f"calibration split is too small for it. By default {COVERAGE}, where it is not.",
    )
    set_method: SetMethod = Field(
        default=SET_METHOD,
        description="How prediction sets are made. `online`: by a threshold that follows the "
        f"labels of the model, for a coverage of {' or '.join(map(str, COVERAGES))}; refused "
        f"before {LEAST_LABELS} labels, and of a `checkpoint`, which has none.",
    )
    max_risk: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Abstain below the raw confidence from which on answers are proved to be wrong "
        "no more often than this; refused where nothing can be proved. By default no confidence "
        "is too low.",
    )
    max_shift: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description=f"Abstain from images whose shift score is above this; by default {MAX_SHIFT}, "
        "never at 1.",
    )
    max_unseen: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Abstain from images of which a greater share of the calibration images looks "
        "more like the classes; by default 0.95 where the checkpoint was compared with unseen "
        "classes, never at 1. Refused where it was not.",
    )
    domain: str | None = Field(
        default=None,
        max_length=200,
        description="Where the images come from, for calibrators with a temperature per domain; "
        "others, and domains that they do not know, take what holds for all images.",
    )
    classes: list[ClassName] | None = Field(
        default=None,
        min_length=2,
        max_length=MOST_CLASSES,
        description="Names of classes in the place of the checkpoint's. Their confidences carry no "
        "calibration evidence: no prediction sets, no evidence, no max_risk.",
    )
    templates: list[Template] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_TEMPLATES,
        description="Captions that `classes` stand in, `{}` for the name; by default the "
        "checkpoint's own.",
    )

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise ValueError("classes: the same name twice")
        if self.templates is not None and self.classes is None:
            raise ValueError("templates: are for `classes`, which are not given")
        return self

    def asked(self, online: OnlineCoverage | None = None) -> Asked:
        """All but the images, the model and the classes.

        Args:
            online: the threshold that follows the labels of the model, where that is asked for.

        Raises:
            SpecError: it is asked for and there is none; `field` is `set_method`.
        """
        method = self.set_method
        if method == "online":
            if online is None:
                raise SpecError(ONLY_MODELS, field="set_method")
            method = SET_METHOD
        return Asked(
            top_k=self.top_k,
            coverage=self.coverage,
            set_method=method,
            online=online,
            max_risk=self.max_risk,
            max_shift=self.max_shift,
            max_unseen=self.max_unseen,
            domain=self.domain,
        )


class Named(BaseModel):
    """Which image an answer is about."""

    name: str = Field(description="Of the file, or `images.0`, `images.1`, …")


class Prediction(Answer, Named):
    """The answer for one image, or in `error` why there is none."""

    model_config = ConfigDict(frozen=False)

    id: str | None = Field(
        default=None,
        description="Under which a label can be given later; null where it was not logged.",
    )
    error: FieldError | None = None


class Predictions(BaseModel):
    """Answers in the order of the images."""

    model: str | None = Field(description="The alias that was asked for.")
    checkpoint: str
    calibrated: bool = Field(
        description="Whether a calibrator was fitted for the checkpoint and these classes."
    )
    temperature: float | None = Field(
        description="What logits were divided by, if that is how they were calibrated."
    )
    calibrator: ServedCalibrator | None = Field(description="Null where none was fitted.")
    vocabulary: ServedVocabulary | None = Field(
        description="Classes of the request's own; null where it gave none."
    )
    limits: Limits
    predictions: list[Prediction]
    request_id: str
    milliseconds: float
