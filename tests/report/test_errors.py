"""Ticks of logarithmic axes are few and plain."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from gapkit.report.errors import set_log_ticks


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (10.0, 42.0, ["10", "20", "30", "40"]),
        (0.012, 0.31, ["0.02", "0.03", "0.05", "0.1", "0.2", "0.3"]),
        (0.5, 20000.0, ["1", "10", "100", "1000", "10000"]),
    ],
)
def test_ticks(low: float, high: float, labels: list[str]) -> None:
    axes = Figure().subplots()
    axes.set(yscale="log", ylim=(low, high))
    set_log_ticks(axes.yaxis)
    axes.figure.draw_without_rendering()
    shown = [tick.label1.get_text() for tick in axes.yaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert shown == labels
    assert not any(tick.label1.get_text() for tick in axes.yaxis.get_minor_ticks())
