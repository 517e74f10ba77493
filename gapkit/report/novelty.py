"""What a model says of structures beyond its training set: their novelty, and energies along a scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.report.picture import SIZE, label_of, panels_of

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.figure import Figure

    from gapkit.potential import GAP
    from gapkit.validation import Scan

# Smaller values are counted in words: known atoms are at a distance of zero, up to rounding, from themselves.
LOWEST = 1e-5
N_BINS = 40


@checked
def novelty_figure(model: GAP, sets: Mapping[str, Sequence[Atoms]]) -> Figure:
    """Draw histograms of novelty and of distance to the training set, over their thresholds, for some sets of frames.

    Values beyond the line at 1 are extrapolation.  The title tells the part of extrapolating atoms, for these reasons
    or the third (two atoms too close); legends tell the part of values too small for the axis.
    Sets have names, for example ``{"train": train, "test": test}``.  Atoms of the training set have lower values than
    new structures of the same kind.

    Raises
    ------
    InputError
        If there is no set, or the model has no term that tells of novelty.
    NotFittedModelError
        If the model has no thresholds.
    """
    if not isinstance(sets, Mapping) or not sets:
        raise InputError(
            '`sets` must be a mapping of at least one name to frames, such as {"test": frames}, got '
            + (f"a {type(sets).__name__}" if not isinstance(sets, Mapping) else "none")
        )
    found = {name: model.extrapolation(frames) for name, frames in sets.items()}
    panels = {
        "novelty / threshold": {name: one.novelty for name, one in found.items()},
        "distance to the training set / threshold": {name: one.distance for name, one in found.items()},
    }
    panels = {label: rows for label, rows in panels.items() if any(np.isfinite(x).any() for x in rows.values())}
    if not panels:
        raise InputError(
            "`model` must have an atomic term, such as SOAP, to tell of novelty, got none; compare pair distances"
        )
    figure, all_axes = panels_of(len(panels), SIZE * 1.2, SIZE * 0.9)
    parts = ", ".join(f"{label_of(name)} {100 * one.atoms.mean():.2g} %" for name, one in found.items())
    figure.suptitle(f"extrapolating atoms: {parts}", fontsize="medium")
    for axes, (label, rows) in zip(all_axes, panels.items(), strict=True):
        values = {name: x[np.isfinite(x)] for name, x in rows.items()}
        highest = max(10.0, *(1.1 * x.max() for x in values.values() if x.size))
        bins = np.geomspace(LOWEST, highest, N_BINS + 1)
        for i, (name, x) in enumerate(values.items()):
            below = f", {100 * np.mean(x < LOWEST):.3g} % below {LOWEST:g}" if (x < LOWEST).any() else ""
            weights = np.full(len(x), 1.0 / max(len(x), 1))
            axes.hist(x, bins, weights=weights, histtype="stepfilled", color=f"C{i}", alpha=0.25)
            axes.hist(x, bins, weights=weights, histtype="step", color=f"C{i}", label=label_of(name) + below)
        axes.axvline(1.0, color="0.3", linewidth=1, linestyle="--")
        axes.set(xscale="log", xlim=(LOWEST, highest), xlabel=label, ylabel="part of the atoms")
        axes.set_ylim(0.0, 1.25 * axes.get_ylim()[1])  # room for the legend
        axes.legend(fontsize="small", loc="upper left")
    return figure


@checked
def scan_figure(scan: Scan) -> Figure:
    """Draw an energy scan with bands of one and two standard deviations and marks where it is extrapolation."""
    figure, (axes,) = panels_of(1, SIZE * 1.3)
    order = np.argsort(scan.x, kind="stable")
    x, energy = scan.x[order], scan.energy[order]
    if scan.energy_std is not None:
        std = scan.energy_std[order]
        for k, alpha in ((2, 0.15), (1, 0.3)):
            axes.fill_between(
                x, energy - k * std, energy + k * std, color="C0", alpha=alpha, linewidth=0,
                label=f"{k} σ ({scan.std})",
            )  # fmt: skip
    axes.plot(x, energy, color="C0", label="model")
    if scan.reference is not None:
        axes.plot(x, scan.reference[order], "--", color="black", linewidth=1, label="reference")
    if scan.extrapolating is not None and scan.extrapolating.any():
        new = scan.extrapolating[order]
        axes.plot(x[new], energy[new], "x", color="C3", markersize=3, label="extrapolating")
    axes.set(title=label_of(scan.name), xlabel=scan.x_label, ylabel=scan.energy_label)
    axes.legend(fontsize="small")
    return figure
