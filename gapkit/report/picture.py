"""What all pictures share: matplotlib, imported late and without a window, and panels for the quantities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gapkit.exceptions import InputError
from gapkit.validation import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUANTITIES = {"energy": ("energy", "eV/atom"), "forces": ("force components", "eV/Å"),
              "stress": ("stress components", "eV/Å³")}  # fmt: skip
"""Name and unit of each quantity of a comparison."""

SIZE = 4.5
"""Width and height of a panel in inches."""

Draw = Callable[[Any, Comparison, str], None]
"""Draws one quantity of a comparison, given by its name, into some axes."""


def require_matplotlib() -> None:
    """Check that pictures can be made.

    Raises
    ------
    InputError
        If matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError('pictures need matplotlib, which is not installed: pip install "gapkit[plot]"') from error


def check_picture(path: Path) -> None:
    """Check that `path` ends in a picture format that matplotlib writes (png, pdf, svg, ...).

    Raises
    ------
    InputError
        If it does not, or matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    formats = FigureCanvasAgg.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise InputError(
            f"{path} must end in a picture format, got {path.suffix or 'none'}; use one of {', '.join(sorted(formats))}"
        )


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, sizes in inches, that is attached to no window and known to no global state."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def grid(comparison: Comparison, rows: Sequence[Draw], names: Sequence[str]) -> Figure:
    """Return a figure with a row of panels for each way to draw, a column for each quantity."""
    figure = new_figure(SIZE * len(names), SIZE * len(rows))
    for draw, row in zip(rows, figure.subplots(len(rows), len(names), squeeze=False), strict=True):
        for axes, name in zip(row, names, strict=True):
            draw(axes, comparison, name)
    return figure


def with_std(comparison: Comparison) -> list[str]:
    """Return the labelled quantities that have standard deviations.

    Raises
    ------
    InputError
        If none has.
    """
    names = [name for name, pairs in comparison.labelled.items() if pairs.std is not None]
    if not names:
        raise InputError(
            "`comparison` must have standard deviations, got one without; make it with `compare(..., uncertainty=True)`"
        )
    return names
