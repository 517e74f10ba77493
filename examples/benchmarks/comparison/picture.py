"""The picture: cost per atom and step against atoms, sparse points and species."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

Rows = list[dict[str, Any]]
COLOURS = {"gapkit": "#0b6e4f", "QUIP": "#c1440e", "LAMMPS SNAP": "#3a5fa0"}


def draw(sections: dict[str, Rows], path: str) -> None:
    """Write a PNG with a panel for each of the sections atoms, sparse and species that was run."""
    panels = [name for name in PANELS if sections.get(name)]
    figure = Figure(figsize=(4.4 * len(panels), 4.0), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)
    for axis, name in zip(axes[0], panels, strict=True):
        PANELS[name](axis, sections)
        axis.set_yscale("log")
        axis.grid(alpha=0.25, which="both")
        axis.legend(frameon=False, fontsize=8)
    axes[0, 0].set_ylabel("µs per atom and step")
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(low / 1.3, high * 1.3)
    figure.savefig(path, dpi=150)


def _line(axis: Any, rows: Rows, x: str, y: str, label: str, colour: str, style: str = "o-") -> None:
    rows = [row for row in rows if row.get(y) is not None]
    if rows:
        axis.plot([row[x] for row in rows], [row[y] for row in rows], style, color=colour, label=label, markersize=5)


def _atoms(axis: Any, sections: dict[str, Rows]) -> None:
    rows = sections["atoms"]
    for threads, style in zip(sorted({row["threads"] for row in rows}), ("o-", "s--", "^:", "v-."), strict=False):
        chosen = [row for row in rows if row["threads"] == threads]
        plural = "thread" if threads == 1 else "threads"
        _line(axis, chosen, "atoms", "E+F+stress", f"gapkit, {threads} {plural}", COLOURS["gapkit"], style)
    peers = [row for row in sections.get("sparse", []) if row["program"] == "QUIP"]
    _line(axis, peers[-1:], "atoms", "E+F+stress", "QUIP", COLOURS["QUIP"], "D")
    snap = [row for row in sections.get("md", []) if row["program"].startswith("LAMMPS SNAP")]
    for row, marker in zip(snap, "P*", strict=False):
        _line(
            axis,
            [row],
            "atoms",
            "md",
            f"{row['program'].removeprefix('LAMMPS ')} (no stress)",
            COLOURS["LAMMPS SNAP"],
            marker,
        )
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.set_xlabel("atoms")
    axis.set_title("Silicon, energy, forces and stress", fontsize=10)


def _sparse(axis: Any, sections: dict[str, Rows]) -> None:
    for program in ("gapkit", "QUIP"):
        rows = [row for row in sections["sparse"] if row["program"] == program]
        _line(axis, rows, "sparse", "E+F+stress", program, COLOURS[program])
        _line(axis, rows, "sparse", "with std", f"{program}, with std", COLOURS[program], "o--")
    axis.set_xscale("log")
    measured = sorted({row["sparse"] for row in sections["sparse"]})
    axis.set_xticks(measured, [f"{n:,d}" for n in measured])
    axis.minorticks_off()
    axis.set_xlabel("sparse points")
    axis.set_title("Silicon, one thread", fontsize=10)


def _species(axis: Any, sections: dict[str, Rows]) -> None:
    for program in ("gapkit", "QUIP"):
        rows = [row for row in sections["species"] if row["program"] == program]
        _line(axis, rows, "species", "E+F+stress", program, COLOURS[program])
    axis.set_xticks(sorted({row["species"] for row in sections["species"]}))
    axis.set_xlabel("species")
    axis.set_title("Alloys, one thread", fontsize=10)


PANELS = {"atoms": _atoms, "sparse": _sparse, "species": _species}
