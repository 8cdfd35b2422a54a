"""Fitted calibrators as data: what a checkpoint keeps and the service serves. Loads no torch.

Each turns logits into probabilities, in float64, and says where it comes from. How each is fitted
stands in the file of its name. Shape suffixes: N images, C classes.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from carot.errors import CalibrationError

if TYPE_CHECKING:
    from typing import Self

    from torch import Tensor

Temperature = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Calibrator(BaseModel, ABC):
    """A fitted map from logits to probabilities, and where it comes from.

    Attributes:
        kind: which map; also the name under which a job asks for it.
        split: which images it was fitted on.
        n: how many.
        logit_scale: exp(s) that is already in the logits: the unit of what was fitted.
        label_set_hash: of the classes it holds for, in their order.
        nll_before, nll_after: mean negative log-likelihood on those images, in nats.
        converged: whether the search came to its end.
        at_bound: whether a parameter ran to a bound, because the images do not determine it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    keeps_ranking: ClassVar[bool] = True
    """Whether a larger logit never gets a smaller probability."""

    kind: str
    split: str
    n: int
    logit_scale: float
    label_set_hash: str
    nll_before: float
    nll_after: float
    converged: bool
    at_bound: bool

    @abstractmethod
    def log_probabilities(self, logits_NC: Tensor) -> Tensor:
        """Natural logarithms of the probabilities, float64: exact where those vanish."""

    def probabilities(self, logits_NC: Tensor) -> Tensor:
        """Calibrated probabilities of finite logits, float64; rows sum to one."""
        return self.log_probabilities(logits_NC).exp()

    def to_json(self) -> dict[str, Any]:
        """As plain data, which `from_json` reads."""
        return self.model_dump(mode="json")


class TemperatureCalibrator(Calibrator):
    """Logits over one temperature; the kinds differ in what it was fitted for; that of `none` is 1.

    `n` counts images; those of `perturbed_temperature` were seen in several versions each.
    """

    kind: Literal["temperature", "top_versus_all", "perturbed_temperature", "none"] = "temperature"
    temperature: Temperature

    def log_probabilities(self, logits_NC: Tensor) -> Tensor:
        return (logits_NC.double() / self.temperature).log_softmax(dim=1)


class MixtureCalibrator(Calibrator):
    """A weighted mean of softmax(z / T), of softmax(z) and of the uniform distribution.

    The uniform part keeps every probability above its weight / C, and so caps confidence.
    """

    kind: Literal["smoothed_temperature", "ensemble_temperature"]
    temperature: Temperature
    tempered_weight: Share
    raw_weight: Share
    uniform_weight: Share

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> Self:
        if abs(self.tempered_weight + self.raw_weight + self.uniform_weight - 1.0) > 1e-9:
            raise ValueError("the weights do not sum to one")
        return self

    def log_probabilities(self, logits_NC: Tensor) -> Tensor:
        logits_NC = logits_NC.double()
        tempered_NC = (logits_NC / self.temperature).log_softmax(dim=1)
        mixed_NC = tempered_NC + _log(self.tempered_weight)
        if self.raw_weight > 0:
            raw_NC = logits_NC.log_softmax(dim=1) + _log(self.raw_weight)
            mixed_NC = mixed_NC.logaddexp(raw_NC)
        uniform = _log(self.uniform_weight) - math.log(logits_NC.shape[1])
        return mixed_NC.logaddexp(mixed_NC.new_tensor(uniform))


class IsotonicCalibrator(Calibrator):
    """A rising map of the confidence; the other classes share the rest in proportion.

    The map is linear between (`confidences`, `values`) and constant beyond. Where it would put the
    top class below the second, it stays a digit above it: the ranking stays. Equal values tie
    images of unequal confidence, which `ranking` figures feel.
    """

    kind: Literal["isotonic"] = "isotonic"
    confidences: tuple[Share, ...] = Field(min_length=1)
    values: tuple[Share, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if len(self.confidences) != len(self.values):
            raise ValueError("as many values as confidences are needed")
        if not _strictly_rising(self.confidences) or list(self.values) != sorted(self.values):
            raise ValueError("the map must rise")
        return self

    def log_probabilities(self, logits_NC: Tensor) -> Tensor:
        from carot.calibration.calibrators.rising_map import with_confidence

        return with_confidence(logits_NC, self.confidences, self.values)


class DomainCalibrator(Calibrator):
    """One temperature per domain, and the pooled one for those with too few images and others."""

    kind: Literal["domain_temperature"] = "domain_temperature"
    pooled: Temperature
    temperatures: dict[str, Temperature]
    counts: dict[str, int]

    def log_probabilities(self, logits_NC: Tensor, domains: Sequence[str] | None = None) -> Tensor:
        """With the domain of every image; None takes the pooled temperature throughout.

        Raises:
            CalibrationError: not as many domains as images; `field` is `domains`.
        """
        logits_NC = logits_NC.double()
        if domains is None:
            return (logits_NC / self.pooled).log_softmax(dim=1)
        if len(domains) != len(logits_NC):
            message = f"{len(domains)} domains for {len(logits_NC)} images"
            raise CalibrationError(message, field="domains")
        each = [self.temperatures.get(domain, self.pooled) for domain in domains]
        return (logits_NC / logits_NC.new_tensor(each)[:, None]).log_softmax(dim=1)

    def probabilities(self, logits_NC: Tensor, domains: Sequence[str] | None = None) -> Tensor:
        return self.log_probabilities(logits_NC, domains).exp()


class VectorCalibrator(Calibrator):
    """A scale and an offset per class, on logits − their mean: the top class may change.

    `seen` says which classes had images enough to be fitted; the others have the common scale and
    no offset, and do not count for the mean. None: all.
    """

    keeps_ranking: ClassVar[bool] = False

    kind: Literal["vector"] = "vector"
    shrinkage: float = Field(ge=0)
    scales: tuple[Finite, ...] = Field(min_length=2)
    offsets: tuple[Finite, ...] = Field(min_length=2)
    seen: tuple[bool, ...] | None = None

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if len(self.scales) != len(self.offsets):
            raise ValueError("as many offsets as scales are needed")
        if self.seen is not None and (len(self.seen) != len(self.scales) or not any(self.seen)):
            raise ValueError("which of as many classes were seen is needed")
        return self

    def log_probabilities(self, logits_NC: Tensor) -> Tensor:
        if logits_NC.shape[1] != len(self.scales):
            raise CalibrationError(
                f"fitted for {len(self.scales)} classes, not {logits_NC.shape[1]}"
            )
        logits_NC = logits_NC.double()
        middle_NC = logits_NC if self.seen is None else logits_NC[:, list(self.seen)]
        logits_NC = logits_NC - middle_NC.mean(dim=1, keepdim=True)
        scales_C, offsets_C = (logits_NC.new_tensor(x) for x in (self.scales, self.offsets))
        return (logits_NC * scales_C + offsets_C).log_softmax(dim=1)


AnyCalibrator = Annotated[
    TemperatureCalibrator
    | MixtureCalibrator
    | IsotonicCalibrator
    | DomainCalibrator
    | VectorCalibrator,
    Field(discriminator="kind"),
]
_ANY: TypeAdapter[AnyCalibrator] = TypeAdapter(AnyCalibrator)


def from_json(data: Mapping[str, Any]) -> AnyCalibrator:
    """What `Calibrator.to_json` wrote; data without a kind are a temperature.

    Raises:
        CalibrationError: another kind, or data that are not whole.
    """
    try:
        return _ANY.validate_python({"kind": "temperature", **data})
    except ValidationError as error:
        raise CalibrationError(f"no calibrator: {error}") from error


def _log(share: float) -> float:
    return math.log(share) if share > 0 else -math.inf


def _strictly_rising(values: Sequence[float]) -> bool:
    return all(a < b for a, b in itertools.pairwise(values))
