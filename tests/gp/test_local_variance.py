"""InnerProducts of local variances against the formulas of the posterior."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit import SOAP, Term, TwoBody
from gapkit.exceptions import InputError, VarianceWarning
from gapkit.gp import expansion, prediction
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.lapack import multiply_triangular
from gapkit.gp.prediction import _clipped
from gapkit.gp.variance import local as local_variance
from gapkit.gp.variance.local import N_LEADING, _lower_square_root, _pivoted
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.structures import to_batch
from tests.potential.models import make_frames, small_model

DOUBLE = 1e-8  # relative to the prior: inverses of ill-conditioned triangles in another order
SINGLE = 2e-6  # relative to the prior: squares of single-precision products
STD = 2e-3  # relative error of a standard deviation that the module promises


def soap(n_sparse, delta=0.5, cutoff=4.0, zeta=3):
    return Term(SOAP(cutoff, 4, 3, 0.5), DotProduct(delta, zeta, delta_bounds="fixed"), n_sparse=n_sparse)


def pairs(delta=1.0, n_sparse=6):
    return Term(TwoBody(4.0), SquaredExponential(delta, 0.8, delta_bounds="fixed"), n_sparse=n_sparse)


TERMS = {
    "soap": [soap(20)],
    "soap-squared-exponential": [
        Term(SOAP(4.0, 4, 3, 0.5), SquaredExponential(0.5, 0.6, delta_bounds="fixed"), n_sparse=20)
    ],
    "two-body-soap": [pairs(), soap(20)],
    "strong-two-body-soap": [pairs(10.0), soap(20, delta=0.2)],
    "two-soap": [soap(15), soap(12, delta=0.2, cutoff=3.5, zeta=2)],
    "two-soap-two-body": [soap(15), pairs(), soap(12, delta=0.2, cutoff=3.5, zeta=2)],
    "two-body": [pairs()],
}


def exact(model, frames):
    """(data, residual of atomic terms, residual of the others, prior of atomic terms), (n_atoms,) each, in eV^2."""
    linear = model.model_
    batch = to_batch(frames, labels=False)
    basis, posterior = linear.basis, linear.posterior
    phi = np.zeros((batch.n_atoms, basis.n_columns))
    seen, others, prior = np.zeros((3, batch.n_atoms))
    index = -1
    for term, view in zip(
        basis.terms, AppliedBasis.of(basis, batch, model.state_.neighbours(batch)).views, strict=True
    ):
        for block in term.blocks:
            index += 1
            for centre in view.centres(block.species):  # one atom at a time
                f = view.features(block.species, np.array([centre]))
                if len(f.x) == 0:
                    continue
                x = term.kernel.scale_features(f.x)
                norms = (x**2).sum(axis=1)
                k = term.kernel.value(block.reduce(x) @ block.scaled.T, norms, block.norms)
                phi[centre, block.columns] = f.factors @ k
                diagonal = term.kernel.diag_value(norms if f.squares is None else f.squares)
                residual = posterior.prior_residual(diagonal, k, index)
                if term.engine.is_atomic:
                    seen[centre] += residual[0]
                    prior[centre] += diagonal[0] * posterior.variance_scale(index)
                else:
                    others[centre] += np.abs(f.factors) @ np.sqrt(residual)
    return posterior.data_variance(phi), seen, others**2, prior


@pytest.fixture(scope="module", params=list(TERMS))
def terms(request):
    return TERMS[request.param]


@pytest.fixture(scope="module", params=[0, 3], ids=["copper", "alloy"])
def model(request, terms):
    return small_model(terms=terms).fit(make_frames(8, n_gold=request.param, seed=1))


@pytest.fixture(scope="module")
def frames(model):
    """Known neighbourhoods, and others: nearly known to unlike all that was seen."""
    n_gold = 3 if len(model.species_) > 1 else 0
    frames = [*make_frames(2, n_gold, seed=1), *make_frames(6, n_gold, seed=7, size=0.3)]
    for atoms, factor in zip(frames[2:], (1.0, 0.95, 0.85, 1.05, 1.15, 1.3), strict=True):
        atoms.set_cell(atoms.cell.array * factor, scale_atoms=True)
    return frames


@pytest.fixture(params=[N_LEADING, 3], ids=["double", "single"])
def tolerance(request, model, monkeypatch):
    """Few sparse points are all taken in double precision, but for the data part; with N_LEADING = 3 hardly any."""
    monkeypatch.setattr(local_variance, "N_LEADING", request.param)
    vars(model.model_).pop("_variances", None)
    yield DOUBLE if request.param == N_LEADING else SINGLE
    vars(model.model_).pop("_variances", None)


def test_the_products_are_the_formulas(model, frames, tolerance):
    data, seen, others, prior = exact(model, frames)
    scale = max(model.scales_) ** 2
    p, alone = (model.predict(frames, return_std=what) for what in (True, "local"))
    np.testing.assert_allclose(p.local_prior_variance, seen + others, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(p.local_data_variance, data, rtol=2 * STD, atol=SINGLE * scale)
    total = data + seen + others
    np.testing.assert_allclose(p.local_energies_std**2, total, rtol=2 * STD, atol=SINGLE * scale)
    np.testing.assert_allclose(alone.local_energies_std**2, total, rtol=0, atol=tolerance * scale)
    assert (total > 30 * SINGLE * scale).mean() > 0.2
    assert (data > 30 * SINGLE * scale).any()
    if prior.any():
        np.testing.assert_allclose(p.unseen, seen / prior, rtol=0, atol=tolerance * scale / prior.min())
        assert p.unseen.max() > 0.01
    else:
        assert np.isnan(p.unseen).all()


def test_the_parts_are_not_computed_for_the_total(model, frames):
    p = model.predict(frames, return_std="local")
    assert p.local_data_variance is None
    assert p.local_prior_variance is None
    assert p.unseen is None


@pytest.mark.parametrize("terms", [[soap(150)], [pairs(), soap(150)]], ids=["soap", "two-body-soap"])
def test_the_promised_precision(terms):
    """More sparse points than are taken in double precision, among known neighbourhoods: small standard deviations.

    K_MM is ill-conditioned enough for 1 - G^T G to be indefinite by rounding.
    """
    train = make_frames(80, seed=2)
    model = small_model(terms=terms).fit(train)
    assert len(model.model_.basis.terms[-1].blocks[0].points) > N_LEADING
    frames = [*train[:3], *make_frames(5, seed=9)]
    data, seen, others, _ = exact(model, frames)
    expected = np.sqrt(data + seen + others)
    assert expected.min() < 0.02 * model.scales_[-1]
    p, alone = (model.predict(frames, return_std=what) for what in (True, "local"))
    np.testing.assert_allclose(p.local_energies_std, expected, rtol=STD)
    np.testing.assert_allclose(alone.local_energies_std, expected, rtol=STD)
    np.testing.assert_allclose(np.sqrt(p.local_data_variance), np.sqrt(data), rtol=STD)


@pytest.mark.parametrize("per_tile", [1, 5])
def test_the_tiles_of_sparse_points_do_not_matter(model, frames, per_tile, monkeypatch):
    expected = model.predict(frames, return_std=True)
    monkeypatch.setattr(prediction, "POINTS_PER_TILE", per_tile)
    monkeypatch.setattr(expansion, "POINTS_PER_TILE", per_tile)
    p = model.predict(frames, return_std=True)
    scale = max(model.scales_) ** 2
    np.testing.assert_allclose(p.local_prior_variance, expected.local_prior_variance, rtol=0, atol=DOUBLE * scale)
    np.testing.assert_allclose(p.local_data_variance, expected.local_data_variance, rtol=0, atol=SINGLE * scale)
    np.testing.assert_allclose(p.forces, expected.forces, rtol=0, atol=1e-11 * np.abs(expected.forces).max())


@pytest.fixture(scope="module")
def copper_points():
    """A model that knows copper and gold, with a single sparse point, of copper."""
    model = small_model(terms=[soap(1)]).fit(make_frames(8, n_gold=3, seed=1))
    assert [block.species for block in model.model_.basis.terms[0].blocks] == [(29,)]
    return model


@pytest.mark.parametrize("what", [True, "local"])
def test_a_species_without_sparse_points_does_no_harm_to_others(copper_points, what):
    frame = make_frames(1, seed=3)[0]
    frame.numbers[2] = 79
    p = copper_points.predict(frame, return_std=what)
    copper = np.arange(4) != 2
    data, seen, _, _ = exact(copper_points, [frame])
    np.testing.assert_allclose(p.local_energies_std[copper] ** 2, (data + seen)[copper], rtol=1e-6)
    assert p.local_energies[2] == copper_points.reference_energies_["Au"]


def test_a_species_without_sparse_points_has_its_prior_variance(copper_points):
    frame = make_frames(1, seed=3)[0]
    frame.numbers[2] = 79
    p = copper_points.predict(frame, return_std=True)
    assert p.local_energies_std[2] == pytest.approx(0.5)
    assert p.unseen[2] == pytest.approx(1.0)


def test_negative_variances_are_clipped_and_reported():
    prior = np.full(4, 2.0)
    variance = np.array([1.0, 0.0, -1e-7, 1e-9])
    np.testing.assert_array_equal(_clipped(variance, prior), [1.0, 0.0, 0.0, 1e-9])
    with pytest.warns(VarianceWarning, match=r"2 of 4 local variances .*-0\.5 eV"):
        clipped = _clipped(np.array([1.0, -0.5, -1e-4, -1e-7]), prior)
    np.testing.assert_array_equal(clipped, [1.0, 0.0, 0.0, 0.0])


# ---------------------------------------------------------------------- what they are made of


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("m", [0, 1, 2, 50])
def test_triangular_product(n, m):
    """In place, for a part of longer rows; what is above the diagonal and beside the part is left alone."""
    rng = np.random.default_rng(0)
    lower = np.asarray(rng.normal(size=(m, m)), np.float32, order="F")
    rows = rng.normal(size=(n, m + 3)).astype(np.float32)
    expected = rows.astype(np.float64)
    expected[:, 2 : m + 2] = expected[:, 2 : m + 2] @ np.tril(lower).T
    multiply_triangular(rows[:, 2 : m + 2], lower)
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-6 * max(m, 1))
    np.testing.assert_array_equal(rows[:, [0, 1, -1]], expected[:, [0, 1, -1]])


@pytest.mark.parametrize(
    ("x", "lower"),
    [
        (np.zeros((3, 4)), np.zeros((4, 4), np.float32, order="F")),
        (np.zeros((3, 4), np.float32), np.zeros((4, 4), order="F")),
        (np.zeros((3, 4), np.float32), np.zeros((4, 4), np.float32)),
        (np.zeros((3, 8), np.float32)[:, ::2], np.zeros((4, 4), np.float32, order="F")),
    ],
    ids=["double-rows", "double-matrix", "c-order", "strided-rows"],
)
def test_triangular_product_of_other_arrays(x, lower):
    with pytest.raises(InputError, match="float32"):
        multiply_triangular(x, lower)


@pytest.mark.parametrize("lowest", [0.1, 0.0, -1e-10, -1e-5])
def test_lower_square_root(lowest):
    """What rounding makes negative is zero, and nothing else changes."""
    rng = np.random.default_rng(1)
    vectors = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    values = np.concatenate([np.full(3, lowest), np.geomspace(1e-7, 1.0, 9)])
    b = _lower_square_root((vectors * values) @ vectors.T)
    np.testing.assert_allclose(b, np.tril(b), rtol=0, atol=1e-14)
    exact = (vectors * np.maximum(values, 0.0)) @ vectors.T
    np.testing.assert_allclose(b.T @ b, exact, rtol=0, atol=1e-11)


@pytest.mark.parametrize("rank", [12, 5])
def test_pivoted_factor(rank):
    lower = np.tril(np.random.default_rng(2).normal(size=(12, 12)))
    lower[:, rank:] *= 1e-9
    order, factor = _pivoted(lower)
    k = lower @ lower.T
    np.testing.assert_array_equal(np.sort(order), np.arange(12))
    np.testing.assert_array_equal(factor, np.tril(factor))
    np.testing.assert_allclose(factor @ factor.T, k[np.ix_(order, order)], rtol=0, atol=1e-13 * np.trace(k))
    assert k[order[0], order[0]] == k.diagonal().max()
    left = k - np.outer(k[:, order[0]], k[order[0]]) / k[order[0], order[0]]
    assert left[order[1], order[1]] == pytest.approx(left.diagonal().max())
