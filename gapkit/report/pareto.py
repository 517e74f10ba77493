"""Trade-off of errors: one against the other, for many ratios of the noise."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from gapkit.exceptions import InputError
from gapkit.report.errors import ERRORS, set_log_axes
from gapkit.report.picture import SIZE, panels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gapkit.curation.pareto import ParetoFront


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
    knee = front.knee
    energy, virial = knee.ratios
    beaten = [point for point in front.points if not point.on_front]
    figure, panels = panels_of(len(pairs), height=SIZE * 1.1)
    for axes, (a, b) in zip(panels, pairs, strict=True):
        for points, style, colour, size, label in (
            (beaten, "o", "0.7", 4, "beaten"),
            (front.front, "o", "C0", 6, "front"),
            ([knee], "*", "C3", 15, f"knee: noise of energies × {energy:.3g}, of virials × {virial:.3g}"),
        ):
            x, y = ([ERRORS[kind].printed_factor * point.errors[kind] for point in points] for kind in (a, b))
            axes.plot(x, y, style, color=colour, markersize=size, markeredgecolor="white", label=label)
        set_log_axes(axes, a, b)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(), fontsize="small", loc="outside upper center", ncols=len(pairs)
    )
    return figure
