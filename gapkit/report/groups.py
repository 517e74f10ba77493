"""Frames by configuration type: a colour for each, filled points for kept frames, crosses for those left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from gapkit.exceptions import InputError
from gapkit.report.picture import label_of
from gapkit.typing import BoolArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_TYPES = 10  # colours that can be told apart: of more types the rarest share a group
REST, REST_COLOUR = "others", "black"


@dataclass(frozen=True, eq=False)
class Group:
    """Mask of the frames (n_frames,) of a configuration type, or of "others", and their colour for matplotlib."""

    name: str
    colour: str
    frames: BoolArray

    @property
    def label(self) -> str:
        """The name in a legend."""
        return label_of(self.name)


def groups_of(config_type: Sequence[str], n_frames: int) -> list[Group]:
    """A group for each configuration type, by name, or the nine most frequent ones and "others"."""
    if isinstance(config_type, str) or len(config_type) != n_frames:
        raise InputError(
            f"`config_type` must hold one name for each of the {n_frames} frames, got "
            + (f"the name {config_type!r}" if isinstance(config_type, str) else f"{len(config_type)}")
        )
    types = np.array(config_type, dtype=object)
    named = sorted(Counter(config_type).items(), key=lambda item: (-item[1], item[0]))
    named = named if len(named) <= MAX_TYPES else named[: MAX_TYPES - 1]
    groups = [Group(name, f"C{i}", types == name) for i, name in enumerate(sorted(name for name, _ in named))]
    rest = ~np.any([group.frames for group in groups], axis=0) if groups else np.zeros(0, bool)
    return [*groups, Group(REST, REST_COLOUR, rest)] if rest.any() else groups


def kept_mask(kept: ArrayLike | None, n_frames: int) -> BoolArray:
    """`kept` as an array (n_frames,), all True for None; InputError if it is no mask over the frames."""
    mask = np.ones(n_frames, bool) if kept is None else np.asarray(kept)
    if mask.dtype != bool or mask.shape != (n_frames,):
        raise InputError(
            f"`kept` must be one bool for each of the {n_frames} frames, got shape {mask.shape} of {mask.dtype}; "
            "of indices make `np.isin(np.arange(n_frames), indices)`"
        )
    return mask


def draw_frames(axes: Any, x: ArrayLike, y: ArrayLike, groups: Sequence[Group], kept: BoolArray | None = None) -> None:
    """Draw finite points (n_frames,): for each group a line of filled ones, then one of crosses if some are left out.

    Crosses come last, for they are few and would be hidden.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    finite = np.isfinite(x) & np.isfinite(y)
    mask = kept_mask(kept, len(x))
    for group in groups:
        own = group.frames & finite & mask
        axes.plot(
            x[own],
            y[own],
            "o",
            color=group.colour,
            markersize=4,
            markeredgewidth=0,
            alpha=0.7,
            label=group.label,
        )
    for group in groups:
        own = group.frames & finite & ~mask
        if own.any():
            axes.plot(x[own], y[own], "x", color=group.colour, markersize=5, markeredgewidth=1, label=group.label)


def add_groups_legend(figure: Figure, groups: Sequence[Group], some_left_out: bool = False) -> None:
    """Name the groups, where there are several, and the crosses, where there are some, beside the panels."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linestyle="", marker="o", color=group.colour, label=group.label) for group in groups]
    if some_left_out:
        handles.append(Line2D([], [], linestyle="", marker="x", color="0.2", label="left out"))
    if len(handles) > 1:
        figure.legend(handles=handles, fontsize="small", loc="outside right upper")
