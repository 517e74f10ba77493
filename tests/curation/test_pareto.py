"""The Pareto front against separate fits."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from gapkit import Noise, load
from gapkit.curation.pareto import PURPOSES, pareto
from gapkit.curation.weights import copy_frame
from gapkit.exceptions import DataError, InputError, NotFittedModelError
from gapkit.structures import to_batch
from tests.potential.models import make_frames, small_model

RATIOS = [(0.1, 1.0), (1.0, 1.0), (10.0, 0.1), (0.1, 10.0), (30.0, 30.0)]


@pytest.fixture(scope="module")
def front():
    model = small_model().fit(make_frames(12, n_gold=2))
    return pareto(model, make_frames(8, n_gold=2, seed=5), RATIOS)


def rmse(model, frames):
    batch, p = to_batch(frames), model.predict(frames)
    has = batch.labels.has_virial
    stress = -batch.labels.virial[has][:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] / batch.volumes[has, None]
    return [
        np.sqrt(np.mean(((p.energy - batch.labels.energy) / batch.n_atoms_per_frame) ** 2)),
        np.sqrt(np.mean((p.forces - batch.labels.forces) ** 2)),
        np.sqrt(np.mean((p.stress[has] - stress) ** 2)),
    ]


def test_points_are_separate_fits(front):
    train, test = make_frames(12, n_gold=2), make_frames(8, n_gold=2, seed=5)
    for point in front.points:
        fit = clone(front.model).set_params(noise=Noise(**point.noise)).fit(train)
        expected = fit.predict(test)
        found = front.fitted(point).predict(test)
        for name in ("energy", "forces", "stress"):
            scale = np.abs(getattr(expected, name)).max()
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=0, atol=1e-6 * scale)
        np.testing.assert_allclose(list(point.errors.values()), rmse(fit, test), rtol=1e-6)
        own = front.model.noise_
        assert point.noise["virial"] == pytest.approx(own.virial * point.ratios[1])
        assert point.noise["energy"] == pytest.approx(own.energy * point.ratios[0])
    weights = np.array([p.weights for p in front.points])
    assert np.ptp(weights, axis=0).max() > 1e-3  # they do differ


def test_front_knee_and_purposes(front):
    errors = np.array([list(p.errors.values()) for p in front.points])
    for i, point in enumerate(front.points):
        beaten = any(np.all(e <= errors[i]) and np.any(e < errors[i]) for j, e in enumerate(errors) if j != i)
        assert point.on_front is not beaten
    assert front.knee.on_front
    assert front.pick("balanced") is front.knee
    for i, kind in enumerate(("energy", "forces", "stress")):
        assert front.pick({kind: 1.0}).errors[kind] == errors[:, i].min()
    assert all(front.pick(purpose).on_front for purpose in PURPOSES)
    assert "knee" in str(front)
    assert len(front.to_dict()["points"]) == len(RATIOS)


def test_part_of_the_labels(front):
    bare = [copy_frame(atoms, stress=None) for atoms in make_frames(3)]
    found = pareto(front.model, bare, [0.1, 1.0])
    assert list(found.points[0].errors) == ["energy", "forces"]
    assert found.points[0].ratios == (0.1, 0.1)
    with pytest.raises(InputError, match="importances"):
        found.pick({"stress": 1.0})


def test_refusals(front, tmp_path):
    test = make_frames(2)
    with pytest.raises(InputError, match="ratios"):
        pareto(front.model, test, [0.0])
    with pytest.raises(InputError, match="purpose"):
        front.pick("speed")
    with pytest.raises(DataError, match="found none"):
        pareto(front.model, [atoms.copy() for atoms in test])
    front.model.save(tmp_path / "m.gapkit")
    with pytest.raises(NotFittedModelError, match="factors"):
        pareto(load(tmp_path / "m.gapkit"), test)
