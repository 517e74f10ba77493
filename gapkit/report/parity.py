"""Parity plots: predicted against reference values, one panel per quantity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gapkit.exceptions import InputError
from gapkit.validation import Comparison, Pairs

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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


def parity_figure(comparison: Comparison) -> Figure:
    """Draw predicted against reference values, one panel per labelled quantity, one colour per configuration type.

    Parameters
    ----------
    comparison : Comparison
        From `gapkit.validation.compare`.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with `figure.savefig(path)`; it is attached to no window.

    Raises
    ------
    InputError
        If matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    panels = [
        (title, pairs)
        for title, pairs in (
            ("energy, eV/atom", comparison.energy),
            ("force components, eV/Å", comparison.forces),
            ("stress components, eV/Å³", comparison.stress),
        )
        if pairs.reference.size
    ]
    figure = Figure(figsize=(4.5 * len(panels), 4.5), layout="constrained")
    types = np.array(comparison.config_type)
    for axes, (title, pairs) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw(axes, title, pairs, types)
    if len(set(comparison.config_type)) > 1:
        figure.axes[0].legend(fontsize="small", markerscale=2)
    return figure


def _draw(axes: Any, title: str, pairs: Pairs, types: np.ndarray) -> None:
    low, high = np.min([pairs.reference, pairs.predicted]), np.max([pairs.reference, pairs.predicted])
    margin = 0.03 * (high - low) or 1e-3
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color="0.6", linewidth=1, zorder=0)
    for name in sorted(set(types[pairs.frames])):
        part = pairs.of_frames(types == name)
        axes.plot(part.reference.ravel(), part.predicted.ravel(), ".", markersize=3, alpha=0.6, label=name)
    axes.set(xlim=limits, ylim=limits, xlabel=f"reference {title}", ylabel=f"predicted {title}", aspect="equal")
    axes.locator_params(nbins=5)
    axes.set_title(f"MAE {pairs.mae:.2g}, RMSE {pairs.rmse:.2g}", fontsize="medium")
