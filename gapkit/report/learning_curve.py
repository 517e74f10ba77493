"""Errors over the number of training frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gapkit.exceptions import InputError
from gapkit.report.errors import ERRORS, set_log_axes
from gapkit.report.picture import SIZE, panels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gapkit.curation.learning_curve import LearningCurve


def learning_curve_figure(curve: LearningCurve) -> Figure:
    """Draw root mean square errors over the number of training frames, one line per selector, on logarithmic axes.

    Lines are means over seeds, bands one standard deviation.  Quantities without labels have no panel; InputError if
    none has labels.
    """
    kinds = [kind for kind in ERRORS if _finite(curve, kind)]
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


def _finite(curve: LearningCurve, kind: str) -> bool:
    errors = [getattr(point, f"{kind}_rmse") for point in curve.points]
    return any(error is not None and np.isfinite(error) for error in errors)


def _draw_selector(axes: Any, curve: LearningCurve, selector: str, kind: str) -> None:
    """Draw the line of a selector and its band."""
    sizes = sorted({point.n_frames for point in curve.points if point.selector == selector})
    table = np.array([curve.mean(selector, n, f"{kind}_rmse") for n in sizes])
    mean, std = ERRORS[kind].printed_factor * table.T
    (line,) = axes.plot(sizes, mean, "o-", markersize=4, label=selector)
    axes.fill_between(sizes, mean - std, mean + std, color=line.get_color(), alpha=0.2, linewidth=0)
