"""Coverage of groups with confidence intervals, next to the 90 % that it should be."""

from __future__ import annotations

from typing import Any

from gapkit.errors.comparison import INTERVAL
from gapkit.report.picture import label_of
from gapkit.validation.conditional import Groups, group_label, names_of_groups

MAX_GROUPS = 12  # of a grouping: there is no room for more names
MAX_LETTERS = 24  # of a name, which takes its room from the panels
POINTS = 200.0  # height of a panel without its labels


def draw_coverage(axes: Any, groups: Groups, name: str) -> None:
    """Draw the groups of one quantity into matplotlib axes, a row for each, those that exclude 90 % in red.

    Of more than twelve groups of a grouping those with the most frames are drawn; the title counts the others.
    """
    rows, place, left_out = [], 0.0, 0
    for grouping, names in names_of_groups({name: groups}).items():
        found = groups[grouping]
        drawn = sorted(names, key=lambda group: -found[group].n_frames)[:MAX_GROUPS]
        left_out += len(names) - len(drawn)
        for group in (own for own in names if own in drawn):
            rows.append((place, group_label(grouping, group), found[group]))
            place += 1.0
        place += 0.5  # between groupings
    for y, _, row in rows:
        colour = "C3" if row.excludes(INTERVAL) else "C0"
        axes.plot([100 * row.lower, 100 * row.upper], [y, y], color=colour, linewidth=1.5)
        axes.plot([100 * row.coverage], [y], "o", color=colour, markersize=4)
    axes.axvline(100 * INTERVAL, color="0.6", linewidth=1, zorder=0)
    size = min(9.0, POINTS / place)
    axes.set_yticks([y for y, _, _ in rows], [f"{label_of(_short(words))} ({row.n_frames})" for _, words, row in rows])
    axes.tick_params(axis="y", labelsize=size, length=0)
    axes.set(xlim=(-2, 102), ylim=(place - 0.5, -1.0), xlabel=f"within 1.64 std, %, {name}")
    text = f", {left_out} groups with the fewest left out" if left_out else ""
    axes.set_title(f"95 % confidence intervals (frames){text}", fontsize="medium")


def _short(words: str) -> str:
    return words if len(words) <= MAX_LETTERS else f"{words[: MAX_LETTERS - 3]}..."
