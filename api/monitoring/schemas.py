"""Schemas of live calibration and recalibration."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from api.models.schemas import AliasView
from api.web.schemas import Time, View
from carot.calibration.metrics.intervals import Interval
from carot.calibration.metrics.numbers import Bin
from carot.calibration.monitoring.delays import Delays
from carot.calibration.monitoring.live import LiveCalibration
from carot.calibration.monitoring.online_coverage import RECENT
from carot.warnings import CodedWarning

RefitKind = Literal[
    "auto",
    "temperature",
    "smoothed_temperature",
    "top_versus_all",
    "ensemble_temperature",
    "isotonic",
    "vector",
]
MAX_LAST = 100_000
Last = Annotated[int, Field(ge=1, le=MAX_LAST)]


class AlertView(View):
    """A model whose confidences were found to be no longer true."""

    id: str
    model: str = Field(validation_alias="alias")
    checkpoint_id: str
    calibrator_id: str | None = Field(description="Null: the checkpoint's own.")
    evidence: float = Field(description="The e-value: at least 1 / alpha.")
    alpha: float = Field(description="How rarely a model whose confidences are true gets an alert.")
    labels: int = Field(description="How many labels the test had seen.")
    finding: str | None = Field(description="What is wrong, such as `overconfident`.")
    raised_at: Time
    resolved_at: Time | None = Field(description="When the model was moved or removed.")


class WindowView(BaseModel):
    """Which predictions the figures are of."""

    last: int = Field(description="At most so many, the newest.")
    since: Time | None = Field(description="None that is older.")
    first_at: Time | None = Field(description="When the first of them was made.")
    last_at: Time | None
    predictions: int
    labels: int


class ReportedView(BaseModel):
    """What was measured before, on images like those that the checkpoint was made of."""

    dataset: str
    images: int
    accuracy: float
    ece: float
    mean_confidence: float
    calibrated: bool = Field(description="With the checkpoint's own calibrator, if it has one.")
    reliability: list[Bin]


class TestView(BaseModel):
    """A test that may be looked at as often as one likes."""

    evidence: float = Field(
        description="The e-value now; where confidences are true it is 1 or less on average."
    )
    peak: float = Field(description="The largest that it ever was.")
    threshold: float = Field(description="1 / alpha: reached at any time, it rejects.")
    alpha: float
    rejected: bool = Field(description="Whether the confidences were found not to be true.")
    rejected_at: Time | None
    labels: int = Field(description="Labels seen, in the order in which they were given.")
    finding: str | None = Field(description="What earned the evidence, such as `overconfident`.")
    begun_at: Time | None = Field(description="When the first label came since the model moved.")
    delays: Delays | None = Field(
        description="Whether labels of wrong answers come sooner or later than those of right "
        "ones, in the window: then the test may reject a calibrated model. Null without labels."
    )


class OnlineCoverageView(BaseModel):
    """What sets hold whose threshold follows the labels; see `online` of the model."""

    coverage: float = Field(description="What is asked for.")
    threshold: float = Field(
        description="−log of the raw probability that a member has at least, in nats; the top "
        "class always is one."
    )
    labels: int = Field(
        description="Labels seen since the model moved, in the order in which they were given, "
        "each judged by the threshold before it."
    )
    long_run: float | None = Field(description="Share of them that was held; null without any.")
    lately: float | None = Field(description=f"The same of the last {RECENT}.")


class CalibrationView(BaseModel):
    """Live calibration of a model, by the checkpoint and the calibrator that it points to."""

    model: str
    checkpoint_id: str
    calibrator_id: str | None = Field(description="Null: the checkpoint's own.")
    window: WindowView
    live: LiveCalibration | None = Field(description="Null before the first prediction.")
    reported: ReportedView | None
    test: TestView
    online: list[OnlineCoverageView] = Field(
        description="What prediction sets would hold whose threshold follows the labels: how far "
        "a coverage can be kept under shift. Predictions without stored logits do not count."
    )
    alert: AlertView | None = Field(description="The one that is open.")


class CalibratorView(View):
    """A version of a checkpoint's calibrator."""

    id: str
    checkpoint_id: str
    kind: str
    origin: Literal["run", "recalibration"]
    n: int = Field(description="Images or labels that it was fitted on.")
    nll_before: float | None = Field(
        description="Mean negative log-likelihood without it; of a recalibration: on held-out "
        "labels, with the calibrator that was served until then."
    )
    nll_after: float | None = Field(description="The same with it.")
    document: dict[str, Any]
    held_out: dict[str, Any] | None = Field(description="What else was found on held-out labels.")
    created_at: Time
    current: bool = Field(default=False, description="Whether the model uses it.")


class RecalibrateRequest(BaseModel):
    """How to fit a calibrator on labels that were given."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"last": 5000, "dry_run": True}]}
    )

    kind: RefitKind | None = Field(
        default=None,
        description="The kind of calibrator, or `auto` to choose among them by cross-validation; "
        "by default the current one's, or a temperature.",
    )
    last: Last = Field(default=20_000, description="At most so many labels, the newest.")
    since: Time | None = Field(default=None, description="None for an older prediction.")
    dry_run: bool = Field(default=False, description="Only tell; keep and move nothing.")


class RecalibrationView(BaseModel):
    """What fitting on labels gave, and whether the model uses it now."""

    kind: str
    fitted_on: int = Field(description="Labels that it was fitted on.")
    held_out: int = Field(description="Other labels, on which it was judged.")
    nll_before: float = Field(description="On those, of the calibrator that is served.")
    nll_after: float = Field(description="On those, of the new one.")
    gain: float = Field(description="before - after: above 0 the new one is better.")
    gain_interval: Interval = Field(description="95 % interval of the gain, paired.")
    gain_lower_bound: float = Field(description="Above this with 95 % confidence, one-sided.")
    improves: bool = Field(
        description="Whether that bound is above 0, the labels held out are 20 times likelier, no "
        "parameter ran to a bound and no class loses most of its right answers."
    )
    warnings: tuple[CodedWarning, ...] = Field(description="What to know before it is used.")
    moved: bool = Field(description="Whether the model uses it from now on.")
    calibrator_id: str | None = Field(description="The new version; null for a dry run.")
    document: dict[str, Any]
    model: AliasView
