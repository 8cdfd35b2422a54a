"""Plots as SVG, the same bytes for the same figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

STYLE: Any = {  # the stubs list every key there is
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: small files that can be searched
    "svg.hashsalt": "carot",  # ids in the file come from this instead of chance
}


mpl.rcParams.update(STYLE)


def panels(columns: int, width: float = 3.6, height: float = 3.0) -> tuple[Figure, list[Axes]]:
    """A figure with `columns` axes beside each other, each `width` x `height` inches."""
    figure = Figure(figsize=(columns * width, height), layout="constrained")
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def save_svg(figure: Figure, path: Path) -> None:
    """Write the figure without a date, and make the folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None})
    # matplotlib ends some lines with blanks, which git minds.
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")
