"""ECE and temperature on 50,000 × 1,000 logits, against four other libraries.

    python benchmarks/calibration.py [--quick] [--repeats 5] [--threads 1] [--json FILE]

torchmetrics, netcal, scikit-learn and probmetrics, on the same float32 logits in one run. Rounds go
through all contenders in turn, so that what else the machine does meets all alike; times are
medians over the rounds. Extra memory is the most that torch's CPU allocator gave out at a time,
and the most that Python and numpy did (tracemalloc), above the loaded data, in a fresh process
after a small warm-up; what other libraries ask of the system themselves is not in it. Beside it
stands by how much the resident set grew at its peak, which has that as well, in whole pages and
with what allocators keep for later. Errors are against sums in float64 by numpy
alone. Libraries that are not installed (`pip install 'carot[bench]'`) are named in the table as
such.

To reach: ECE in at most 0.7 of the time of the fastest and a tenth of its memory, temperature at
least 4 times as fast as scikit-learn, both exact.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq

from benchmarks.calibration_contenders import CONTENDERS, Contender, Data
from benchmarks.provenance import ROOT, write_results

BINS = 15
SHARPENED = 1.6
OFFSET = 20.0
LIBRARIES = ("torchmetrics", "netcal", "scikit-learn", "probmetrics", "scipy")
MIB = 1 << 20
CLEAR_PEAK = "5"
"""What resets a process' peak resident set when written to /proc/self/clear_refs."""
SLOW_S = 20.0
"""A contender that takes longer is measured in two rounds only."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="4,000 × 100 logits")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("build/calibration.json"))
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # of the libraries that are compared
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print(json.dumps(extra_memory(options.memory_of, options.folder)))
        return
    images, classes = (4_000, 100) if options.quick else (50_000, 1_000)
    data = draw(images, classes)
    exact = {"ece": exact_ece(data), "temperature": exact_temperature(data)}
    print(f"exact ECE {exact['ece']:.9f}, temperature {exact['temperature']:.9f}")
    times = rounds(data, options.repeats)
    with tempfile.TemporaryDirectory() as name:
        np.savez(Path(name) / "data.npz", logits=data.logits_NC, labels=data.labels_N)
        memory = {key: memory_in_child(key, Path(name), options.threads) for key in times}
    rows = [
        row(each, times.get(each.key), memory.get(each.key), exact[each.task])
        for each in CONTENDERS
    ]
    reached = targets(rows)
    show(rows, reached)
    write_results(
        options.json,
        {
            "images": images,
            "classes": classes,
            "threads": options.threads,
            "repeats": options.repeats,
            "libraries": versions(),
            "exact": exact,
            "rows": rows,
            "targets": reached,
        },
    )


def draw(images: int, classes: int) -> Data:
    """Labels from softmax(g), logits 1.6 g + 20 in float32: too sure by a temperature of 1.6."""
    generator = torch.Generator().manual_seed(0)
    g_NC = 2.5 * torch.randn(images, classes, generator=generator)
    labels_N = torch.multinomial(g_NC.softmax(dim=1), 1, generator=generator).squeeze(1)
    return Data((SHARPENED * g_NC + OFFSET).numpy(), labels_N.numpy())


def exact_ece(data: Data) -> float:
    """By numpy in float64, bins (k/15, (k+1)/15]."""
    confidence, right = [], []
    for start in range(0, len(data.labels_N), 1000):
        z_NC = data.logits_NC[start : start + 1000].astype(np.float64)
        power_NC = np.exp(z_NC - z_NC.max(axis=1, keepdims=True))
        confidence.append(1 / power_NC.sum(axis=1))
        right.append(z_NC.argmax(axis=1) == data.labels_N[start : start + 1000])
    confidence_N, right_N = np.concatenate(confidence), np.concatenate(right)
    place_N = np.searchsorted(np.arange(1, BINS) / BINS, confidence_N, side="left")
    gaps = [float((right_N - confidence_N)[place_N == b].sum()) for b in range(BINS)]
    return sum(map(abs, gaps)) / len(confidence_N)


def exact_temperature(data: Data) -> float:
    """Where the slope of the likelihood is 0, by Brent's method on float64 sums of numpy."""

    def slope(beta: float) -> float:
        total = 0.0
        for start in range(0, len(data.labels_N), 1000):
            z_NC = data.logits_NC[start : start + 1000].astype(np.float64)
            z_NC -= z_NC.max(axis=1, keepdims=True)
            power_NC = np.exp(beta * z_NC)
            target_N = z_NC[range(len(z_NC)), data.labels_N[start : start + 1000]]
            mean_N = (power_NC * z_NC).sum(axis=1) / power_NC.sum(axis=1)
            total += float((mean_N - target_N).sum())
        return total

    return 1 / float(brentq(slope, 0.4, 1.0, xtol=1e-13, rtol=1e-13))


def rounds(data: Data, repeats: int) -> dict[str, dict[str, Any]]:
    """Wall and processor seconds and the value of every contender that can be loaded."""
    found: dict[str, dict[str, Any]] = {}
    few = data.part(200)
    for each in CONTENDERS:
        if each.missing() is None:
            each.run(few)
            found[each.key] = {"wall": [], "processor": [], "value": None}
    for number in range(repeats):
        for each in CONTENDERS:
            measured = found.get(each.key)
            if measured is None or (number >= 2 and min(measured["wall"]) > SLOW_S):
                continue
            wall, processor = time.perf_counter(), time.process_time()
            measured["value"] = each.run(data)
            measured["wall"].append(time.perf_counter() - wall)
            measured["processor"].append(time.process_time() - processor)
    return found


def memory_in_child(key: str, folder: Path, threads: int) -> dict[str, int]:
    """Bytes allocated and resident, from a process of its own."""
    program = [sys.executable, "-m", "benchmarks.calibration", "--memory-of", key]
    program += ["--folder", str(folder), "--threads", str(threads)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return found


def extra_memory(key: str, folder: Path) -> dict[str, int]:
    """Bytes that are allocated at most while the contender runs, and come to be resident."""
    contender = next(each for each in CONTENDERS if each.key == key)
    with np.load(folder / "data.npz", allow_pickle=False) as stored:
        data = Data(stored["logits"], stored["labels"])
    contender.run(data.part(200))
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text(CLEAR_PEAK, encoding="ascii")
    contender.run(data)
    resident_bytes = max(0, resident("VmHWM") - before)
    return {"allocated": allocated(contender, data), "resident": resident_bytes}


def allocated(contender: Contender, data: Data) -> int:
    """Most bytes at a time of torch's CPU allocator, and of Python with numpy, together.

    The two may have their peaks at different times: at most so much.
    """
    tracemalloc.start()
    with torch.autograd.profiler.profile(profile_memory=True) as seen:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        contender.run(data)
        _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    events = [each for each in seen.kineto_results.events() if each.name() == "[memory]"]
    events.sort(key=lambda each: each.start_ns())
    sizes = itertools.accumulate((each.nbytes() for each in events), initial=0)
    return int(max(sizes)) + peak - before


def resident(field: str) -> int:
    """Bytes, from what Linux says of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(each for each in status.splitlines() if each.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def row(
    contender: Contender,
    measured: Mapping[str, Any] | None,
    memory: Mapping[str, int] | None,
    exact: float,
) -> dict[str, Any]:
    """One line of the table."""
    head = {"task": contender.task, "name": contender.name}
    if measured is None or memory is None:
        return {**head, "missing": contender.missing()}
    return {
        **head,
        "wall_s": statistics.median(measured["wall"]),
        "processor_s": statistics.median(measured["processor"]),
        "rounds": len(measured["wall"]),
        "extra_mib": memory["allocated"] / MIB,
        "resident_mib": memory["resident"] / MIB,
        "value": measured["value"],
        "error": abs(measured["value"] - exact),
    }


def targets(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The three ratios that are to be reached; None where the other side is missing."""
    measured = [each for each in rows if "wall_s" in each]
    ours = {each["task"]: each for each in measured if each["name"] == "carot"}
    ece = [each for each in measured if each["task"] == "ece" and each["name"] != "carot"]
    sklearn = [each for each in measured if each["name"] == "scikit-learn"]
    fastest = min(ece, key=lambda each: float(each["wall_s"]), default=None)
    return {
        "fastest_ece": fastest and fastest["name"],
        "ece_time_ratio": fastest and ours["ece"]["wall_s"] / fastest["wall_s"],
        "ece_memory_ratio": fastest
        and ours["ece"]["extra_mib"] / max(fastest["extra_mib"], 1 / 1024),
        "ece_memory_ratio_to_least": ours["ece"]["extra_mib"]
        / max(min((each["extra_mib"] for each in ece), default=0.0), 1 / 1024)
        if ece
        else None,
        "temperature_times_faster_than_scikit_learn": sklearn[0]["wall_s"]
        / ours["temperature"]["wall_s"]
        if sklearn
        else None,
        "ece_error": ours["ece"]["error"],
        "temperature_error": ours["temperature"]["error"],
    }


def versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def show(rows: Sequence[Mapping[str, Any]], reached: Mapping[str, Any]) -> None:
    titles = f"{'wall s':>9}{'cpu s':>9}{'extra MiB':>11}{'resident':>10}{'value':>14}{'error':>10}"
    print(f"{'':51}{titles}")
    for each in rows:
        head = f"{each['task']:13}{each['name']:38}"
        if "wall_s" not in each:
            print(f"{head}  {each['missing']}")
            continue
        times = f"{each['wall_s']:9.3f}{each['processor_s']:9.3f}"
        memory = f"{each['extra_mib']:11.2f}{each['resident_mib']:10.2f}"
        print(f"{head}{times}{memory}{each['value']:14.9f}{each['error']:10.1e}")
    for name, value in reached.items():
        print(f"{name}: {value if value is None or isinstance(value, str) else f'{value:.4g}'}")


if __name__ == "__main__":
    main()
