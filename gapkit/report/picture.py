"""Figures without a window, from a late import of matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gapkit.exceptions import InputError
from gapkit.printing import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = 4.5  # inches, width and height of a panel


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


def label_of(name: str) -> str:
    """A name from data as a label: neither mathematics nor hidden, and not wider than a panel."""
    words = printable(name).replace("$", r"\$")
    words = words if len(words) <= 40 else f"{words[:37]}..."
    return f" {words}" if words.startswith("_") else words  # matplotlib leaves the others out


def new_figure(width: float, height: float) -> Figure:
    """Empty figure, sizes in inches, attached to no window and known to no global state."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def panels_of(columns: int, width: float = SIZE, height: float = SIZE, rows: int = 1) -> tuple[Figure, list[Any]]:
    """Figure and its panels, row by row; sizes of a panel in inches."""
    figure = new_figure(width * columns, height * rows)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)
