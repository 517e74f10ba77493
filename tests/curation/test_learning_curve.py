"""Learning curves against separate fits."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit.curation.learning_curve import learning_curve
from gapkit.curation.weights import copy_frame
from gapkit.errors import evaluate
from gapkit.exceptions import DataError, InputError
from gapkit.selection.select import select
from gapkit.structures import to_batch
from tests.potential.models import make_frames, small_model

SIZES = [6, 14, 28]


@pytest.fixture(scope="module")
def curve():
    frames, test = make_frames(28), make_frames(12, seed=8)
    return learning_curve(small_model(), frames, test, SIZES, seeds=(0, 1)), frames, test


def test_points_are_separate_fits(curve):
    found, frames, test = curve
    assert [(p.selector, p.seed, p.n_frames) for p in found.points] == [
        (name, seed, n) for name in ("random", "v_optimal") for seed in (0, 1) for n in SIZES
    ]
    point = found.points[1]
    chosen = select(frames, 14, "random", random_state=0).indices
    fit = small_model().fit([frames[i] for i in chosen])
    p, labels = fit.predict(test), to_batch(test).labels
    assert point.energy_mae == pytest.approx(np.mean(np.abs(p.energy - labels.energy)) / 4)
    assert point.forces_rmse == pytest.approx(np.sqrt(np.mean((p.forces - labels.forces) ** 2)))
    stress = np.array([atoms.calc.results["stress"] for atoms in test])
    assert point.stress_mae == pytest.approx(np.mean(np.abs(p.stress - stress)))
    assert point.n_atoms == 56


def test_more_frames_are_better_and_all_frames_are_all_frames(curve):
    found, *_ = curve
    for selector in ("random", "v_optimal"):
        few, _ = found.mean(selector, 6, "forces_rmse")
        many, spread = found.mean(selector, 28, "forces_rmse")
        assert many < few
        assert spread < 0.1 * many  # the order of frames does not matter but for sparse points
    assert str(found).count("±") == 18
    assert len(found.to_dict()["points"]) == 12


def test_own_selector_quotas_and_absent_labels(curve):
    _, frames, test = curve
    bare = [copy_frame(atoms, energy=None, stress=None) for atoms in test]
    mine = learning_curve(
        small_model(), frames, bare, [6, 8], selectors={"first": lambda frames, n, seed: range(n)}, seeds=[0]
    )
    fit = small_model().fit(frames[:8])
    assert mine.points[1].forces_mae == evaluate(fit, bare).overall.forces_mae
    assert mine.points[1].energy_mae is None
    assert np.isnan(mine.mean("first", 8, "energy_mae")[0])
    for atoms in frames[:14]:
        atoms.info["config_type"] = "a"
    by_type = learning_curve(
        small_model(), frames, test, [6], selectors=["random"], seeds=[0], options={"quotas": {"a": 6}}
    )
    chosen = select(frames, 6, "random", quotas={"a": 6}).indices
    fit = small_model().fit([frames[i] for i in chosen])
    assert by_type.points[0].forces_mae == evaluate(fit, test).overall.forces_mae
    assert chosen.max() < 14


def test_refusals(curve):
    found, frames, test = curve
    with pytest.raises(InputError, match="sizes"):
        learning_curve(small_model(), frames, test, [29])
    with pytest.raises(InputError, match="options"):
        learning_curve(small_model(), frames, test, [6], options={"sed": 1})
    with pytest.raises(InputError, match="no fit"):
        found.mean("cur", 6, "forces_mae")
    with pytest.raises(InputError, match="forces_rmse"):
        found.mean("random", 6, "n_atoms")
    with pytest.raises(DataError, match="to compare with"):
        learning_curve(small_model(), frames, [atoms.copy() for atoms in test], [6])
