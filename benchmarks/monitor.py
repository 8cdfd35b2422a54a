"""False alarms of the calibration monitor, how fast it notices shifts, and what recalibration does.

    python benchmarks/monitor.py [--quick] [--folder build/monitor] [--json FILE]

Answers are real ones: carot-mini as it ships and as `carot demo` trains it, on the handwritten
digits and their shifts, with a temperature fitted on the calibration split. Training takes a minute
or two and is kept in the folder. Three questions:

1. False alarms: streams of 20,000 labels whose confidences are those of test images and whose
   outcomes are drawn from them, so that H0 is true. How many alarm at any time: the e-process, a
   mixture of constant stakes on outcome less confidence, a z-test every 100 labels.
2. Delay: streams that draw answers of one set with replacement. After how many labels half of them
   have alarmed, and how many never did within 5,000; from the first label on, and after 5,000
   labels of a calibrated stream. Beside it the set's ECE with the level that chance alone reaches:
   where a model stays calibrated under a shift, silence is right.
3. Recalibration: how often it moves when the calibrator in use is exactly right, and for each shift
   how often, and what that gains on images whose labels it never had.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.monitor_answers import (
    FINE_TUNED,
    ZERO_SHOT,
    Answers,
    Model,
    model_answers,
    standard_error,
)
from benchmarks.monitor_recalibration import recalibrations
from benchmarks.monitor_streams import ConstantStakes, OurTest, Pool, first_alarms
from benchmarks.provenance import write_results
from benchmarks.shift_suite import ID
from carot.calibration.monitoring.e_process import ALPHA, EProcess

HORIZON = 5000
GAPS = (0.02, 0.05, 0.1)
LABELS = (100, 500)
"""How many labels recalibration gets."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few, short streams of few images")
    parser.add_argument("--folder", type=Path, default=Path("build/monitor"))
    parser.add_argument("--json", type=Path, default=Path("build/monitor.json"))
    options = parser.parse_args(arguments)
    quick = options.quick
    found = {}
    for name in (ZERO_SHOT, FINE_TUNED):
        model = model_answers(name, options.folder, 120 if quick else None)
        edges = EProcess.fresh(model.calibration.confidence_N.tolist()).edges
        horizon = 200 if quick else HORIZON
        found[name] = {
            "temperature": model.calibrator.temperature,
            "edges": edges,
            "false_alarms": false_alarms(
                model, edges, 20 if quick else 1000, 300 if quick else 20_000
            ),
            "delays": delays(model, edges, 10 if quick else 200, horizon),
            "gaps": gaps(model, edges, 10 if quick else 200, horizon),
            "recalibration": recalibrations(
                model, LABELS[:1] if quick else LABELS, 3 if quick else 100, 10 if quick else 400
            ),
        }
        show(name, found[name], horizon)
    write_results(options.json, {"alpha": ALPHA, "models": found})


def calibrated(answers: Answers) -> Pool:
    """These confidences, with outcomes drawn from them."""
    return Pool(answers.confidence_N, answers.confidence_N)


def real(answers: Answers) -> Pool:
    """These answers as they are."""
    return Pool(answers.confidence_N, answers.correct_N.astype(np.float64))


def false_alarms(
    model: Model, edges: tuple[float, ...], streams: int, labels: int
) -> dict[str, Any]:
    """The share of calibrated streams in which each watcher alarms at any time."""
    first = first_alarms([(calibrated(model.sets[ID]), labels)], edges, streams=streams, seed=1)
    rates = {}
    for name, first_R in first.items():
        share = float((first_R > 0).mean())
        rates[name] = {"share": share, "standard_error": standard_error(share, streams)}
    return {"streams": streams, "labels": labels, "rates": rates}


def delays(model: Model, edges: tuple[float, ...], streams: int, horizon: int) -> list[Any]:
    """For each set, how long it takes to notice, from the start and after a calibrated time."""
    rows = []
    for name, answers in model.rows().items():
        figures = answers.measured()
        kept = ("accuracy", "mean_confidence", "ece", "ece_null_p95")
        rows.append(
            {
                "set": name,
                "images": figures.labels,
                **{each: getattr(figures, each) for each in kept},
                **noticed(model, real(answers), edges, streams, horizon, figures.labels),
            }
        )
    return rows


def gaps(model: Model, edges: tuple[float, ...], streams: int, horizon: int) -> list[Any]:
    """The same where test images are right less often than their confidence says, by a gap."""
    confidence_P = model.sets[ID].confidence_N
    pools = {gap: Pool(confidence_P, (confidence_P - gap).clip(0)) for gap in GAPS}
    return [
        {"gap": gap, **noticed(model, pool, edges, streams, horizon, len(confidence_P))}
        for gap, pool in pools.items()
    ]


def noticed(
    model: Model, pool: Pool, edges: tuple[float, ...], streams: int, horizon: int, images: int
) -> dict[str, Any]:
    """Delays of both e-processes, from the start and after a calibrated time."""
    calm = calibrated(model.sets[ID])
    found = {}
    for when, parts in (("fresh", []), ("late", [(calm, horizon)])):
        first = first_alarms(
            [*parts, (pool, horizon)],
            edges,
            streams=streams,
            seed=2,
            watchers=(OurTest, ConstantStakes),
        )
        change = horizon if parts else 0
        found[when] = {each: delay(first_R, change, images) for each, first_R in first.items()}
    return found


def delay(first_R: NDArray[np.int64], change: int, images: int) -> dict[str, Any]:
    """Labels after the change until the alarm; streams that alarmed before it do not count.

    `at_once` is the share that alarmed within as many labels as the set has images: later ones
    also tell how these very images happen to differ from their confidences.

    The median is null where half of the streams or more never alarmed.
    """
    counted_R = first_R[(first_R == 0) | (first_R > change)]
    after = [int(first) - change if first else math.inf for first in counted_R]
    if not after:
        return {"median": None, "never": None, "at_once": None, "before": 1.0}
    median = statistics.median_high(after)
    return {
        "median": int(median) if math.isfinite(median) else None,
        "never": float((counted_R == 0).mean()),
        "at_once": sum(labels <= images for labels in after) / len(after),
        "before": 1 - len(counted_R) / len(first_R),
    }


def show(name: str, found: Mapping[str, Any], horizon: int) -> None:
    """One model's tables, as text."""
    alarms = found["false_alarms"]
    print(f"\n{name}: temperature {found['temperature']:.3f}, edges {found['edges']}")
    print(f"false alarms in {alarms['streams']} streams of {alarms['labels']} calibrated labels")
    for watcher, rate in alarms["rates"].items():
        print(f"  {watcher:18}{rate['share']:.3f} (s.e. {rate['standard_error']:.3f})")
    print(f"labels to notice, median (never within {horizon}); late: after {horizon} calm labels")
    print(f"  {'set':14}{'acc':>7}{'conf':>7}{'ECE':>7}{'null95':>7}", end="")
    print(f"{'fresh':>15}{'constant':>15}{'late':>15}{'constant':>15}")
    for row in found["delays"]:
        print(f"  {row['set']:14}{row['accuracy']:7.3f}{row['mean_confidence']:7.3f}", end="")
        print(f"{row['ece']:7.3f}{row['ece_null_p95']:7.3f}", delays_text(row))
    for row in found["gaps"]:
        print(f"  {row['gap']:<4} too sure {'':27}", delays_text(row))
    print("recalibration: moved, NLL gained on other images")
    for row in found["recalibration"]["calibrated"]:
        print(
            f"  calibrated, {row['labels']} labels: moved {row['moved']:.3f} "
            f"(lower held-out NLL {row['lower_held_out_nll']:.3f}, "
            f"by the t-test {row['significantly_lower']:.3f})"
        )
    for row in found["recalibration"]["sets"]:
        each = [row[str(n)] for n in LABELS if str(n) in row]
        cells = [f"{one['moved']:5.2f} {one['gain']:+.3f}" for one in each]
        print(f"  {row['set']:14}" + "  ".join(cells))


def delays_text(row: Mapping[str, Any]) -> str:
    """Four columns."""
    names = (OurTest.name, ConstantStakes.name)
    cells = [delay_text(row[when][each]) for when in ("fresh", "late") for each in names]
    return "".join(f"{cell:>15}" for cell in cells)


def delay_text(found: Mapping[str, Any]) -> str:
    """Such as `132 (0 %)`."""
    if found["never"] is None:
        return "none left"
    median = "-" if found["median"] is None else str(found["median"])
    return f"{median} ({100 * found['never']:.0f} %)"


if __name__ == "__main__":
    main()
