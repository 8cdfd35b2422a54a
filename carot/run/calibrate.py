"""Fits calibrators, evidence and shift score on the calibration split of a run.

Every kind of calibrator that the spec asks for is fitted; one that cannot be fitted is left out
and the report says why. Nothing about calibrators ends a run: hours of training may lie before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from carot.calibration.calibration import Calibration
from carot.calibration.calibrators.automatic import choose_calibrator
from carot.calibration.calibrators.by_class import LEAST_OF_CLASS, named, rare_classes
from carot.calibration.calibrators.calibrator import AnyCalibrator
from carot.calibration.calibrators.choice import Choice
from carot.calibration.calibrators.fitting import fit_calibrator, sample_likelihood
from carot.calibration.calibrators.no_calibrator import no_calibrator
from carot.calibration.metrics.likelihood import raw_negative_log_likelihood
from carot.calibration.sets.calibration_evidence import fit_calibration_evidence
from carot.calibration.sets.shift_score import ShiftScore, fit_shift_score
from carot.errors import CalibrationError, DataError
from carot.evaluation.evaluate import Outputs
from carot.evaluation.figures import CalibrationSummary, FittedCalibrator
from carot.evaluation.measuring import measure
from carot.evaluation.rows import evaluation_rows, open_evaluation
from carot.evaluation.worse import worse_than_raw
from carot.events import Warning
from carot.run.calibration_images import DOMAINS, PERTURBED, Samples
from carot.run.context import Context
from carot.run.evaluated import EvaluatedModel
from carot.run.unseen import compared_with_unseen
from carot.specs import CALIBRATORS, OWN_DOMAIN, CalibrationSpec
from carot.warnings import Code

FALLBACK = "temperature"
"""What is served where the kind that was asked for cannot be fitted."""

FAILURES = (CalibrationError, DataError)
"""What leaves one kind out: it cannot be fitted on this, or its own images cannot be read."""

NONE = "none"

RISE = 1e-9
"""Nats by which rounding may raise a likelihood."""


@dataclass
class Fits:
    """The calibrators by kind, and why there is none of a kind or, of `auto`, no choice."""

    fitted: dict[str, AnyCalibrator] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    choice: Choice | None = None

    def add(self, other: Fits) -> None:
        """Those of another, too."""
        self.fitted |= other.fitted
        self.reasons |= other.reasons


def calibrate(
    context: Context, evaluated: EvaluatedModel, only: str | None = None
) -> EvaluatedModel:
    """Fit what the spec asks for; the model as it was, with a warning, if there is nothing to fit.

    What it makes of unseen classes is measured as well: the checkpoint is to say by which score it
    abstains from them.

    Args:
        only: the one kind to fit, without the rest: for a model that is compared and not kept.
    """
    found = _calibrated(context, evaluated, only)
    return found if only is not None else compared_with_unseen(context, found)


def _calibrated(context: Context, evaluated: EvaluatedModel, only: str | None) -> EvaluatedModel:
    source = context.open_known("calibration")
    if len(source) == 0:
        message = f"{context.spec.dataset} has no calibration split: confidences stay raw"
        _warn(context, "no_calibration_split", message)
        return evaluated
    spec, outputs = context.spec.calibration, context.outputs(evaluated, source, "calibration")
    samples = Samples(context, evaluated, outputs)
    if only is not None:
        fitted = _fit(samples, (only,)).fitted.get(only)
        return (
            evaluated
            if fitted is None
            else evaluated.calibrated(Calibration(fitted, {only: fitted}))
        )
    fits = _fit(samples, spec.kinds, auto=spec.calibrator == "auto")
    served = _served(samples, spec, fits)
    if served is None:
        message = f"{fits.reasons[FALLBACK]}: confidences stay raw"
        _warn(context, "calibrator_not_fitted", message, [spec.calibrator])
        return evaluated
    if spec.none_if_worse and served.kind != NONE:
        served = _unless_worse(context, evaluated, served, samples)
    summary = _summary(spec, samples, fits, served)
    _warn_of_classes(context, outputs, evaluated.card.classes)
    _warn_of_calibrators(context, spec, summary, fits)
    evidence = fit_calibration_evidence(
        outputs.logits_NC, outputs.labels_N, classes=evaluated.card.classes
    )
    calibration = Calibration(served, fits.fitted, evidence, _shift_score(context, outputs))
    return evaluated.calibrated(calibration, summary)


def _served(samples: Samples, spec: CalibrationSpec, fits: Fits) -> AnyCalibrator | None:
    """The one that the spec asks for, or that takes its place; None where nothing can be fitted."""
    if spec.calibrator == NONE:
        plain = samples.plain
        return no_calibrator(plain.logits_NC, plain.labels_N, **samples.origin)
    asked = spec.calibrator if fits.choice is None else fits.choice.calibrator.kind
    if asked not in fits.fitted and FALLBACK not in fits.fitted:
        fits.add(_fit(samples, (FALLBACK,)))
    return fits.fitted.get(asked, fits.fitted.get(FALLBACK))


def _unless_worse(
    context: Context, evaluated: EvaluatedModel, served: AnyCalibrator, samples: Samples
) -> AnyCalibrator:
    """It, or none where it looks worse on the data set in distribution."""
    rows = evaluation_rows(context.spec.evaluation, context.spec.dataset)
    row = next((row for row in rows if row.in_distribution), None)
    if row is None:
        message = f"nothing is measured in distribution to compare {served.kind} with none by"
        _warn(context, "other", message, [served.kind])
        return served
    opened = open_evaluation(row, evaluated.card.classes, unseen=context.spec.unseen)
    outputs = context.outputs(evaluated, opened.source, row.name)
    measured = measure(
        row,
        outputs.logits_NC,
        outputs.labels_N,
        outputs.features_ND,
        calibration=Calibration(served),
        skipped=outputs.skipped,
        space=opened.label_space,
    )
    why = worse_than_raw(measured)
    if why is None:
        return served
    message = f"{served.kind}: {why}: raw ones are served"
    _warn(context, "calibrator_hurts", message, [served.kind])
    plain = samples.plain
    return no_calibrator(plain.logits_NC, plain.labels_N, **samples.origin)


def calibrate_checkpoint(context: Context, evaluated: EvaluatedModel) -> EvaluatedModel:
    """The same for one that may have been calibrated before, which counts."""
    if evaluated.calibration is None or context.spec.calibration.refit:
        return calibrate(context, evaluated)
    if evaluated.calibration.evidence is None:
        message = (
            "the checkpoint does not say what its calibration images showed: there are no "
            "prediction sets and no risks; calibration.refit fits it again"
        )
        context.reporter.report(Warning(code="no_grounds", message=message))
    return compared_with_unseen(context, evaluated)


def _fit(samples: Samples, kinds: Iterable[str], *, auto: bool = False) -> Fits:
    """Each kind, or why not; with `auto` their comparison."""
    fits, kinds = Fits(), list(kinds)
    if auto:
        # By what does best where nobody says of which domain an image is.
        compared = [kind for kind in kinds if kind != DOMAINS]
        try:
            sample = samples.of(PERTURBED if PERTURBED in compared else FALLBACK)
        except FAILURES:  # told below
            sample = samples.plain
        try:
            fits.choice = choose_calibrator(sample, compared, **samples.origin)
        except CalibrationError as error:
            fits.reasons["auto"] = error.message
    for kind in kinds:
        if fits.choice is not None and kind == fits.choice.calibrator.kind:
            fits.fitted[kind] = fits.choice.calibrator
            continue
        try:
            fits.fitted[kind] = fit_calibrator(kind, samples.of(kind), **samples.origin)
        except FAILURES as error:
            fits.reasons[kind] = error.message
    return fits


def _summary(
    spec: CalibrationSpec, samples: Samples, fits: Fits, served: AnyCalibrator
) -> CalibrationSummary:
    logits_NC, labels_N = samples.plain.logits_NC, samples.plain.labels_N
    own = replace(samples.plain, domains=[OWN_DOMAIN] * len(labels_N))
    fitted = [
        FittedCalibrator(kind=kind, calibrator=each, nll=float(sample_likelihood(each, own).mean()))
        for kind, each in fits.fitted.items()
    ]
    missing = [
        FittedCalibrator(kind=kind, calibrator=None, reason=reason)
        for kind, reason in fits.reasons.items()
        if kind in CALIBRATORS
    ]
    return CalibrationSummary(
        images=len(labels_N),
        asked=spec.calibrator,
        served=served.kind,
        raw_nll=float(raw_negative_log_likelihood(logits_NC, labels_N).mean()),
        calibrators=(*fitted, *missing),
        choice=fits.choice,
    )


def _shift_score(context: Context, outputs: Outputs) -> ShiftScore | None:
    try:
        return fit_shift_score(outputs.features_ND)
    except CalibrationError as error:  # too few images, or all alike
        _warn(context, "no_shift_score", error.message)
        return None


def _warn_of_classes(context: Context, outputs: Outputs, classes: Sequence[str]) -> None:
    """Warn about classes of which the calibration split says next to nothing."""
    rare = rare_classes(outputs.labels_N, len(classes))
    if rare:
        message = f"fewer than {LEAST_OF_CLASS} calibration images of {named(classes, rare)}"
        _warn(context, "calibration_lacks_classes", message, [classes[k] for k in rare])


def _warn_of_calibrators(
    context: Context, spec: CalibrationSpec, summary: CalibrationSummary, fits: Fits
) -> None:
    """Warn about calibrators that were not fitted, or that should be used with care."""
    for kind in ("auto", *spec.asked_by_name):
        if kind in fits.reasons:
            instead = f"; {summary.served} is served" if kind == spec.calibrator else ""
            _warn(
                context, "calibrator_not_fitted", f"{kind}: {fits.reasons[kind]}{instead}", [kind]
            )
    images = summary.images
    at_bound = [kind for kind, each in fits.fitted.items() if each.at_bound]
    if at_bound:
        message = f"{images} calibration images do not determine {', '.join(at_bound)}"
        _warn(context, "calibrator_at_bound", f"{message}: a parameter is at its bound", at_bound)
    unfinished = [kind for kind, each in fits.fitted.items() if not each.converged]
    if unfinished:
        message = f"the search ended before it converged: {', '.join(unfinished)}"
        _warn(context, "calibrator_not_converged", message, unfinished)
    assert summary.raw_nll is not None
    for each in summary.calibrators:
        named = each.kind == summary.served or each.kind in spec.asked_by_name
        if named and each.nll is not None and each.nll > summary.raw_nll + RISE:
            message = (
                f"{each.kind} makes the calibration images less likely: negative log-likelihood "
                f"{each.nll:.4f}, without it {summary.raw_nll:.4f}"
            )
            _warn(context, "calibrator_hurts", message, [each.kind])


def _warn(context: Context, code: Code, message: str, names: Iterable[str] = ()) -> None:
    context.reporter.report(Warning(code=code, message=message, names=tuple(names)))
