"""CaRot: calibrated, robust fine-tuning of CLIP-like models.

`import carot` is all that a user of the library needs:

    spec = {"model": {"architecture": "carot-mini"}, "dataset": "builtin:digits"}
    result = carot.fit(spec, "run")
    answers = carot.predict(["seven.png"], "run/checkpoint")

Importing it loads no torch: a name is looked up in its module when it is first used, and what needs
no torch (specs, errors) is found without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carot.errors import CarotError as CarotError
    from carot.library import *  # noqa: F403
    from carot.specs import EvaluateSpec as EvaluateSpec
    from carot.specs import FinetuneSpec as FinetuneSpec
    from carot.specs import InterpolateSpec as InterpolateSpec
    from carot.specs import MergeSpec as MergeSpec
    from carot.specs import ModelSpec as ModelSpec
    from carot.specs import PredictSpec as PredictSpec
    from carot.specs import SelectSpec as SelectSpec
    from carot.specs.parsing import parse_spec as parse_spec

__version__ = "0.1.0"

LIBRARY = (
    "Answer",
    "Asked",
    "Calibrator",
    "Classifier",
    "ClipModel",
    "Metrics",
    "NotAnswered",
    "Predicted",
    "RunResult",
    "calibrator_from_json",
    "chance_level",
    "compute_metrics",
    "evaluate",
    "execute",
    "expected_calibration_error",
    "fit",
    "fit_calibration_evidence",
    "fit_conformal",
    "fit_domain_temperature",
    "fit_ensemble_temperature",
    "fit_isotonic",
    "fit_perturbed_temperature",
    "fit_risk",
    "fit_smoothed_temperature",
    "fit_temperature",
    "fit_top_versus_all",
    "fit_vector",
    "load_model",
    "predict",
    "reliability",
    "smooth_ece",
    "top_label",
    "with_adapters",
)
"""What `carot.library` has; a test holds the two together."""
HOMES = {
    "CarotError": "carot.errors",
    "EvaluateSpec": "carot.specs",
    "FinetuneSpec": "carot.specs",
    "InterpolateSpec": "carot.specs",
    "MergeSpec": "carot.specs",
    "ModelSpec": "carot.specs",
    "PredictSpec": "carot.specs",
    "SelectSpec": "carot.specs",
    "parse_spec": "carot.specs.parsing",
    **dict.fromkeys(LIBRARY, "carot.library"),
}
"""Every public name, and the module that it is taken from."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'carot' has no attribute {name!r}")
    value = getattr(import_module(HOMES[name]), name)
    globals()[name] = value  # the next time without this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *HOMES})
