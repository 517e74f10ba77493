"""The coverage of groups as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gapkit.errors.comparison import INTERVAL
from gapkit.errors.tables import add_row, new_table
from gapkit.targets import shown_quantities
from gapkit.uncertainty.conditional import GroupCoverage
from gapkit.validation.conditional import Groups, group_label, names_of_groups

if TYPE_CHECKING:
    from rich.table import Table

MARK = "*"


def coverage_table(title: str, found: dict[str, Groups]) -> Table:
    """Table with a row for each group and a column for each quantity; `found` is of `conditional_coverage`."""
    kinds = shown_quantities()
    table = new_table(title, "", kinds)
    for grouping, names in names_of_groups(found).items():
        for name in names:
            rows = [found.get(kind, {}).get(grouping, {}) for kind in kinds]
            cells = (_cell(own.get(name)) if own else "" for own in rows)
            add_row(table, group_label(grouping, name), *cells)
        table.add_section()
    return table


def resolution(found: dict[str, Groups]) -> str:
    """What the brackets and marks of a table mean, and what all frames together resolve."""
    all_rows = {kind: groups["all"]["all"] for kind, groups in found.items()}
    widths = ", ".join(f"{kind} ±{50 * (row.upper - row.lower):.2g} %" for kind, row in all_rows.items())
    n_frames = max(row.n_frames for row in all_rows.values())
    n_groups = sum(
        name in groups.get(grouping, {})
        for grouping, names in names_of_groups(found).items()
        for name in names
        for groups in found.values()
    )
    return (
        f"Brackets: 95 % confidence intervals by frames; {n_frames:,} frames resolve {widths}.\n"
        f"{MARK}: 90 % is outside; by chance it is for about {0.05 * n_groups:.0f} of {n_groups}."
    )


def _cell(row: GroupCoverage | None) -> str:
    return "-" if row is None else f"{row}{MARK if row.excludes(INTERVAL) else ' '}"
