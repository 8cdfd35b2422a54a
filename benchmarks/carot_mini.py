"""What carot-mini reaches without fine-tuning, on clean and on shifted digits.

    python benchmarks/carot_mini.py [--json FILE] [--model FOLDER]

Prints the table of the model card (accuracies in percent) and writes it as JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from carot.data.shifts.shifts import SEVERITIES
from carot.mini.evaluate import load_mini, measure
from carot.models.mini import MODEL_FOLDERS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--model", type=Path, default=MODEL_FOLDERS["carot-mini"], help="a local-dir folder"
    )
    parser.add_argument("--json", type=Path, default=Path("build/carot_mini.json"))
    options = parser.parse_args()
    figures = measure(load_mini(options.model))
    print(f"{'shift':12}" + "".join(f"{severity:>8}" for severity in SEVERITIES) + f"{'mean':>8}")
    for name, figure in figures.items():
        if isinstance(figure, dict):
            row = [*figure.values(), sum(figure.values()) / len(figure)]
            print(f"{name:12}" + "".join(f"{100 * value:8.1f}" for value in row))
    print()
    for name, figure in figures.items():
        if not isinstance(figure, dict):
            print(f"{name:24}{100 * figure:8.1f}")
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
