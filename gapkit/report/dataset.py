"""Pictures of a data set: distances and strains, energies over volumes, and a map of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.report.groups import REST, REST_COLOUR, Group, add_groups_legend, draw_frames, groups_of, kept_mask
from gapkit.report.picture import SIZE, panels_of
from gapkit.structures import AtomsBatch
from gapkit.typing import BoolArray, FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gapkit.curation.coverage import Coverage

# Of more pairs of species the rarest are summed.
MAX_PAIRS = 6
# Up to this, in percent, an axis of strains is linear, beyond it logarithmic: a cell of one atom may be huge.
LINEAR = 20.0
# Times the median volume per atom: a cell that is larger, such as that of a single atom, tells of no density.
VACUUM = 8.0
N_BINS = 30


@checked
def coverage_figure(coverage: Coverage, config_type: Sequence[str] | None = None) -> Figure:
    """Draw histograms of pair distances by species, and the strains of cells.

    Counts are on a logarithmic axis, for the few shortest distances.  Of more than six pairs of species the others are
    summed.  A panel without data is left out; the title tells the part of a pool that is covered.  Strains are coloured
    by the `config_type` of each frame.  InputError if there is neither a pair nor a strain, or types and frames differ
    in number.
    """
    n_frames = len(coverage.volumetric_strain)
    groups = groups_of(("",) * n_frames if config_type is None else config_type, n_frames)
    volumetric, shear = 100.0 * coverage.volumetric_strain, 100.0 * coverage.shear_strain
    strained = np.isfinite(volumetric) & np.isfinite(shear)
    has_pairs = any(counts.any() for counts in coverage.pairs.values())
    if not has_pairs and not strained.any():
        raise InputError(
            f"`coverage` must hold distances or strains to draw, got none up to {coverage.edges[-1]:g} Å in "
            f"{n_frames} frames; measure it with a larger `max_distance` or a `reference_cell`"
        )
    figure, panels = panels_of(int(has_pairs) + int(strained.any()), SIZE * 1.2)
    if has_pairs:
        _draw_pairs(panels[0], coverage)
    if strained.any():
        axes = panels[-1]
        draw_frames(axes, volumetric, shear, groups)
        axes.set(xlabel="volumetric strain, %", ylabel="equivalent shear strain, %")
        for set_scale, strain in ((axes.set_xscale, volumetric), (axes.set_yscale, shear)):
            if np.nanmax(np.abs(strain)) > LINEAR:
                set_scale("symlog", linthresh=LINEAR)
        axes.set_title(f"{strained.sum()} of {n_frames} frames have a strain", fontsize="medium")
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


@checked
def spread_figure(batch: AtomsBatch, kept: BoolArray | None = None) -> Figure:
    """Draw energy per atom over volume per atom by configuration type.

    Energies without a volume are in a histogram: frames that are not periodic in all directions, and those with more
    than eight times the median volume per atom.  A panel without frames is left out; the title counts the frames
    without an energy.  Frames that the mask `kept` (n_frames,) leaves out are crosses, or in an outlined bar.
    InputError if no frame has an energy, or `kept` is no mask over the frames.
    """
    mask = kept_mask(kept, batch.n_frames)
    if batch.labels is None or not batch.labels.has_energy.any():
        raise InputError(f"`batch` must have energies to draw, got none in {batch.n_frames} frames; label some")
    energies, volumes = batch.labels.energy / batch.n_atoms_per_frame, _volumes(batch)
    has_energy, has_volume = batch.labels.has_energy, np.isfinite(volumes)
    both, alone = has_energy & has_volume, has_energy & ~has_volume
    groups = groups_of(batch.labels.config_type, batch.n_frames)
    figure, panels = panels_of(int(both.any()) + int(alone.any()), SIZE * 1.2)
    if both.any():
        draw_frames(panels[0], volumes, np.where(has_energy, energies, np.nan), groups, mask)
        panels[0].set(xlabel="volume, Å³/atom", ylabel="energy, eV/atom")
        panels[0].ticklabel_format(useOffset=False)
    if alone.any():
        _draw_histogram(panels[-1], energies, alone, groups, mask)
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


@checked
def map_figure(points: ArrayLike, config_type: Sequence[str], kept: BoolArray | None = None) -> Figure:
    """Draw the first two principal components of vectors of frames.

    Both axes have the same scale: distances in the picture are distances of the vectors, projected on two components.
    A frame far from all others, such as a single atom, may take an axis for itself: draw the map without it.
    Points (n_frames, d) are for example those of `gapkit.selection.fingerprints.Fingerprints.of_frames`.  Frames that
    the mask `kept` (n_frames,) leaves out are crosses.  InputError if the points are no finite array of at least two
    frames and two columns, or types or `kept` differ in number.
    """
    x = np.asarray(points, float)
    if x.ndim != 2 or min(x.shape) < 2 or not np.isfinite(x).all():
        raise InputError(
            f"`points` must be a finite array of at least two frames and two columns, got shape {x.shape}; make it "
            "with `Fingerprints.of_frames`"
        )
    groups, mask = groups_of(config_type, len(x)), kept_mask(kept, len(x))
    scores, explained = _principal(x)
    figure, (axes,) = panels_of(1, SIZE * 1.4)
    draw_frames(axes, scores[:, 0], scores[:, 1], groups, mask)
    for i, (axis, part) in enumerate(zip("xy", explained, strict=True)):
        axes.set(**{f"{axis}label": f"PC {i + 1} ({100 * part:.3g} % of the variance), unit of the vectors"})
    axes.set_aspect("equal", adjustable="datalim")
    add_groups_legend(figure, groups, not mask.all())
    return figure


def _principal(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """First two principal components (n, 2) of rows (n, d), and the parts of the variance (2,) that they explain."""
    centred = x - x.mean(axis=0)
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    variances, axes = singular**2, axes[:2]
    # An axis has no sign of its own: its largest loading is made positive, the first of those equal up to rounding.
    size = np.abs(axes)
    largest = np.argmax(size > (1.0 - 1e-6) * size.max(axis=1, keepdims=True), axis=1)
    axes = axes * np.sign(axes[np.arange(2), largest])[:, None]
    return centred @ axes.T, variances[:2] / max(variances.sum(), np.finfo(float).tiny)
