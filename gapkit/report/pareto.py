"""Which errors can be had together: one against the other, for many ratios of the noise."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from gapkit.exceptions import InputError
from gapkit.report.errors import ERRORS, set_log_ticks
from gapkit.report.picture import SIZE, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gapkit.curation.pareto import ParetoFront


def pareto_figure(front: ParetoFront) -> Figure:
    """Draw the points of a Pareto front, a panel for each pair of energy, forces and stress, on logarithmic axes.

    With three errors a point of the front may be beaten in a panel: it is better in the error that is not shown there.

    Parameters
    ----------
    front : ParetoFront
        From `gapkit.curation.pareto.pareto`.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with `figure.savefig(path)`; it is attached to no window.

    Raises
    ------
    InputError
        If there are errors of fewer than two kinds, or matplotlib is not installed.
    """
    kinds = [kind for kind in ERRORS if front.points and kind in front.points[0].errors]
    if len(kinds) < 2:
        raise InputError(
            f"`front` must have errors of two kinds to weigh against each other, got {', '.join(kinds) or 'none'}; "
            "test with frames that have more labels"
        )
    pairs = list(combinations(kinds, 2))
    knee = front.knee
    energy, virial = knee.ratios
    beaten = [point for point in front.points if not point.on_front]
    figure = new_figure(SIZE * len(pairs), SIZE * 1.1)
    for axes, (a, b) in zip(figure.subplots(1, len(pairs), squeeze=False)[0], pairs, strict=True):
        for points, style, colour, size, label in (
            (beaten, "o", "0.7", 4, "beaten"),
            (front.front, "o", "C0", 6, "front"),
            ([knee], "*", "C3", 15, f"knee: noise of energies × {energy:.3g}, of virials × {virial:.3g}"),
        ):
            x, y = ([ERRORS[kind].factor * point.errors[kind] for point in points] for kind in (a, b))
            axes.plot(x, y, style, color=colour, markersize=size, markeredgecolor="white", label=label)
        axes.set(xscale="log", yscale="log", xlabel=ERRORS[a].label, ylabel=ERRORS[b].label)
        set_log_ticks(axes.xaxis)
        set_log_ticks(axes.yaxis)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), fontsize="small", loc="outside upper center", ncols=len(pairs)
    )
    return figure
