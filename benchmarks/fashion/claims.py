"""What this project claims on the fashion suite, each with its figures and whether it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.fashion.measures import Estimate, Measured, difference, estimate
from benchmarks.fashion.plan import DEFAULT, MERGED, PAPER, ROWS

PEERS = ("finetune", "lp-ft", "flyp")
LESS = 0.20
LEVEL = 0.05
Table = Mapping[str, Sequence[Measured]]
"""The runs of each row under one protocol."""


def claims_of(tables: Mapping[str, Table], titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Every claim, in the order of its number."""
    found = [*_against_peers(tables["P"], titles)]
    for protocol, table in tables.items():
        found += _against_paper(protocol, table)
        found += _best(protocol, table, titles)
    return sorted(found, key=lambda claim: str(claim["id"]))


def _claim(
    name: str, protocol: str, text: str, measured: Estimate, *, holds: bool, **more: Any
) -> dict[str, Any]:
    return {
        "id": name,
        "protocol": protocol,
        "claim": text,
        "measured": measured.mean,
        "half": measured.half,
        "p": measured.p,
        "holds": holds,
        **more,
    }


def _against_peers(table: Table, titles: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for peer in PEERS:
        found = difference(table[PAPER], table[peer], "ood_accuracy")
        text = f"CaRot as published has higher OOD accuracy than {titles[peer]}"
        yield _claim(f"1-accuracy-{peer}", "P", text, found, holds=_higher(found))
        surer = difference(table[peer], table[PAPER], "id_excess_ece")
        found = difference(table[PAPER], table[peer], "ood_excess_ece")
        text = f"CaRot as published has lower OOD excess ECE than {titles[peer]}"
        if surer.mean <= 0:
            yield _claim(f"1-raw-{peer}", "P", f"{text}, raw", found, holds=_lower(found))
        else:
            text = f"{text}, raw (not claimed: its ID excess ECE is larger)"
            yield _claim(f"1-raw-{peer}", "P", text, found, holds=_lower(found), claimed=False)
        found = difference(table[PAPER], table[peer], "ood_after_excess_ece")
        text = f"CaRot as published has lower OOD excess ECE than {titles[peer]}, after temperature"
        yield _claim(f"1-after-{peer}", "P", text, found, holds=_lower(found))


def _against_paper(protocol: str, table: Table) -> Iterator[dict[str, Any]]:
    ours, theirs = table[DEFAULT], table[PAPER]
    for kind, words in (("", "raw"), ("after_", "after temperature")):
        figure = f"ood_{kind}excess_ece"
        found = difference(ours, theirs, figure, share=1 - LESS)
        relative = estimate(ours, figure).mean / estimate(theirs, figure).mean - 1
        text = (
            f"the default has at least 20 % lower OOD excess ECE than CaRot as published, {words}"
        )
        name = f"2-{'after' if kind else 'raw'}"
        yield _claim(name, protocol, text, found, holds=found.mean <= 0, relative=relative)
    found = difference(ours, theirs, "ood_accuracy")
    text = "the default has higher OOD accuracy than CaRot as published"
    yield _claim("2-accuracy", protocol, text, found, holds=_higher(found))
    found = difference(ours, theirs, "id_accuracy")
    text = "the default's ID accuracy is not lower than that of CaRot as published"
    yield _claim("2-id-accuracy", protocol, text, found, holds=not _lower(found))


def _best(protocol: str, table: Table, titles: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    accuracy, error = "ood_accuracy", "ood_after_excess_ece"
    trained = [name for name in table if name != "zero-shot"]
    most = max(trained, key=lambda name: estimate(table[name], accuracy).mean)
    least = min(trained, key=lambda name: estimate(table[name], error).mean)
    yield _claim(
        "3-merged",
        protocol,
        "the default merged along its run is the best row on both axes (OOD accuracy, OOD excess "
        "ECE after temperature)",
        difference(table[MERGED], table[most], accuracy),
        holds=most == least == MERGED,
        best={"accuracy": titles[most], "excess_ece": titles[least]},
    )
    once = [name for name in trained if name in ROWS and name != DEFAULT]
    better = [
        name
        for name in once
        if _higher(difference(table[name], table[DEFAULT], accuracy))
        and _lower(difference(table[name], table[DEFAULT], error))
    ]
    closest = max(once, key=lambda name: difference(table[name], table[DEFAULT], accuracy).mean)
    yield _claim(
        "4-default",
        protocol,
        "no row that is trained once beats the default on both axes, each at p < 0.05",
        difference(table[DEFAULT], table[closest], accuracy),
        holds=not better,
        better=[titles[name] for name in better],
    )


def _higher(found: Estimate) -> bool:
    return found.mean > 0 and found.p < LEVEL


def _lower(found: Estimate) -> bool:
    return found.mean < 0 and found.p < LEVEL
