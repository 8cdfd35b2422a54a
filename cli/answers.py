"""What `carot predict` prints for people."""

from __future__ import annotations

from typing import Any

from cli.output import fail, figure, out, table

COLUMNS = (
    "image",
    "class",
    ">confidence",
    ">raw",
    "set",
    "calibration evidence",
    ">shift",
    "abstain",
)
SHOWN = 5
"""Labels of a set."""


def show(answer: dict[str, Any]) -> None:
    """A table of images, and below it what the numbers come from."""
    good = [each for each in answer["predictions"] if not each["error"]]
    for prediction in answer["predictions"]:
        if prediction["error"]:
            fail(f"{prediction['name']}: {prediction['error']['message']}")
    if good:
        out.print(table(None, COLUMNS, [row(each) for each in good]))
    for line in remarks(answer):
        out.print(line, markup=False, highlight=False)


def row(prediction: dict[str, Any]) -> tuple[str, ...]:
    """One image; classes and their confidences stand below each other in their cells."""
    top = prediction["top"]
    shift, evidence = prediction["shift"], prediction["evidence"]
    return (
        prediction["name"],
        "\n".join(guess["label"] for guess in top),
        "\n".join(f"{guess['confidence']:.1%}" for guess in top),
        "\n".join(f"{guess['raw_confidence']:.1%}" for guess in top),
        labels(prediction["set"]),
        "-" if evidence is None else evidence["text"],
        "-" if shift is None else f"{shift['percentile']:.2f}",
        abstention(prediction),
    )


def labels(found: dict[str, Any] | None) -> str:
    """A prediction set in curly brackets."""
    if found is None:
        return "-"
    names = [member["label"] for member in found["labels"][:SHOWN]]
    more = found["size"] - len(names)
    return "{" + ", ".join(names) + (f", … {more} more" if more else "") + "}"


def abstention(prediction: dict[str, Any]) -> str:
    """Yes, no or unknown, and why."""
    word = {True: "yes", False: "no", None: "unknown"}[prediction["abstain"]]
    reasons = ", ".join(reason.replace("_", " ") for reason in prediction["abstain_reasons"])
    return f"{word}: {reasons}" if reasons else word


def remarks(answer: dict[str, Any]) -> list[str]:
    """Where the numbers come from, what is guaranteed, and why something is not there."""
    lines = [f"checkpoint {answer['checkpoint']}, {_source(answer)}"]
    vocabulary = answer["vocabulary"]
    if vocabulary is not None and vocabulary["own_head"] == "trained":
        lines.append(
            "the classes were read by the text tower, but the checkpoint's own head was trained"
        )
    if answer["limits"]["guarantee"]:
        lines.append(answer["limits"]["guarantee"])
    missing = {
        f"no {field}: {why['message']}"
        for prediction in answer["predictions"]
        for field, why in prediction["missing"].items()
    }
    return lines + sorted(missing)


def _source(answer: dict[str, Any]) -> str:
    calibrator, vocabulary = answer["calibrator"], answer["vocabulary"]
    if vocabulary is not None:
        temperature = vocabulary["temperature"]
        if temperature is None:
            return f"{vocabulary['classes']} classes of your own, not calibrated"
        return (
            f"{vocabulary['classes']} classes of your own, temperature {temperature:.3f} carried "
            "over, not calibrated"
        )
    if calibrator is None:
        return "not calibrated"
    kind = calibrator["kind"].replace("_", " ")
    if calibrator["temperature"] is not None:
        kind += f" {calibrator['temperature']:.3f}"
    if calibrator["domain"] is not None:
        kind += f" of {calibrator['domain']}"
    return (
        f"{kind}, fitted on {calibrator['n']} images ({calibrator['split']}): NLL "
        f"{figure(calibrator['nll_before'])} before, {figure(calibrator['nll_after'])} after"
    )
