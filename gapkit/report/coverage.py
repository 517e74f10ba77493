"""Span of a data set: distances of pairs and strains of cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gapkit.exceptions import InputError
from gapkit.report.groups import REST, REST_COLOUR, add_groups_legend, draw_frames, groups_of
from gapkit.report.picture import SIZE, panels_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gapkit.curation.coverage import Coverage

MAX_PAIRS = 6

LINEAR = 20.0
"""Up to this, in percent, an axis of strains is linear, beyond it logarithmic: a cell of one atom may be huge."""


def coverage_figure(coverage: Coverage, config_type: Sequence[str] | None = None) -> Figure:
    """Draw histograms of pair distances by species, and the strains of cells.

    Counts are on a logarithmic axis, for the few shortest distances.  Of more than six pairs of species the others are
    summed.  A panel without data is left out; the title tells the part of a pool that is covered.

    Parameters
    ----------
    coverage : Coverage
    config_type : sequence of str, optional
        Configuration type of each frame, for colours of the strains.

    Raises
    ------
    InputError
        If there is neither a pair nor a strain, types and frames differ in number.
    """
    n_frames = len(coverage.volumetric_strain)
    groups = groups_of(("",) * n_frames if config_type is None else config_type, n_frames)
    strained = np.isfinite(coverage.volumetric_strain) & np.isfinite(coverage.shear_strain)
    has_pairs = any(counts.any() for counts in coverage.pairs.values())
    if not has_pairs and not strained.any():
        raise InputError(
            f"`coverage` must hold distances or strains to draw, got none up to {coverage.edges[-1]:g} Å in "
            f"{n_frames} frames; measure it with a larger `max_distance` or a `reference_cell`"
        )
    n_panels = int(has_pairs) + int(strained.any())
    figure, panels = panels_of(n_panels, SIZE * 1.2)
    if has_pairs:
        _draw_pairs(panels.pop(0), coverage)
    if strained.any():
        volumetric, shear = 100.0 * coverage.volumetric_strain, 100.0 * coverage.shear_strain
        draw_frames(panels[0], volumetric, shear, groups)
        panels[0].set(xlabel="volumetric strain, %", ylabel="equivalent shear strain, %")
        if np.nanmax(np.abs(volumetric)) > LINEAR:
            panels[0].set_xscale("symlog", linthresh=LINEAR)
        if np.nanmax(shear) > LINEAR:
            panels[0].set_yscale("symlog", linthresh=LINEAR)
        panels[0].set_title(f"{strained.sum()} of {n_frames} frames have a strain", fontsize="medium")
        add_groups_legend(figure, groups)
    if coverage.covered:
        parts = ", ".join(f"{name} {100 * part:.3g} %" for name, part in coverage.covered.items())
        whole = "" if coverage.covered_frames is None else f"; whole frames {100 * coverage.covered_frames:.3g} %"
        figure.suptitle(f"covered atoms of the pool: {parts}{whole}", fontsize="medium")
    return figure


def _draw_pairs(axes: Any, coverage: Coverage) -> None:
    """Draw a step line for each pair of species, the most frequent first."""
    ranked = sorted(coverage.pairs.items(), key=lambda item: -int(item[1].sum()))
    lines = [(f"{a}-{b}", f"C{i}", counts) for i, ((a, b), counts) in enumerate(ranked[:MAX_PAIRS])]
    if len(ranked) > MAX_PAIRS:
        rest = np.sum([counts for _, counts in ranked[MAX_PAIRS:]], axis=0)
        lines.append((REST, REST_COLOUR, rest))
    for name, colour, counts in lines:
        axes.stairs(counts, coverage.edges, color=colour, label=name if counts.any() else f"{name} (none)")
    width = coverage.edges[1] - coverage.edges[0]
    # half a pair is the floor, so that a single one stands out of it
    axes.set(yscale="log", xlim=(0.0, coverage.edges[-1]), xlabel="distance, Å", ylabel=f"pairs per {width:.2g} Å")
    axes.set_ylim(bottom=0.5)
    axes.legend(fontsize="small", loc="upper left")
