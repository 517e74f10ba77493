"""Influence of training configurations on the fit, and their misfit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.report.groups import add_groups_legend, draw_frames, groups_of
from gapkit.report.picture import SIZE, new_figure
from gapkit.targets import TARGETS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gapkit.curation.influence import InfluenceReport

N_NUMBERED = 5
LOWEST = 1e-3  # smaller misfits are counted in words: what symmetry makes zero would stretch the axis by decades


@checked
def influence_figure(report: InfluenceReport) -> Figure:
    """Draw Cook's distance over leverage, and the misfit of each kind of label over the number of the frame.

    The five frames of the largest Cook's distances bear their numbers.  The misfit is chi2 / n_rows of the model
    without the frame: 1 (the line) on average if labels, noise and model are right.  InputError if no frame has any
    influence.
    """
    frames = report.frames
    cook, leverage = np.array([f.cook for f in frames]), np.array([f.leverage for f in frames])
    shown = (cook > 0) & (leverage > 0)
    if not shown.any():
        raise InputError(
            f"`report` must hold frames with influence, got none in {len(frames)} frames; call `influence` with the "
            "frames that the model was fitted to"
        )
    kinds = [kind for kind in TARGETS if any(kind in f.kinds for f in frames)]
    groups = groups_of([f.config_type for f in frames], len(frames))
    figure = new_figure(SIZE * 2.4, SIZE * 1.2)
    grid = figure.add_gridspec(len(kinds), 2)
    axes = figure.add_subplot(grid[:, 0])
    draw_frames(axes, np.where(shown, leverage, np.nan), cook, groups)
    axes.set(xscale="log", yscale="log", xlabel="leverage, effective parameters", ylabel="Cook's distance")
    if not shown.all():
        axes.set_title(f"{np.sum(~shown)} of {len(frames)} frames have no influence", fontsize="medium")
    axes.margins(0.1)  # room for the numbers
    for i in [i for i in np.argsort(-cook, kind="stable")[:N_NUMBERED] if shown[i]]:
        place = (leverage[i], cook[i])
        axes.annotate(str(frames[i].frame), place, (4, 3), textcoords="offset points", fontsize="small")
    for row, kind in enumerate(kinds):
        panel = figure.add_subplot(grid[row, 1], sharex=figure.axes[1] if row else None)
        misfit = np.array([f.kinds[kind].chi2 / f.kinds[kind].n_rows if kind in f.kinds else np.nan for f in frames])
        panel.axhline(1.0, color="0.6", linewidth=1, zorder=0)
        draw_frames(panel, [f.frame for f in frames], misfit, groups)
        panel.set_yscale("log")
        panel.set_ylabel(f"χ² / rows, {kind}", fontsize="small")
        if (misfit < LOWEST).any():
            panel.set_ylim(bottom=LOWEST)
            panel.set_title(f"{np.sum(misfit < LOWEST)} frames below {LOWEST:g}", fontsize="small")
        panel.tick_params(labelbottom=row == len(kinds) - 1)
    figure.axes[-1].set_xlabel("number of the frame")
    add_groups_legend(figure, groups)
    return figure
