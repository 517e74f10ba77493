"""Root mean square errors in pictures: their order, units and axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Error:
    """How one kind of error is drawn.

    Attributes
    ----------
    factor : float
        From the unit of the error, in eV and Å, to that of the axis.
    label : str
        Of the axis, with the unit.
    """

    factor: float
    label: str


ERRORS = {
    "energy": Error(1e3, "RMSE of energies, meV/atom"),
    "forces": Error(1.0, "RMSE of force components, eV/Å"),
    "stress": Error(1e3, "RMSE of stress components, meV/Å³"),
}
"""By kind, in the order of the panels."""

# Above this ratio of its ends an axis has ticks at powers of ten, below the other at equal steps.
DECADES, STEPS = 100.0, 5.0


def set_log_ticks(axis: Any) -> None:
    """Give a logarithmic matplotlib axis, on which all is drawn, ticks that are few and plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    if high < STEPS * low:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1.0,) if high > DECADES * low else (1.0, 2.0, 3.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
