"""The picture of a Pareto front."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gapkit.exceptions import InputError
from gapkit.report import pareto_figure
from tests.report.made import front

LABELS = {
    "energy": "RMSE of energies, meV/atom", "forces": "RMSE of force components, eV/Å",
    "stress": "RMSE of stress components, meV/Å³",
}  # fmt: skip
FACTORS = {"energy": 1e3, "forces": 1.0, "stress": 1e3}


@pytest.mark.parametrize(
    "pairs",
    [
        [("energy", "forces")],
        [("forces", "stress")],
        [("energy", "forces"), ("energy", "stress"), ("forces", "stress")],
    ],
)
def test_a_panel_for_each_pair_of_errors(pairs: list[tuple[str, str]]) -> None:
    made = front(*{kind for pair in pairs for kind in pair})
    assert made.knee is made.points[1]
    figure = pareto_figure(made)
    for axes, (a, b) in zip(figure.axes, pairs, strict=True):
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert (axes.get_xlabel(), axes.get_ylabel()) == (LABELS[a], LABELS[b])
        errors = np.array([(FACTORS[a] * p.errors[a], FACTORS[b] * p.errors[b]) for p in made.points])
        beaten, best, knee = (line.get_xydata() for line in axes.get_lines())
        np.testing.assert_allclose(beaten, errors[4:])
        np.testing.assert_allclose(np.sort(best, axis=0), np.sort(errors[:4], axis=0))
        np.testing.assert_allclose(knee, errors[1:2])
        assert axes.get_lines()[2].get_marker() == "*"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["beaten", "front", "knee: noise of energies × 1, of virials × 3"]


def test_one_error_is_no_front() -> None:
    with pytest.raises(InputError, match="two kinds to weigh against each other, got forces"):
        pareto_figure(front("forces"))
    with pytest.raises(InputError, match="got none"):
        pareto_figure(replace(front("energy", "forces"), points=()))
