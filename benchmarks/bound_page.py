"""The page docs/bound.md, from what `benchmarks/bound.py` found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.choosing import GROUPS, OUTCOMES, TERMS, rho_text

TOY_TERMS = {
    "inverse_sigma_min": "1 / σ_min",
    "id_ece": "ID ECE",
    "standardised_mean": "both, standardised",
    "id_error": "no term: ID error",
}
TOY_OUTCOMES = {"ood_mse": "OOD MSE", "ood_error": "OOD error", "ood_ece": "OOD ECE"}
TOY_GROUPS = {
    "all": "all models",
    "strong OC": "strong constraint only",
    "without OC": "without constraint",
}


def write_page(document: Mapping[str, Any], page: Path) -> None:
    """Everything as tables; part (b) only where it was measured."""
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n\n".join(_sections(document)) + "\n", encoding="utf-8")


def _sections(document: Mapping[str, Any]) -> Iterator[str]:
    yield "# Does the bound order models?"
    yield (
        "CaRot's Theorem 3.1 bounds classification and calibration error under shift by the "
        "calibration error in distribution plus a term in the smallest singular value σ_min of the "
        "features' correlation matrix. As a number the bound says nothing (its second term is at "
        "least the number of dimensions). Here is what it says as an order. "
        "`python benchmarks/bound.py` makes this page; figures are in `benchmarks/results/`."
    )
    toy = document["toy"]
    yield "## The paper's toy experiment"
    yield (
        f"{toy['models']} small networks on drawn features, with and without the orthogonality "
        "constraint and self-distillation in varying strengths (`benchmarks/bound_toy.py` says "
        "what the paper leaves open). Pearson's r with 95 % bootstrap intervals over models:"
    )
    yield _toy_table(toy["correlations"])
    yield (
        "Read across: over all models both terms go with the errors under shift. Within the groups "
        "σ_min says little, and the plain ID error, which is no term of the bound, does about as "
        "well as the terms: much of the correlation tells constrained models from the others."
    )
    yield "![The bound's terms against errors under shift](img/bound_toy.svg)"
    if "checkpoints" in document:
        part = document["checkpoints"]
        yield "## Real checkpoints"
        yield (
            f"{part['checkpoints']} checkpoints of carot-mini from `benchmarks/shift.py`: the end "
            "of every run, and for some seeds half of the way, too. Spearman's ρ with 95 % "
            "bootstrap intervals over checkpoints (which are not independent):"
        )
        yield _rank_table(part["correlations"])
        yield "## Choosing without out-of-distribution data"
        yield (
            "What each rule picks by looking at the in-distribution validation split alone, and "
            "what the pick turns out to be under shift (means over groups of candidates). "
            "`random`: the mean over all candidates; `oracle`: the best under shift, which no rule "
            "can see. "
            "`bound` is the rule of that name in `carot.evaluation.selection`."
        )
        yield _choice_table(part["choices"])


def _toy_table(groups: Mapping[str, Any]) -> str:
    lines = ["| | | " + " | ".join(TOY_OUTCOMES.values()) + " |", "|---" * 5 + "|"]
    for group, words in TOY_GROUPS.items():
        for term, title in TOY_TERMS.items():
            cells = [_pearson(groups[group][outcome][term]) for outcome in TOY_OUTCOMES]
            lines.append(f"| {words} | {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _rank_table(correlations: Mapping[str, Any]) -> str:
    lines = ["| | " + " | ".join(OUTCOMES.values()) + " |", "|---" * 3 + "|"]
    for term, title in TERMS.items():
        cells = [rho_text(correlations[term][outcome]) for outcome in OUTCOMES]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _choice_table(choices: Mapping[str, Any]) -> str:
    lines = ["| candidates | rule | OOD accuracy, % | OOD ECE, % |", "|---" * 4 + "|"]
    for kind, words in GROUPS.items():
        for rule, figures in choices[kind].items():
            accuracy, ece = 100 * figures["ood_accuracy"], 100 * figures["ood_ece"]
            lines.append(f"| {words} | {rule} | {accuracy:.1f} | {ece:.2f} |")
    return "\n".join(lines)


def _pearson(found: Mapping[str, Any]) -> str:
    if found["pearson"] is None:
        return "not defined"
    low, high = found["pearson_interval"]
    return f"{found['pearson']:+.2f} [{low:+.2f}, {high:+.2f}]"
