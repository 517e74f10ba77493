"""The picture: coverage in distribution and out of kind, and what is missed, of every method and split."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

Rows = list[dict[str, Any]]
COLOURS = ("#0b6e4f", "#c1440e", "#3a5fa0", "#b8860b", "#6a3d9a", "#444444", "#1f9e89")
# title of a panel: key of its figure, and where all should be
PANELS = {
    "forces within 90 %": ("forces_coverage", 0.9),
    "energies within 90 %": ("energy_coverage", 0.9),
    "forces missed": ("missed_forces", 0.0),
    "energies missed": ("missed_energies", 0.0),
}


def draw(rows: Rows, path: str) -> None:
    """Write a PNG: filled marks are out of kind, open ones in distribution."""
    splits, methods = (list(dict.fromkeys(row[key] for row in rows)) for key in ("split", "method"))
    figure = Figure(figsize=(12.0, 1.8 + 0.14 * len(splits) * (len(methods) + 2)), layout="constrained")
    axes = figure.subplots(1, len(PANELS), sharey=True)
    for axis, (title, (key, wanted)) in zip(axes, PANELS.items(), strict=True):
        axis.axvline(wanted, color="black", linewidth=0.8)
        for row in rows:
            k = methods.index(row["method"])
            place, colour = splits.index(row["split"]) + (k + 1) / (len(methods) + 1) - 0.5, COLOURS[k % len(COLOURS)]
            known, unknown = row[key] if isinstance(row[key], list) else (None, row[key])
            if known is not None:
                axis.plot(known, place, "o", color=colour, fillstyle="none", markersize=5)
            if unknown is not None:
                axis.plot(unknown, place, "o", color=colour, markersize=5)
        axis.set_title(title, fontsize=10)
        axis.set_xlim(-0.03, 1.03)
        axis.grid(alpha=0.25, axis="x")
    axes[0].set_yticks(range(len(splits)), splits)
    axes[0].set_ylim(len(splits) - 0.5, -0.5)
    for k, method in enumerate(methods):
        axes[0].plot([], [], "o", color=COLOURS[k % len(COLOURS)], label=method)
    for fill, label in (("none", "in distribution"), ("full", "out of kind")):
        axes[0].plot([], [], "o", color="black", fillstyle=fill, label=label)
    figure.legend(loc="outside lower center", ncols=len(methods) + 2, frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)
