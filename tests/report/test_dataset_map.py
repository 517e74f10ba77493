"""The map of a data set."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from gapkit.exceptions import InputError
from gapkit.report import map_figure
from tests.report.made import vectors

TYPES = ["a", "b"] * 15


def drawn(points: np.ndarray) -> np.ndarray:
    (line,) = map_figure(points, ["a"] * len(points)).axes[0].get_lines()
    return line.get_xydata()


def test_points_are_principal_components() -> None:
    x = vectors()
    pca = PCA(2).fit(x)
    figure = map_figure(x, TYPES)
    (axes,) = figure.axes
    for label, k in ((axes.get_xlabel(), 0), (axes.get_ylabel(), 1)):
        assert label.startswith(f"PC {k + 1} ({100 * pca.explained_variance_ratio_[k]:.3g} % of the variance)")
    expected = pca.transform(x)
    for line, start in zip(axes.get_lines(), (0, 1), strict=True):
        np.testing.assert_allclose(np.abs(line.get_xydata()), np.abs(expected[start::2]), rtol=1e-9)
    assert axes.get_aspect() == 1.0
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_signs_are_fixed() -> None:
    x = vectors()
    found = drawn(x)
    # the largest loadings are those of columns 1 and 3
    assert np.corrcoef(found[:, 0], x[:, 1])[0, 1] > 0.9
    assert np.corrcoef(found[:, 1], x[:, 3])[0, 1] > 0.9
    np.testing.assert_allclose(drawn(-x), -found, atol=1e-9)
    turned = np.array([[1.0, -1.0], [-1.0, 1.0], [0.1, 0.1], [-0.1, -0.1]])
    np.testing.assert_allclose(drawn(turned)[:, 0] * np.sqrt(0.5), turned[:, 0] * [1, 1, 0, 0], atol=1e-12)


def test_frames_that_are_left_out_are_crosses() -> None:
    kept = np.arange(30) < 28
    figure = map_figure(vectors(), TYPES, kept)
    lines = figure.axes[0].get_lines()
    assert [(line.get_marker(), len(line.get_xdata())) for line in lines] == [("o", 14)] * 2 + [("x", 1)] * 2
    np.testing.assert_allclose(lines[2].get_xydata()[0], drawn(vectors())[28])
    assert figure.legends[0].get_texts()[-1].get_text() == "left out"


def test_frames_that_are_all_alike() -> None:
    (axes,) = map_figure(np.ones((3, 4)), ["a"] * 3).axes
    np.testing.assert_array_equal(axes.get_lines()[0].get_xydata(), 0.0)
    assert "(0 % of the variance)" in axes.get_xlabel()


def test_bad_input() -> None:
    for points in (np.ones(3), np.ones((1, 4)), np.ones((4, 1)), np.full((3, 3), np.nan), np.ones((0, 3))):
        with pytest.raises(InputError, match="`points`"):
            map_figure(points, ["a"] * len(points))
    with pytest.raises(InputError, match="config_type"):
        map_figure(vectors(), TYPES[1:])
    with pytest.raises(InputError, match="`kept`"):
        map_figure(vectors(), TYPES, np.ones(3, bool))
