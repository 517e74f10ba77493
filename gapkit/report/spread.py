"""Energies over volumes of the frames of a data set, and of those that a selection keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gapkit.exceptions import InputError
from gapkit.report.groups import Group, add_groups_legend, draw_frames, groups_of, kept_mask
from gapkit.report.picture import SIZE, panels_of
from gapkit.structures import AtomsBatch
from gapkit.typing import BoolArray, FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VACUUM = 8.0
"""Times the median volume per atom: a cell that is larger, such as that of a single atom, tells of no density."""

N_BINS = 30


def spread_figure(batch: AtomsBatch, kept: BoolArray | None = None) -> Figure:
    """Draw energy per atom over volume per atom by configuration type.

    Energies without a volume are in a histogram: frames that are not periodic in all directions, and those with more
    than eight times the median volume per atom.  A panel without frames is left out; the title counts the frames
    without an energy.

    Parameters
    ----------
    batch : AtomsBatch
    kept : ndarray (n_frames,) of bool, optional
        False: left out of a selection, a cross in place of a filled point, or in an outlined bar.

    Raises
    ------
    InputError
        If no frame has an energy, `kept` is no mask over the frames.
    """
    mask = kept_mask(kept, batch.n_frames)
    if batch.labels is None or not batch.labels.has_energy.any():
        raise InputError(f"`batch` must have energies to draw, got none in {batch.n_frames} frames; label some")
    energies = batch.labels.energy / batch.n_atoms_per_frame
    volumes = _volumes(batch)
    has_energy, has_volume = batch.labels.has_energy, np.isfinite(volumes)
    both, alone = has_energy & has_volume, has_energy & ~has_volume
    groups = groups_of(batch.labels.config_type, batch.n_frames)
    figure, panels = panels_of(int(both.any()) + int(alone.any()), SIZE * 1.2)
    if both.any():
        axes = panels.pop(0)
        draw_frames(axes, volumes, np.where(has_energy, energies, np.nan), groups, mask)
        axes.set(xlabel="volume, Å³/atom", ylabel="energy, eV/atom")
        axes.ticklabel_format(useOffset=False)
    if alone.any():
        _draw_histogram(panels[0], energies, alone, groups, mask)
    if not has_energy.all():
        figure.suptitle(f"{np.sum(~has_energy)} of {batch.n_frames} frames have no energy", fontsize="medium")
    add_groups_legend(figure, groups, not mask.all())
    return figure


def _volumes(batch: AtomsBatch) -> FloatArray:
    """Volumes per atom (n_frames,), NaN for frames without a density."""
    volumes = np.where(batch.pbc.all(axis=1), batch.volumes / batch.n_atoms_per_frame, np.nan)
    known = volumes[np.isfinite(volumes)]
    return np.where(volumes <= VACUUM * np.median(known), volumes, np.nan) if len(known) else volumes


def _draw_histogram(axes: Any, energies: FloatArray, rows: BoolArray, groups: Sequence[Group], kept: BoolArray) -> None:
    bins = np.histogram_bin_edges(energies[rows], N_BINS)
    for own, style in ((rows & kept, {"alpha": 0.7}), (rows & ~kept, {"histtype": "step", "linestyle": "--"})):
        parts = [group for group in groups if (group.frames & own).any()]
        if parts:
            values = [energies[group.frames & own] for group in parts]
            axes.hist(values, bins, stacked=True, color=[group.colour for group in parts], **style)
    axes.set(xlabel="energy, eV/atom", ylabel="number of frames")
    axes.set_title("no volume or mostly vacuum", fontsize="medium")
    axes.locator_params(axis="y", integer=True)
    axes.ticklabel_format(useOffset=False)
