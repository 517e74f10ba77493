"""Sums over sparse points by expansions: the same function, and no rounding of large weights."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from scipy.spatial.transform import Rotation

from gapkit import GAP, SOAP, GAPCalculator, Term, TwoBody
from gapkit.gp import prediction
from gapkit.gp.expansion import Expansion, Series, expand
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.workspace import Workspace
from tests.potential.models import NOISE, make_frames, small_model

SMALL = 1e-10  # eV, of 32 atoms; and relative to the largest force


def model_of(*terms):
    return small_model(terms=list(terms)).fit(make_frames(6, seed=1))


def blocks_of(*terms):
    return model_of(*terms).state_.sparse.basis.blocks


def contract(expansion, block, y, values=None, column=0, single=False):
    out, norms = np.empty_like(y), np.einsum("nr,nr->n", y, y)
    options = {"single": single, "workspace": Workspace()}
    return expansion.contract(y, norms, out, values, column, **options), out


@pytest.mark.parametrize("sigma0", [0.0, 0.4])
@pytest.mark.parametrize("zeta", [2, 3, 4, 5])
@pytest.mark.parametrize("single", [False, True])
def test_powers_of_inner_products(zeta, sigma0, single):
    (block,) = blocks_of(Term(SOAP(4.0, 4, 3, 0.5), DotProduct(0.5, zeta, sigma0, delta_bounds="fixed"), n_sparse=20))
    rng = np.random.default_rng(0)
    weights, y = rng.normal(size=20), rng.normal(size=(5, block.scaled.shape[1])) / np.sqrt(block.scaled.shape[1])
    expansion, values = expand(block, weights), np.zeros((5, 22))
    assert isinstance(expansion, Expansion)
    energies, slopes = contract(expansion, block, y, values, 2, single)
    k, k_q, _ = block.kernel.value_and_slopes(y @ block.scaled.T, None, None)
    tolerance = 1e-5 if single else 1e-12
    np.testing.assert_allclose(energies, k @ weights, rtol=0, atol=tolerance)
    np.testing.assert_allclose(slopes, (k_q * weights) @ block.scaled, rtol=0, atol=10 * tolerance)
    np.testing.assert_allclose(values[:, 2:], k, rtol=0, atol=tolerance)
    assert not values[:, :2].any()


@pytest.mark.parametrize("length", [0.3, 0.8, 2.0])
def test_one_feature(length):
    (block,) = blocks_of(Term(TwoBody(4.0), SquaredExponential(1.0, length, delta_bounds="fixed"), n_sparse=8))
    rng = np.random.default_rng(0)
    weights, y = rng.normal(size=len(block.points)), np.linspace(0.0, 4.0, 101)[:, None] / length
    expansion, values = expand(block, weights), np.zeros((101, len(weights)))
    assert isinstance(expansion, Series)
    energies, slopes = contract(expansion, block, y, values)
    apart = y - block.scaled[:, 0]
    k = np.exp(-0.5 * apart**2)
    np.testing.assert_allclose(energies, k @ weights, rtol=0, atol=1e-14 * np.abs(weights).sum())
    np.testing.assert_allclose(slopes[:, 0], (-apart * k) @ weights, rtol=0, atol=1e-13 * np.abs(weights).sum())
    np.testing.assert_allclose(values, k, rtol=0, atol=1e-12)


def test_where_there_is_none():
    """Real exponents, many monomials, several features: the plain sum."""
    for term in (
        Term(SOAP(4.0, 4, 3, 0.5), DotProduct(0.5, 2.5), n_sparse=9),
        Term(SOAP(4.0, 4, 3, 0.5), DotProduct(0.5, 12), n_sparse=9),
        Term(SOAP(4.0, 4, 3, 0.5), SquaredExponential(0.5, 1.0), n_sparse=9),
    ):
        model = model_of(term)
        (block,) = model.state_.sparse.basis.blocks
        assert expand(block, np.ones(9)) is None
        assert np.isfinite(model.predict(make_frames(1)).forces).all()


@pytest.fixture(scope="module")
def smooth_model():
    """As a fit chooses it: weights of up to a million, with kernel values near one."""
    terms = [Term(TwoBody(5.0), n_sparse=15), Term(SOAP(5.0, 6, 5, 0.6), n_sparse=150)]
    return GAP(terms, noise=NOISE, n_jobs=1, calibration=None).fit(make_frames(60, seed=3, size=0.25))


def copper():
    atoms = bulk("Cu", a=3.7, cubic=True) * (2, 2, 2)
    atoms.rattle(0.15, seed=3)
    return atoms


def same_crystal(atoms, rng):
    """By name: the same structure again, the order of its atoms, and the rotation of its forces."""
    order, turn, same = rng.permutation(len(atoms)), Rotation.random(random_state=1).as_matrix(), np.arange(len(atoms))
    moved, wrapped, turned = (atoms.copy() for _ in range(3))
    moved.positions += rng.normal(scale=3.0, size=3)
    wrapped.positions += rng.integers(-3, 4, size=(len(atoms), 3)) @ atoms.cell.array
    turned.set_cell(atoms.cell.array @ turn.T)
    turned.positions = atoms.positions @ turn.T
    return {
        "moved": (moved, same, np.eye(3)), "wrapped": (wrapped, same, np.eye(3)),
        "permuted": (atoms[order], order, np.eye(3)), "turned": (turned, same, turn),
    }  # fmt: skip


def largest_changes(model, **options):
    """Of energy (eV) and forces (relative) of 32 atoms that are the same crystal."""
    rng, atoms = np.random.default_rng(0), copper()
    calculator = GAPCalculator(model, **options)
    energy, forces = calculator.get_potential_energy(atoms), calculator.get_forces(atoms)
    changes = []
    for skin in (0.0, 0.5, 1.3):
        for other, order, turn in same_crystal(atoms, rng).values():
            other.calc = GAPCalculator(model, skin=skin, **options)
            change = np.abs(other.get_forces() - forces[order] @ turn.T).max() / np.abs(forces).max()
            changes.append((abs(other.get_potential_energy() - energy), change))
    return np.max(changes, axis=0)


def test_the_same_crystal_has_the_same_energy(smooth_model, monkeypatch):
    weights = smooth_model.model_.weights
    assert np.abs(weights).sum() > 1e5
    assert (largest_changes(smooth_model) < SMALL).all()
    monkeypatch.setattr(prediction, "expand", lambda block, weights: None)
    assert largest_changes(smooth_model.with_state(smooth_model.state_.solved()))[0] > SMALL


def test_in_single_precision_nearly(smooth_model):
    """The rounding of what is taken in single precision, of the order b^2: four digits fewer, and no more."""
    assert (largest_changes(smooth_model, single_precision=True) < 1e-6).all()
    atoms = copper()
    one, other = (GAPCalculator(smooth_model, single_precision=single).get_forces(atoms) for single in (False, True))
    assert np.abs(one - other).max() < 1e-5


def test_uncertainty_changes_no_energy(smooth_model):
    plain = smooth_model.predict(copper())
    for return_std in ("local", True):
        p = smooth_model.predict(copper(), return_std=return_std)
        np.testing.assert_allclose(p.energy, plain.energy, rtol=0, atol=SMALL)
        np.testing.assert_allclose(p.forces, plain.forces, rtol=0, atol=SMALL)
