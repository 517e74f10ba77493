"""Root mean square errors on logarithmic axes: over training frames, and one against the other."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.report.picture import SIZE, panels_of
from gapkit.targets import shown_quantities

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gapkit.curation.learning_curve import LearningCurve
    from gapkit.curation.pareto import ParetoFront

ERRORS = shown_quantities()  # in the order of the panels, with the unit of printed errors
# Above this ratio of its ends an axis has ticks at powers of ten, below the other at equal steps.
DECADES, STEPS = 100.0, 5.0


@checked
def learning_curve_figure(curve: LearningCurve) -> Figure:
    """Draw root mean square errors over the number of training frames, one line per selector, on logarithmic axes.

    Lines are means over seeds, bands one standard deviation.  Quantities without labels have no panel; InputError if
    none has labels.
    """
    errors = {kind: np.array([getattr(point, f"{kind}_rmse") for point in curve.points], float) for kind in ERRORS}
    kinds = [kind for kind in ERRORS if np.isfinite(errors[kind]).any()]
    if not kinds:
        raise InputError(f"`curve` must have errors to draw, got none in {len(curve.points)} fits; test with labels")
    figure, panels = panels_of(len(kinds), height=SIZE * 1.1)
    for axes, kind in zip(panels, kinds, strict=True):
        for selector in dict.fromkeys(point.selector for point in curve.points):
            _draw_selector(axes, curve, selector, kind)
        set_log_axes(axes, "training frames", kind)
    figure.legend(
        *panels[0].get_legend_handles_labels(), fontsize="small", loc="outside upper center", ncols=2 * len(kinds),
        title="mean ± one standard deviation over seeds", title_fontsize="small",
    )  # fmt: skip
    return figure


def _draw_selector(axes: Any, curve: LearningCurve, selector: str, kind: str) -> None:
    """Draw the line of a selector and its band."""
    sizes = sorted({point.n_frames for point in curve.points if point.selector == selector})
    table = np.array([curve.mean(selector, n, f"{kind}_rmse") for n in sizes])
    mean, std = ERRORS[kind].printed_factor * table.T
    (line,) = axes.plot(sizes, mean, "o-", markersize=4, label=selector)
    axes.fill_between(sizes, mean - std, mean + std, color=line.get_color(), alpha=0.2, linewidth=0)


@checked
def pareto_figure(front: ParetoFront) -> Figure:
    """Draw the points of a Pareto front, a panel for each pair of energy, forces and stress, on logarithmic axes.

    With three errors a point of the front may be beaten in a panel: it is better in the error that is not shown there.
    InputError if there are errors of fewer than two kinds.
    """
    kinds = [kind for kind in ERRORS if front.points and kind in front.points[0].errors]
    if len(kinds) < 2:
        raise InputError(
            f"`front` must have errors of two kinds to weigh against each other, got {', '.join(kinds) or 'none'}; "
            "test with frames that have more labels"
        )
    pairs = list(combinations(kinds, 2))
    energy, virial = front.knee.ratios
    beaten = [point for point in front.points if not point.on_front]
    figure, panels = panels_of(len(pairs), height=SIZE * 1.1)
    for axes, (a, b) in zip(panels, pairs, strict=True):
        for points, style, colour, size, label in (
            (beaten, "o", "0.7", 4, "beaten"),
            (front.front, "o", "C0", 6, "front"),
            ([front.knee], "*", "C3", 15, f"knee: noise of energies × {energy:.3g}, of virials × {virial:.3g}"),
        ):
            x, y = ([ERRORS[kind].printed_factor * point.errors[kind] for point in points] for kind in (a, b))
            axes.plot(x, y, style, color=colour, markersize=size, markeredgecolor="white", label=label)
        set_log_axes(axes, a, b)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize="small", loc="outside upper center", ncols=len(pairs))
    return figure


def set_log_axes(axes: Any, x: str, y: str) -> None:
    """Make both axes logarithmic; `x` and `y` are labels, or names of quantities whose errors are drawn."""
    labels = [f"RMSE of {q.title}, {q.printed_unit}" if (q := ERRORS.get(name)) else name for name in (x, y)]
    axes.set(xscale="log", yscale="log", xlabel=labels[0], ylabel=labels[1])
    set_log_ticks(axes.xaxis)
    set_log_ticks(axes.yaxis)


def set_log_ticks(axis: Any) -> None:
    """Give a logarithmic matplotlib axis, once all is drawn, few ticks with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    if high < STEPS * low:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1.0,) if high > DECADES * low else (1.0, 2.0, 3.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
