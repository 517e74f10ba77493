"""A map of a data set: its frames along the first two principal components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from gapkit.exceptions import InputError
from gapkit.report.groups import add_groups_legend, draw_frames, groups_of, kept_mask
from gapkit.report.picture import SIZE, panels_of
from gapkit.typing import BoolArray, FloatArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def map_figure(points: ArrayLike, config_type: Sequence[str], kept: BoolArray | None = None) -> Figure:
    """Draw the first two principal components of vectors of frames.

    Both axes have the same scale: distances in the picture are distances of the vectors, projected on two components.
    A frame far from all others, such as a single atom, may take an axis for itself: draw the map without it.

    Parameters
    ----------
    points : array_like (n_frames, d)
        For example `gapkit.selection.fingerprints.Fingerprints.of_frames`.
    config_type : sequence of str
        Configuration type of each frame, for colours.
    kept : ndarray (n_frames,) of bool, optional
        False: left out of a selection, a cross in place of a filled point.

    Raises
    ------
    InputError
        If the points are no finite array of two frames and two columns at least, or types or `kept` differ in number.
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
    variances = singular**2
    axes = axes[:2]
    # An axis has no sign of its own: its largest loading is made positive, the first of those equal up to rounding.
    size = np.abs(axes)
    largest = np.argmax(size > (1.0 - 1e-6) * size.max(axis=1, keepdims=True), axis=1)
    axes = axes * np.sign(axes[np.arange(2), largest])[:, None]
    return centred @ axes.T, variances[:2] / max(variances.sum(), np.finfo(float).tiny)
