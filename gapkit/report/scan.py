"""Energy scans with their error bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gapkit.report.picture import SIZE, panels_of
from gapkit.validation import Scan

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    axes.set(title=scan.name, xlabel=scan.x_label, ylabel=scan.energy_label)
    axes.legend(fontsize="small")
    return figure
