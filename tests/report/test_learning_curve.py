"""The picture of a learning curve."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit.curation.learning_curve import LearningCurve
from gapkit.exceptions import InputError
from gapkit.report import learning_curve_figure
from tests.report.made import curve

SIZES = np.array([10, 20, 40])


def test_means_and_bands() -> None:
    figure = learning_curve_figure(curve())
    assert [axes.get_ylabel().split(", ")[1] for axes in figure.axes] == ["meV/atom", "eV/Å", "meV/Å³"]
    for axes, factor in zip(figure.axes, (0.01e3, 1.0, 0.1e3), strict=True):
        assert (axes.get_xlabel(), axes.get_xscale(), axes.get_yscale()) == ("training frames", "log", "log")
        for k, (line, band) in enumerate(zip(axes.get_lines(), axes.collections, strict=True)):
            seeds = factor * (1 + k) / SIZES * np.array([[1.0], [1.1]])
            mean, std = seeds.mean(axis=0), seeds.std(axis=0, ddof=1)
            np.testing.assert_array_equal(line.get_xdata(), SIZES)
            np.testing.assert_allclose(line.get_ydata(), mean)
            outline = band.get_paths()[0].vertices
            for x, low, high in zip(SIZES, mean - std, mean + std, strict=True):
                found = outline[outline[:, 0] == x, 1]
                np.testing.assert_allclose([found.min(), found.max()], [low, high])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["random", "cur"]
    assert "standard deviation over seeds" in legend.get_title().get_text()


def test_quantities_without_labels_have_no_panel() -> None:
    (axes,) = learning_curve_figure(curve(energy_rmse=None, stress_rmse=float("nan"))).axes
    assert axes.get_ylabel() == "RMSE of force components, eV/Å"
    for nothing in (curve(energy_rmse=None, forces_rmse=None, stress_rmse=None), LearningCurve(())):
        with pytest.raises(InputError, match="got none in"):
            learning_curve_figure(nothing)


def test_one_seed_and_one_size() -> None:
    made = curve().points
    figure = learning_curve_figure(LearningCurve(made[:1]))
    figure.draw_without_rendering()
    assert figure.axes[1].get_lines()[0].get_xydata().tolist() == [[40, made[0].forces_rmse]]
