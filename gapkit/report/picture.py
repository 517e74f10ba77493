"""Figures without a window, from a late import of matplotlib, and panels for the quantities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gapkit.errors import Comparison
from gapkit.exceptions import InputError
from gapkit.targets import shown_quantities

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUANTITIES = {name: (name, shown.unit.replace("^3", "³")) for name, shown in shown_quantities().items()}
"""Name and unit of each quantity of a comparison."""

SIZE = 4.5
"""Width and height of a panel in inches."""

Draw = Callable[[Any, Comparison, str], None]
"""Draws one quantity of a comparison, given by its name, into some axes."""


def require_matplotlib() -> None:
    """Raise InputError if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError('pictures need matplotlib, which is not installed: pip install "gapkit[plot]"') from error


def check_picture(path: Path) -> None:
    """Check that `path` ends in a picture format that matplotlib writes (png, pdf, svg, ...)."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    formats = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise InputError(
            f"{path} must end in a picture format, got {path.suffix or 'none'}; use one of {', '.join(sorted(formats))}"
        )


def new_figure(width: float, height: float) -> Figure:
    """Empty figure, sizes in inches, attached to no window and known to no global state."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panels_of(columns: int, width: float = SIZE, height: float = SIZE, rows: int = 1) -> tuple[Figure, list[Any]]:
    """Figure and its panels, row by row; sizes of a panel in inches."""
    figure = new_figure(width * columns, height * rows)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def grid(comparison: Comparison, rows: Sequence[Draw], names: Sequence[str]) -> Figure:
    """Figure with a row of panels for each way to draw, a column for each quantity."""
    figure, panels = panels_of(len(names), rows=len(rows))
    for draw, row in zip(rows, np.reshape(panels, (len(rows), len(names))), strict=True):
        for axes, name in zip(row, names, strict=True):
            draw(axes, comparison, name)
    return figure


def with_std(comparison: Comparison) -> list[str]:
    """Labelled quantities with standard deviations; InputError if there are none."""
    names = [name for name, pairs in comparison.labelled.items() if pairs.std is not None]
    if not names:
        raise InputError(
            "`comparison` must have standard deviations, got one without; make it with `compare(..., uncertainty=True)`"
        )
    return names
