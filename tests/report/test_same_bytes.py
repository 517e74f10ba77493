"""The same results make the same files."""

from __future__ import annotations

import io
from collections.abc import Callable

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from gapkit.report import (
    coverage_figure,
    influence_figure,
    learning_curve_figure,
    map_figure,
    pareto_figure,
    spread_figure,
    uncertainty_figure,
)
from tests.report import made

PICTURES: dict[str, Callable[[], Figure]] = {
    "coverage": lambda: coverage_figure(made.coverage(8), made.TYPES),
    "influence": lambda: influence_figure(made.influence()),
    "learning curve": lambda: learning_curve_figure(made.curve()),
    "map": lambda: map_figure(made.vectors(), ["a", "b", "c"] * 10, np.arange(30) % 4 > 0),
    "pareto": lambda: pareto_figure(made.front("energy", "forces")),
    "spread": lambda: spread_figure(made.batch([10.0, 12.0, None], [-3.0, -3.1, -2.0]), np.array([True, False, True])),
    "uncertainty": lambda: uncertainty_figure(made.comparison()),
}


@pytest.mark.parametrize(("name", "form"), [*((name, "png") for name in PICTURES), ("map", "svg")])
def test_files_are_the_same(name: str, form: str) -> None:
    files = []
    for _ in range(2):
        file = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "gapkit"}):
            PICTURES[name]().savefig(file, format=form, dpi=50, metadata={"Date": None} if form == "svg" else None)
        files.append(file.getvalue())
    assert len(files[0]) > 1000
    assert files[0] == files[1]
