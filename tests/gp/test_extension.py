"""More sparse points for a basis: the union, the new columns alone, projections, new species, the choice of points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gapkit import SOAP, ThreeBody, TwoBody
from gapkit.descriptors import Channels
from gapkit.exceptions import InputError
from gapkit.gp.basis import SparseBasis
from gapkit.gp.cholesky import cholesky, pivoted_cholesky
from gapkit.gp.extension import extend_basis, most_novel
from gapkit.gp.few_columns import FewColumns
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.rows import design_rows
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.neighbours import build_neighbour_list
from gapkit.potential.term import Term, TermPlan
from gapkit.potential.training.sparse_points import adapted
from gapkit.structures import to_batch
from tests.potential.models import make_frames

EXACT = 1e-12
KERNELS = (SquaredExponential(1.0, 0.8), DotProduct(0.5, 3))


def engines_for(batch, species, truncation=0.0, soap=None):
    terms = Term(TwoBody(4.0)), Term(soap or SOAP(4.0, 4, 3, 0.5))
    return [adapted_engine(term, species, batch, truncation) for term in terms]


def adapted_engine(term, species, batch, truncation):
    return adapted(TermPlan(term, term.descriptor.engine(species), 1, False), batch, truncation).engine


def points_of(engines, batch, step):
    """Every so many instances of every block."""
    neighbours = build_neighbour_list(batch, 4.0)
    found = []
    for engine in engines:
        view = engine.view(batch.numbers, neighbours)
        of_term = {}
        for block in engine.blocks:
            x = view.features(block, view.centres(block)).x
            if len(x):
                of_term[block] = np.array(x[:: step * (1 if engine.is_atomic else 150)])
        found.append(of_term)
    return found


def rows_of(basis, batch, single=False):
    """Energies, forces and virials; in single precision rows depend in the tenth digit on which features are small."""
    neighbours = build_neighbour_list(batch, basis.reach)
    rows = design_rows(AppliedBasis.of(basis, batch, neighbours), single=single)
    return np.concatenate([part.reshape(-1, basis.n_columns) for part in (rows.energy, rows.forces, rows.virial)])


def same(engines):
    return [(engine, np.arange(engine.n_features)) for engine in engines]


@pytest.mark.parametrize("tolerance", [0.0, 1e-2])
def test_the_union_has_the_columns_of_both(tolerance):
    copper, alloy = to_batch(make_frames(6), labels=False), to_batch(make_frames(5, n_gold=3, seed=1), labels=False)
    engines = engines_for(alloy, (29, 79), truncation=1e-6)
    old = points_of(engines, copper, 2)
    new = points_of(engines, alloy, 3)
    basis = SparseBasis.build(engines, KERNELS, [list(of_term.items()) for of_term in old], tolerance=tolerance)
    extension = extend_basis(basis, same(engines), new, tolerance)
    n_new = sum(len(x) for of_term in new for x in of_term.values())
    assert extension.basis.n_columns == basis.n_columns + n_new
    assert extension.added.n_columns == n_new
    columns = np.concatenate([extension.old_columns, extension.new_columns])
    assert np.array_equal(np.sort(columns), np.arange(extension.basis.n_columns))
    rows = rows_of(extension.basis, alloy)
    for part, chosen in ((basis, extension.old_columns), (extension.added, extension.new_columns)):
        np.testing.assert_allclose(rows_of(part, alloy), rows[:, chosen], rtol=0, atol=EXACT * np.abs(rows).max())
    if tolerance:
        (block,) = (block for block in basis.terms[1].blocks if block.projection is not None)
        wider = next(other for other in extension.basis.terms[1].blocks if other.species == block.species)
        lost = np.linalg.norm(wider.points[len(block.points) :] - new[1][block.species])
        assert lost <= tolerance * np.linalg.norm(new[1][block.species])
        assert np.array_equal(wider.points[: len(block.points)], block.points) or wider.projection is not None


def test_a_projection_gains_the_directions_of_new_points():
    rng = np.random.default_rng(0)
    engine = engines_for(to_batch(make_frames(2), labels=False), (29,))[1]
    d = engine.n_features
    x = rng.normal(size=(60, 3)) @ rng.normal(size=(3, d))
    basis = SparseBasis.build([engine], KERNELS[1:], [[((29,), x)]], tolerance=1e-6)
    (old,) = basis.terms[0].blocks
    assert old.projection.shape == (d, 3)
    inside = rng.normal(size=(4, 3)) @ old.projection.T
    outside = np.concatenate([inside, rng.normal(size=(2, d))])
    for new, rank in ((inside, 3), (outside, 5)):
        (block,) = extend_basis(basis, same([engine]), [{(29,): new}], 1e-6).basis.terms[0].blocks
        assert block.projection.shape == (d, rank)
        np.testing.assert_allclose(block.projection.T @ block.projection, np.eye(rank), rtol=0, atol=EXACT)
        np.testing.assert_allclose(block.points, np.concatenate([old.points, new]), rtol=0, atol=1e-10)
        np.testing.assert_allclose(block.scaled @ block.projection.T, block.points, rtol=0, atol=EXACT)
    (block,) = extend_basis(basis, same([engine]), [{(29,): rng.normal(size=(d, d))}], 1e-6).basis.terms[0].blocks
    assert block.projection is None  # it would not pay


# ---------------------------------------------------------------------- species


@pytest.mark.parametrize("truncation", [0.0, 1e-4])
@pytest.mark.parametrize("species", [(29,), (79,), (29, 79)])
def test_old_features_among_those_of_more_species(species, truncation):
    """Vectors of structures without the new species: the old ones, and zeros; inner products do not change at all."""
    frames = make_frames(6, n_gold=3 if len(species) == 2 else 0)
    for atoms in frames if species == (79,) else ():
        atoms.numbers[:] = 79
    batch = to_batch(frames, labels=False)
    term = Term(SOAP(4.0, 4, 3, 0.5))
    old = adapted_engine(term, species, batch, truncation)
    assert (old.rotation is not None) == (truncation > 0)
    engine, indices = old.grow(term.descriptor.engine((13, 29, 47, 79)))
    assert len(np.unique(indices)) == old.n_features < engine.n_features
    neighbours = build_neighbour_list(batch, 4.0)
    for block in old.blocks:
        view = old.view(batch.numbers, neighbours)
        x = view.features(block, view.centres(block)).x
        view = engine.view(batch.numbers, neighbours)
        y = view.features(block, view.centres(block)).x
        np.testing.assert_allclose(y[:, indices], x, rtol=0, atol=EXACT)
        assert np.abs(np.delete(y, indices, axis=1)).max() < EXACT


@pytest.mark.parametrize("truncation", [0.0, 1e-6])
def test_a_basis_gains_a_species(truncation):
    copper, alloy = to_batch(make_frames(6), labels=False), to_batch(make_frames(6, n_gold=3, seed=1), labels=False)
    engines = engines_for(copper, (29,), truncation)
    old = points_of(engines, copper, 2)
    basis = SparseBasis.build(engines, KERNELS, [list(of_term.items()) for of_term in old], tolerance=truncation)
    grown = [old.grow(new) for old, new in zip(engines, engines_for(alloy, (29, 79)), strict=True)]
    new = points_of([engine for engine, _ in grown], alloy, 3)
    extension = extend_basis(basis, grown, new, truncation)
    assert [block.species for term in extension.basis.terms for block in term.blocks] == [
        (29, 29), (29, 79), (79, 79), (29,), (79,),
    ]  # fmt: skip
    rows = rows_of(extension.basis, copper)
    scale = np.abs(rows).max()
    np.testing.assert_allclose(rows[:, extension.old_columns], rows_of(basis, copper), rtol=0, atol=EXACT * scale)
    rows = rows_of(extension.basis, alloy)[:, extension.new_columns]
    np.testing.assert_allclose(rows_of(extension.added, alloy), rows, rtol=0, atol=EXACT * scale)


def test_features_that_depend_on_the_list_of_species_are_refused():
    for soap in (SOAP(4.0, 4, 3, 0.5, compression=Channels(1, 2)), SOAP(4.0, 4, 3, centre_channels="all")):
        with pytest.raises(InputError, match="species can't be added"):
            soap.engine((29,)).grow(soap.engine((29, 79)))
    pairs = ThreeBody(3.0)
    whole = pairs.engine((29, 79))
    engine, indices = pairs.engine((29,)).grow(whole)
    assert engine is whole
    assert indices.tolist() == [0, 1, 2]


# ---------------------------------------------------------------------- choice


def test_pivots_take_the_largest_variance_that_is_left():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(30, 12)) * np.geomspace(1, 1e-3, 12)
    K = A @ A.T
    chosen, variances = pivoted_cholesky(np.diag(K), lambda i: K[i], 1e-5, 30)
    for n, (pivot, variance) in enumerate(zip(chosen, variances, strict=True)):
        known = chosen[:n]
        left = K - K[:, known] @ np.linalg.solve(K[np.ix_(known, known)], K[known])
        assert pivot == np.argmax(np.diag(left))
        assert variance == pytest.approx(left[pivot, pivot], rel=1e-6)
    assert variances[-1] > 1e-5
    assert np.diag(K - K[:, chosen] @ np.linalg.solve(K[np.ix_(chosen, chosen)], K[chosen])).max() <= 1e-5
    assert pivoted_cholesky(np.diag(K), lambda i: K[i], 0.0, 3)[0].tolist() == chosen[:3].tolist()


def test_the_most_novel_candidates_are_those_far_from_the_points():
    kernel = SquaredExponential(1.0, 1.0)
    basis = SparseBasis.build(
        [engines_for(to_batch(make_frames(1), labels=False), (29,))[0]],
        [kernel],
        [[((29, 29), np.arange(5.0)[:, None])]],
    )
    (block,) = basis.terms[0].blocks
    L = cholesky(kernel(block.points)).L
    x = np.array([2.0, 3.01, 9.0, 9.2, 14.0])[:, None]
    chosen, novelty = most_novel(block, L, x, limit=1e-3, n_most=9)
    assert sorted(chosen.tolist()) == [2, 3, 4]
    assert 4 in chosen[:2]
    assert novelty[0] == pytest.approx(1.0, abs=1e-4)
    assert novelty[2] == pytest.approx(1.0 - np.exp(-0.5 * 0.2**2) ** 2, rel=1e-3)
    none = np.zeros((0, 1))
    everything, _ = most_novel(
        replace(block, points=none, scaled=none, norms=none[:, 0]), np.zeros((0, 0)), x, limit=1e-6, n_most=9
    )
    assert len(everything) == 5
    assert len(most_novel(block, L, x, limit=1e-3, n_most=1)[0]) == 1


# ---------------------------------------------------------------------- rows in reverse mode


@pytest.mark.parametrize("few", [0, 3, 100])
def test_few_columns_are_the_design_rows(monkeypatch, few):
    """Whichever blocks are made in reverse mode, all atoms together or in parts."""
    monkeypatch.setattr("gapkit.gp.few_columns.FEW_POINTS", few)
    monkeypatch.setattr("gapkit.gp.basis.MIN_SINGLE", 10**9)
    batch = to_batch(make_frames(1, n_gold=3, seed=1), labels=False)
    engines = engines_for(batch, (29, 79), truncation=1e-6)
    points = [list(of_term.items()) for of_term in points_of(engines, batch, 1)]
    basis = SparseBasis.build(engines, KERNELS, points, tolerance=1e-2)
    applied = AppliedBasis.of(basis, batch, build_neighbour_list(batch, basis.reach))
    made, expected = FewColumns(), design_rows(applied, single=False).rows
    assert set(expected) == {"energy", "forces", "virial"}
    tolerances = {kind: 1e-11 * np.abs(rows).max() for kind, rows in expected.items()}
    for kind, rows in FewColumns()(applied).rows.items():
        np.testing.assert_allclose(rows, expected[kind], rtol=0, atol=tolerances[kind])
    parts = [made(applied, atoms=atoms).rows for atoms in (np.array([0, 2]), np.array([1, 3]))]
    for kind in ("energy", "virial"):
        np.testing.assert_allclose(parts[0][kind] + parts[1][kind], expected[kind], rtol=0, atol=tolerances[kind])
    for part, atoms in zip(parts, ([0, 2], [1, 3]), strict=True):
        np.testing.assert_allclose(part["forces"], expected["forces"][atoms], rtol=0, atol=tolerances["forces"])
    assert set(FewColumns()(applied, ()).rows) == {"energy"}
