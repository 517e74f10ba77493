"""Predictions next to labels: parity, reliability diagrams, errors over predicted stds, and coverage of groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gapkit.errors import Comparison
from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.report.conditional import draw_coverage
from gapkit.report.picture import label_of, panels_of
from gapkit.targets import shown_quantities
from gapkit.uncertainty import reliability_curve
from gapkit.uncertainty.metrics import rms_in_bins
from gapkit.validation.conditional import conditional_coverage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS = {name: shown.unit.replace("^3", "³") for name, shown in shown_quantities().items()}
# Stds up to this, and up to this part of the largest, are zero up to rounding.
ROUNDING, SMALL = 1e-10, 1e-4


@checked
def parity_figure(comparison: Comparison) -> Figure:
    """Draw predicted against reference values, one panel per labelled quantity, one colour per configuration type.

    Standard deviations, where the comparison has them, are drawn as error bars.
    """
    figure = _grid(comparison, [_draw_parity], list(comparison.labelled))
    _add_legend(figure, comparison)
    return figure


@checked
def reliability_figure(comparison: Comparison) -> Figure:
    """Draw observed against expected coverage of central intervals, one panel per quantity.

    A curve below the diagonal means that standard deviations are too small.
    The comparison is that of ``compare(..., uncertainty=True)``; InputError if nothing labelled has standard
    deviations.
    """
    return _grid(comparison, [_draw_reliability], _with_std(comparison))


@checked
def error_figure(comparison: Comparison) -> Figure:
    """Draw |error| against predicted standard deviation on logarithmic axes, one panel per quantity.

    Each point is one component; lines are at 1, 2 and 3 standard deviations.  Squares are the root mean square errors
    of components of similar std, in ten bins of equally many (fewer bins if these would hold less than ten): they lie
    on the line of 1 if the stds are right.  Errors below a hundredth of the smallest std are below the panel, and
    components whose std is zero (up to 1e-10) are not drawn.  The comparison is that of `reliability_figure`.
    """
    return _grid(comparison, [_draw_errors], _with_std(comparison))


@checked
def conditional_figure(comparison: Comparison) -> Figure:
    """Draw which part of groups of components is within 1.645 std, with confidence intervals, one panel per quantity.

    Groups and intervals are those of `conditional_coverage`, with the number of frames in brackets; the line is at
    90 %, and groups whose interval excludes it are red.  Of more than twelve groups of a grouping those with the most
    frames are drawn.  The comparison is that of `reliability_figure`.
    """
    return _grid(comparison, [_draw_coverage], _with_std(comparison))


@checked
def uncertainty_figure(comparison: Comparison) -> Figure:
    """Draw parity with error bars, reliability, errors over stds, and coverage of groups: a column for each quantity.

    The comparison is that of `reliability_figure`.  A quantity without stds has a parity panel only.
    """
    _with_std(comparison)
    figure = _grid(
        comparison, [_draw_parity, _draw_reliability, _draw_errors, _draw_coverage], list(comparison.labelled)
    )
    _add_legend(figure, comparison)
    return figure


def _grid(
    comparison: Comparison, rows: Sequence[Callable[[Any, Comparison, str], None]], names: Sequence[str]
) -> Figure:
    """Figure with a row of panels for each way to draw, a column for each quantity."""
    figure, panels = panels_of(len(names), rows=len(rows))
    for draw, row in zip(rows, np.reshape(panels, (len(rows), len(names))), strict=True):
        for axes, name in zip(row, names, strict=True):
            draw(axes, comparison, name)
    return figure


def _with_std(comparison: Comparison) -> list[str]:
    """Labelled quantities with standard deviations; InputError if there are none."""
    names = [name for name, pairs in comparison.labelled.items() if pairs.std is not None]
    if not names:
        raise InputError(
            "`comparison` must have standard deviations, got one without; make it with `compare(..., uncertainty=True)`"
        )
    return names


def _add_legend(figure: Figure, comparison: Comparison) -> None:
    """Name the configuration types, where there are several, in the first panel."""
    if len(set(comparison.config_type)) > 1:
        figure.axes[0].legend(fontsize="small", markerscale=2)


def _draw_parity(axes: Any, comparison: Comparison, name: str) -> None:
    """Draw one quantity into matplotlib axes."""
    pairs = comparison.labelled[name]
    types = np.array(comparison.config_type)
    title = f"{name}, {UNITS[name]}"
    low, high = np.min([pairs.reference, pairs.predicted]), np.max([pairs.reference, pairs.predicted])
    margin = 0.03 * (high - low) or 1e-3
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color="0.6", linewidth=1, zorder=0)
    for config_type in sorted(set(types[pairs.frames])):
        part = pairs.of_frames(types == config_type)
        (points,) = axes.plot(
            part.reference.ravel(), part.predicted.ravel(), ".", markersize=3, alpha=0.6, label=label_of(config_type)
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


def _draw_reliability(axes: Any, comparison: Comparison, name: str) -> None:
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
        ylabel=f"observed coverage, {name}",
    )  # fmt: skip
    axes.text(0.97, 0.03, "std too small", ha="right", va="bottom", color="0.4", transform=axes.transAxes)
    axes.text(0.03, 0.97, "std too large", ha="left", va="top", color="0.4", transform=axes.transAxes)
    axes.set_title(f"miscalibration area {area:.3f}", fontsize="medium")


def _draw_errors(axes: Any, comparison: Comparison, name: str) -> None:
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
    rms_std, rmse = rms_in_bins(errors, stds)
    if len(rmse):
        axes.loglog(rms_std, rmse, "s-", color="C1", markersize=5, markeredgecolor="black", label="RMSE of a bin")
    unit = UNITS[name]
    axes.set(
        xlim=limits, ylim=(0.01 * stds.min(), max(4 * limits[1], 1.5 * errors.max())),
        xlabel=f"predicted std ({comparison.std}), {unit}", ylabel=f"|error| of {name}, {unit}",
    )  # fmt: skip
    axes.legend(fontsize="small", loc="lower right")


def _draw_coverage(axes: Any, comparison: Comparison, name: str) -> None:
    """Draw one quantity into matplotlib axes; nothing if it has no stds."""
    if comparison.labelled[name].std is None:
        axes.set_axis_off()
        return
    draw_coverage(axes, conditional_coverage(comparison)[name], name)
