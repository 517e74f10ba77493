"""Logarithmic axes of root mean square errors."""

from __future__ import annotations

from typing import Any

from gapkit.targets import shown_quantities

ERRORS = shown_quantities()
"""Quantities in the order of the panels, with the unit of printed errors."""

# Above this ratio of its ends an axis has ticks at powers of ten, below the other at equal steps.
DECADES, STEPS = 100.0, 5.0


def set_log_axes(axes: Any, x: str, y: str) -> None:
    """Make both axes logarithmic; `x` and `y` are labels, or names of quantities whose errors are drawn."""
    labels = [f"RMSE of {q.title}, {q.printed_unit}" if (q := ERRORS.get(name)) else name for name in (x, y)]
    axes.set(xscale="log", yscale="log", xlabel=labels[0], ylabel=labels[1])
    set_log_ticks(axes.xaxis)
    set_log_ticks(axes.yaxis)


def set_log_ticks(axis: Any) -> None:
    """Give a logarithmic matplotlib axis, once all is drawn, few ticks with plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    if high < STEPS * low:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_minor_locator(NullLocator())
    else:
        axis.set_major_locator(LogLocator(subs=(1.0,) if high > DECADES * low else (1.0, 2.0, 3.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
