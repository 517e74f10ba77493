"""The picture of energies over volumes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gapkit.exceptions import InputError
from gapkit.report import spread_figure
from tests.report.made import batch


def test_energies_over_volumes_by_type() -> None:
    figure = spread_figure(batch([10.0, 11.0, 12.0, 13.0], [-3.0, -3.1, -3.2, -3.3]))
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("volume, Å³/atom", "energy, eV/atom")
    a, b = axes.get_lines()
    assert (a.get_label(), a.get_marker(), b.get_label()) == ("a", "o", "b")
    np.testing.assert_allclose(a.get_xydata(), [[11.0, -3.1], [13.0, -3.3]])
    np.testing.assert_allclose(b.get_xydata(), [[10.0, -3.0], [12.0, -3.2]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_frames_that_are_left_out_are_crosses() -> None:
    figure = spread_figure(batch([10.0, 11.0, 12.0], [-3.0, -3.1, -3.2]), np.array([True, True, False]))
    *_, crosses = figure.axes[0].get_lines()
    assert crosses.get_marker() == "x"
    np.testing.assert_allclose(crosses.get_xydata(), [[12.0, -3.2]])
    assert figure.legends[0].get_texts()[-1].get_text() == "left out"
    with pytest.raises(InputError, match="`kept`"):
        spread_figure(batch([10.0], [-3.0]), np.array([0]))


def test_frames_without_a_density_are_in_a_histogram() -> None:
    volumes = [10.0, 11.0, 12.0, None, None, 500.0]
    energies = [-3.0, -3.1, -3.2, -1.0, -1.5, -0.5]
    kept = np.array([True] * 4 + [False, True])
    scatter, histogram = spread_figure(batch(volumes, energies), kept).axes
    assert sum(len(line.get_xdata()) for line in scatter.get_lines()) == 3
    assert (histogram.get_xlabel(), histogram.get_ylabel()) == ("energy, eV/atom", "number of frames")
    bars = [bar for bar in histogram.patches if hasattr(bar, "get_height") and bar.get_height() > 0]
    assert sum(bar.get_height() for bar in bars) == 2
    for bar, energy in zip(sorted(bars, key=lambda bar: bar.get_x()), (-1.0, -0.5), strict=True):
        assert bar.get_x() - 1e-9 <= energy <= bar.get_x() + bar.get_width() + 1e-9
    (outline,) = [patch for patch in histogram.patches if not hasattr(patch, "get_height")]
    corners = outline.get_xy()
    assert np.ptp(corners[corners[:, 1] > 0, 0]) < 0.1
    assert corners[corners[:, 1] > 0, 0].mean() == pytest.approx(-1.5, abs=0.05)


def test_without_any_volume_there_is_the_histogram_only() -> None:
    (axes,) = spread_figure(batch([None] * 4, [-3.0, -3.1, -3.2, -3.3])).axes
    assert axes.get_ylabel() == "number of frames"
    assert len({bar.get_facecolor()[:3] for bar in axes.patches if bar.get_height() > 0}) == 2
    assert sum(bar.get_height() for bar in axes.patches) == 4


def test_missing_energies() -> None:
    made = batch([10.0, 11.0, 12.0], [-3.0, None, -3.2])
    figure = spread_figure(made)
    assert figure.get_suptitle() == "1 of 3 frames have no energy"
    assert sum(len(line.get_xdata()) for line in figure.axes[0].get_lines()) == 2
    for nothing in (batch([10.0], [None]), replace(made, labels=None)):
        with pytest.raises(InputError, match="energies"):
            spread_figure(nothing)
