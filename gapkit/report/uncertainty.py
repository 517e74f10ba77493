"""Error bars against errors: reliability diagrams, and errors over predicted standard deviations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gapkit.errors import Comparison
from gapkit.report.parity import add_legend, draw_parity
from gapkit.report.picture import QUANTITIES, grid, with_std
from gapkit.typing import FloatArray
from gapkit.uncertainty import reliability_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Stds up to this, and up to this part of the largest, are zero up to rounding.
ROUNDING, SMALL = 1e-10, 1e-4
# Bins of equally many components, of which each has at least so many.
MAX_BINS, MIN_IN_BIN = 10, 10


def reliability_figure(comparison: Comparison) -> Figure:
    """Draw observed against expected coverage of central intervals, one panel per quantity.

    A curve below the diagonal means that standard deviations are too small.

    Parameters
    ----------
    comparison : Comparison
        Made by ``compare(..., uncertainty=True)``; InputError if nothing labelled has standard deviations.
    """
    return grid(comparison, [draw_reliability], with_std(comparison))


def error_figure(comparison: Comparison) -> Figure:
    """Draw |error| against predicted standard deviation on logarithmic axes, one panel per quantity.

    Each point is one component; lines are at 1, 2 and 3 standard deviations.  Squares are the root mean square errors
    of components of similar std, in ten bins of equally many (fewer bins if these would hold less than ten): they lie
    on the line of 1 if the stds are right.  Errors below a hundredth of the smallest std are below the panel, and
    components whose std is zero (up to 1e-10) are not drawn.  The parameter is that of `reliability_figure`.
    """
    return grid(comparison, [draw_errors], with_std(comparison))


def uncertainty_figure(comparison: Comparison) -> Figure:
    """Draw parity with error bars, reliability, and errors over stds: three rows with a column for each quantity.

    The parameter is that of `reliability_figure`.  A quantity without stds has a parity panel only.
    """
    with_std(comparison)
    figure = grid(comparison, [draw_parity, draw_reliability, draw_errors], list(comparison.labelled))
    add_legend(figure, comparison)
    return figure


def draw_reliability(axes: Any, comparison: Comparison, name: str) -> None:
    """Draw one quantity into matplotlib axes; nothing if it has no stds."""
    pairs = comparison.labelled[name]
    if pairs.std is None:
        axes.set_axis_off()
        return
    expected, observed = reliability_curve(pairs.errors, pairs.std)
    area = np.mean(np.abs(observed - expected))
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    axes.fill_between(expected, expected, observed, color="C0", alpha=0.2, linewidth=0)
    axes.plot(expected, observed, color="C0", label=f"{comparison.std} std")
    axes.set(
        xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="expected coverage",
        ylabel=f"observed coverage, {QUANTITIES[name][0]}",
    )  # fmt: skip
    axes.text(0.97, 0.03, "std too small", ha="right", va="bottom", color="0.4", transform=axes.transAxes)
    axes.text(0.03, 0.97, "std too large", ha="left", va="top", color="0.4", transform=axes.transAxes)
    axes.set_title(f"miscalibration area {area:.3f}", fontsize="medium")


def draw_errors(axes: Any, comparison: Comparison, name: str) -> None:
    """Draw one quantity into matplotlib axes; nothing if it has no stds above rounding."""
    pairs = comparison.labelled[name]
    if pairs.std is None or not (pairs.std > ROUNDING).any():
        axes.set_axis_off()
        return
    errors, stds = np.abs(pairs.errors).ravel(), pairs.std.ravel()
    # What symmetry makes zero would stretch the axes by decades; an error above such a std is shown nevertheless.
    known = (stds > ROUNDING) & ((stds > SMALL * stds.max()) | (errors > stds))
    errors, stds = errors[known], stds[known]
    limits = np.array([stds.min() / 1.3, stds.max() * 1.3])
    axes.loglog(stds, errors, ".", markersize=3, alpha=0.4, color="C0", zorder=1, rasterized=True)
    for k, style in ((1, "-"), (2, "--"), (3, ":")):
        axes.loglog(limits, k * limits, style, color="0.3", linewidth=1, label=f"{k} σ")
    rms_std, rmse = _binned(errors, stds)
    if len(rmse):
        axes.loglog(rms_std, rmse, "s-", color="C1", markersize=5, markeredgecolor="black", label="RMSE of a bin")
    label, unit = QUANTITIES[name]
    axes.set(
        xlim=limits, ylim=(0.01 * stds.min(), max(4 * limits[1], 1.5 * errors.max())),
        xlabel=f"predicted std ({comparison.std}), {unit}", ylabel=f"|error| of {label}, {unit}",
    )  # fmt: skip
    axes.legend(fontsize="small", loc="lower right")


def _binned(errors: FloatArray, stds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Root mean square std and error of components (n,) of similar std; empty below ten components."""
    n_bins = min(MAX_BINS, len(errors) // MIN_IN_BIN)
    if n_bins == 0:
        return np.zeros(0), np.zeros(0)
    bins = np.array_split(np.argsort(stds, kind="stable"), n_bins)
    return (
        np.sqrt([np.mean(stds[rows] ** 2) for rows in bins]),
        np.sqrt([np.mean(errors[rows] ** 2) for rows in bins]),
    )
