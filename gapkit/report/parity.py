"""Parity plots: predicted against reference values, one panel per quantity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gapkit.errors import Comparison
from gapkit.report.picture import QUANTITIES, grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def parity_figure(comparison: Comparison) -> Figure:
    """Draw predicted against reference values, one panel per labelled quantity, one colour per configuration type.

    Standard deviations, where the comparison has them, are drawn as error bars.
    """
    figure = grid(comparison, [draw_parity], list(comparison.labelled))
    add_legend(figure, comparison)
    return figure


def add_legend(figure: Figure, comparison: Comparison) -> None:
    """Name the configuration types, where there are several, in the first panel."""
    if len(set(comparison.config_type)) > 1:
        figure.axes[0].legend(fontsize="small", markerscale=2)


def draw_parity(axes: Any, comparison: Comparison, name: str) -> None:
    """Draw one quantity into matplotlib axes."""
    pairs = comparison.labelled[name]
    types = np.array(comparison.config_type)
    title = "{}, {}".format(*QUANTITIES[name])
    low, high = np.min([pairs.reference, pairs.predicted]), np.max([pairs.reference, pairs.predicted])
    margin = 0.03 * (high - low) or 1e-3
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color="0.6", linewidth=1, zorder=0)
    for config_type in sorted(set(types[pairs.frames])):
        part = pairs.of_frames(types == config_type)
        (points,) = axes.plot(
            part.reference.ravel(), part.predicted.ravel(), ".", markersize=3, alpha=0.6, label=config_type
        )
        if part.std is not None:
            axes.errorbar(
                part.reference.ravel(), part.predicted.ravel(), part.std.ravel(), fmt="none", elinewidth=0.6,
                ecolor=points.get_color(), alpha=0.3, zorder=1,
            )  # fmt: skip
    # Limits are those of the values: a few huge error bars would leave nothing else to see.
    axes.set(xlim=limits, ylim=limits, xlabel=f"reference {title}", ylabel=f"predicted {title}", aspect="equal")
    axes.locator_params(nbins=5)
    axes.set_title(f"MAE {pairs.mae:.2g}, RMSE {pairs.rmse:.2g}", fontsize="medium")
