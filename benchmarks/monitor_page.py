"""The tables of `docs/monitoring.md`, from `benchmarks/results/monitor.json`.

    python benchmarks/monitor_page.py

puts them between the page's marks `<!-- monitor:NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.provenance import RESULTS, ROOT

PAGE = ROOT / "docs" / "monitoring.md"
END = "<!-- end -->"
TITLES = {"zero_shot": "zero-shot", "fine_tuned": "fine-tuned"}
WATCHERS = {
    "e_process": "this test",
    "constant_stakes": "e-process with constant stakes on outcome − confidence",
    "repeated_z_test": "z-test of accuracy against mean confidence, every 100 labels",
}


def main() -> None:
    document = json.loads((RESULTS / "monitor.json").read_text(encoding="utf-8"))
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), document), encoding="utf-8")


def filled(page: str, document: Mapping[str, Any]) -> str:
    """The page with its tables made from the results."""
    tables = {
        "alarms": alarms(document["models"]),
        "delays": delays(document["models"]),
        "recalibration": recalibration(document["models"]),
    }
    for name, lines in tables.items():
        before, mark, rest = page.partition(f"<!-- monitor:{name} -->\n")
        _, end, after = rest.partition(END)
        table = "\n".join(lines)
        page = f"{before}{mark}\n{table}\n\n{end}{after}"
    return page


def alarms(models: Mapping[str, Any]) -> Iterator[str]:
    """Share of calibrated streams that alarm."""
    first = next(iter(models.values()))["false_alarms"]
    head = (
        f"{first['streams']} calibrated streams of {first['labels']:,} labels: alarms at any time"
    )
    yield from _head([head, *(TITLES[name] for name in models)])
    for watcher, title in WATCHERS.items():
        rates = [model["false_alarms"]["rates"][watcher] for model in models.values()]
        cells = [f"{100 * r['share']:.1f} ± {100 * r['standard_error']:.1f} %" for r in rates]
        yield _row([title, *cells])


def delays(models: Mapping[str, Any]) -> Iterator[str]:
    """Labels until the alarm, set by set."""
    columns = [
        f"{TITLES[name]}: {each}"
        for name in models
        for each in ("ECE / chance level, %", "alarm in one pass", "labels", "late")
    ]
    yield from _head(["", *columns])
    gaps = [model["gaps"] for model in models.values()]
    for rows in zip(*gaps, strict=True):
        cells = [cell for row in rows for cell in ("", *_delays(row))]
        gap = f"{100 * rows[0]['gap']:.0f} points"
        yield _row([f"right {gap} less often than confidence says", *cells])
    for rows in zip(*(model["delays"] for model in models.values()), strict=True):
        errors = [f"{100 * row['ece']:.2f} / {100 * row['ece_null_p95']:.2f}" for row in rows]
        cells = [
            cell
            for row, error in zip(rows, errors, strict=True)
            for cell in (_bold(error, row["ece"] > row["ece_null_p95"]), *_delays(row))
        ]
        yield _row([rows[0]["set"], *cells])


def recalibration(models: Mapping[str, Any]) -> Iterator[str]:
    """How often it moves and what that gains."""
    counts = [row["labels"] for row in next(iter(models.values()))["recalibration"]["calibrated"]]
    columns = [f"{TITLES[name]}, {n} labels" for name in models for n in counts]
    yield from _head(["moved; nats gained per image, mean over all runs", *columns])
    calm = [row for m in models.values() for row in m["recalibration"]["calibrated"]]
    yield _row(["calibrator exactly right", *(f"{100 * row['moved']:.1f} %" for row in calm)])
    others = {
        "significantly_lower": "the same, by the t-test alone",
        "lower_held_out_nll": "the same, if a lower held-out NLL were enough",
    }
    for rule, title in others.items():
        yield _row([title, *(f"{100 * row[rule]:.0f} %" for row in calm)])
    sets = [model["recalibration"]["sets"] for model in models.values()]
    for rows in zip(*sets, strict=True):
        each = [row[str(n)] for row in rows for n in counts]
        cells = [f"{100 * one['moved']:.0f} %; {one['gain']:+.3f}" for one in each]
        yield _row([rows[0]["set"], *cells])


def _delays(row: Mapping[str, Any]) -> list[str]:
    fresh, late = row["fresh"]["e_process"], row["late"]["e_process"]
    return [f"{100 * fresh['at_once']:.0f} %", _delay(fresh), _delay(late)]


def _delay(found: Mapping[str, Any]) -> str:
    if found["never"] is None:
        return "–"
    never = f" ({100 * found['never']:.0f} %)" if found["never"] else ""
    return ("–" if found["median"] is None else f"{found['median']}") + never


def _bold(text: str, bold: bool) -> str:
    return f"**{text}**" if bold else text


def _head(cells: Sequence[str]) -> Iterator[str]:
    yield _row(cells)
    yield _row(["---", *("--:" for _ in cells[1:])])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
