"""Training frames left out of a fitted model, against fits without them and without their sparse points."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from examples.custom_descriptor import Shells
from gapkit import SOAP, Noise, Term, TwoBody
from gapkit.exceptions import InputError
from gapkit.gp.basis import SparseBasis
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.rows import design_rows
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.neighbours import build_neighbour_list
from gapkit.structures import to_batch
from tests.potential.models import label, make_frames, small_model, small_terms
from tests.potential.test_gap import with_results

# Relative to the largest error or variance of the kind: fits take small features in single precision.
REFIT = 3e-4
NOVELTY = 1e-6


def partly_labelled(n=10):
    """All labels, energy alone, energy and forces, some forces, forces alone, stress alone, and an open molecule."""
    frames = make_frames(n, n_gold=2, seed=1)
    frames[1] = with_results(frames[1], forces=None, stress=None)
    frames[2] = with_results(frames[2], stress=None)
    frames[3].set_array("force_mask", np.array([True, False, True, False]))  # True: not to be used
    frames[4] = with_results(frames[4], energy=None, stress=None)
    frames[5] = with_results(frames[5], energy=None, forces=None)
    molecule = frames[6].copy()
    molecule.pbc = False
    molecule.cell[:] = 0.0
    frames[6] = label(molecule)
    frames[6].info["virial"] = np.diag([0.3, -0.2, 0.1])  # it has no stress
    return frames


CASES = {
    "labels": (lambda: make_frames(10, n_gold=2, seed=0), {}),
    "some-labels": (partly_labelled, {}),
    "noise-by-type": (
        lambda: loose(make_frames(8, n_gold=2, seed=2)),
        {"noise": Noise(energy=2e-3, forces=0.05, virial=0.05, per_config_type={"loose": Noise(5e-3, 0.2, 0.1)})},
    ),
    "two-layers": (
        lambda: make_frames(10, n_gold=2, seed=4),
        {"terms": [small_terms()[0], Term(Shells(4.5, 1.2), SquaredExponential(0.5, 0.1, delta_bounds="fixed"), 8)]},
    ),
    "atoms-alone": (
        lambda: make_frames(8, n_gold=2, seed=3),
        {"terms": [Term(SOAP(4.0, 4, 3, 0.5), SquaredExponential(0.5, 0.6, delta_bounds="fixed"), n_sparse=14)]},
    ),
}


def loose(frames):
    for atoms in frames[::2]:
        atoms.info["config_type"] = "loose"
    return frames


class Fitted:
    """A model with the dense matrices of its training set."""

    def __init__(self, frames, **changes):
        self.frames = frames
        self.model = small_model(**{"truncation": 0.0} | changes).fit(frames)
        self.state = self.model.model_
        self.batch = to_batch(frames)
        basis, batch = self.state.basis, self.batch
        neighbours = build_neighbour_list(batch, basis.reach)
        made = design_rows(AppliedBasis.of(basis, batch, neighbours), single=False)
        targets = self.model.state_.row_maker.targets(batch)
        rows, labels, sigmas, frames_of, kinds = [], [], [], [], []
        for kind, c in (("energy", 1), ("forces", 3), ("virial", 6)):
            has = targets.has[kind]
            rows.append(getattr(made, kind)[has].reshape(-1, basis.n_columns))
            labels.append(targets.values[kind][has].ravel())
            sigmas.append(np.repeat(targets.sigmas[kind][has] * self.model.state_.noise.get(kind, np.nan), c))
            owner = batch.frame_of_atom if kind == "forces" else np.arange(batch.n_frames)
            frames_of.append(np.repeat(owner[has], c))
            kinds += [kind] * int(c * has.sum())
        self.rows, self.labels, self.sigmas, self.frames_of = map(np.concatenate, (rows, labels, sigmas, frames_of))
        self.kinds = np.array(kinds)
        self.precision = np.zeros((basis.n_columns,) * 2)
        for i, prior in enumerate(self.state.posterior.prior):
            scale = self.state.posterior.variance_scale(i)
            self.precision[prior.columns, prior.columns] = prior.L @ prior.L.T / scale
        self.found = self.model.leave_one_out(frames)

    def removed(self, frame):
        return np.flatnonzero(self.model.state_.origins == frame)

    def refit(self, frame, removed):
        """Weights, zero where there is no sparse point, and their covariance."""
        use, kept = self.frames_of != frame, np.setdiff1d(np.arange(self.state.basis.n_columns), removed)
        scaled = self.rows[np.ix_(use, kept)] / self.sigmas[use, None]
        A = scaled.T @ scaled + self.precision[np.ix_(kept, kept)]
        weights = np.zeros(self.state.basis.n_columns)
        weights[kept] = np.linalg.solve(A, scaled.T @ (self.labels[use] / self.sigmas[use]))
        covariance = np.zeros_like(self.precision)
        covariance[np.ix_(kept, kept)] = np.linalg.inv(A)
        return weights, covariance

    def expected(self):
        """Errors and variances of every row, by kind, of the models without its frame."""
        errors, variances = np.empty((2, len(self.rows)))
        for frame in range(self.batch.n_frames):
            own = self.frames_of == frame
            weights, covariance = self.refit(frame, self.removed(frame))
            errors[own] = self.rows[own] @ weights - self.labels[own]
            variances[own] = np.einsum("nm,mk,nk->n", self.rows[own], covariance, self.rows[own])
        return errors, variances


@pytest.fixture(scope="module", params=list(CASES))
def case(request):
    make, changes = CASES[request.param]
    return Fitted(make(), **changes)


def assert_close(found, expected, tolerance):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max(initial=0.0))


def test_as_a_refit_without_frame_and_sparse_points(case):
    assert max(len(case.removed(f)) for f in range(case.batch.n_frames)) > 1
    errors, variances = case.expected()
    n_atoms, volumes = case.batch.n_atoms_per_frame, case.batch.volumes
    has_volume = np.isfinite(volumes)
    for kind, residuals, c in (
        ("energy", case.found.energy, 1), ("forces", case.found.forces, 3), ("virial", case.found.stress, 6),
    ):  # fmt: skip
        own = case.kinds == kind
        if kind == "virial":
            own &= has_volume[case.frames_of]
        frames = case.frames_of[own][::c]
        unit = {"energy": 1.0 / n_atoms, "forces": np.ones(len(n_atoms)), "virial": -1.0 / volumes}[kind][frames, None]
        np.testing.assert_array_equal(residuals.frames, frames)
        assert len(frames) > 3
        assert_close(residuals.errors, errors[own].reshape(-1, c) * unit, REFIT)
        assert_close(residuals.variances, variances[own].reshape(-1, c) * unit**2, REFIT)
    np.testing.assert_array_equal(case.found.atoms, np.flatnonzero(case.batch.labels.has_forces))


def test_sparse_points_matter_to_the_test_above(case):
    errors, variances = case.expected()
    forces = case.kinds == "forces"
    inside = case.rows @ case.state.weights - case.labels
    with_points = np.empty((2, len(case.rows)))
    for frame in range(case.batch.n_frames):
        own = case.frames_of == frame
        weights, covariance = case.refit(frame, [])
        with_points[0, own] = case.rows[own] @ weights - case.labels[own]
        with_points[1, own] = np.einsum("nm,mk,nk->n", case.rows[own], covariance, case.rows[own])
    scale = np.abs(errors[forces]).max()
    assert np.abs(errors - inside)[forces].max() > 10 * REFIT * scale
    assert np.abs(errors - with_points[0])[forces].max() > 10 * REFIT * scale
    assert np.abs(variances - with_points[1])[forces].max() > 10 * REFIT * variances[forces].max()


def test_scores_are_the_change_of_the_weights(case):
    """R (a - a_c) with the sparse points kept."""
    R = case.state.posterior.R
    scores = case.found.scores
    assert scores.shape == (case.batch.n_frames, case.state.basis.n_columns)
    whole = case.refit(-1, [])[0]  # the weights of the same normal equations
    expected = np.array([R @ (whole - case.refit(f, [])[0]) for f in range(case.batch.n_frames)])
    assert_close(scores, expected, REFIT)


def without(basis, removed):
    """The basis without some of its columns."""
    points = []
    for term in basis.terms:
        left = []
        for block in term.blocks:
            keep = np.setdiff1d(np.arange(block.columns.start, block.columns.stop), removed) - block.columns.start
            x = block.points if block.projection is None else block.scaled
            left.append((block.species, x[keep], block.projection))
        points.append(left)
    terms = basis.terms
    return SparseBasis.restore([term.engine for term in terms], [term.kernel for term in terms], points)


@pytest.mark.parametrize("truncation", [0.0, 1e-3])
def test_novelty_is_that_of_the_basis_without_these_points(truncation):
    """Of atomic terms; 1 - |L^-1 k|^2 / k(x, x), written out."""
    frames = make_frames(8, n_gold=2, seed=3)
    terms = [*small_terms(14), Term(SOAP(3.5, 3, 3, 0.5), DotProduct(0.2, 2, delta_bounds="fixed"), n_sparse=8)]
    model = small_model(terms=terms, truncation=truncation).fit(frames)
    state = model.model_
    found = model.leave_one_out(frames).unseen
    plain = model.predict(frames, return_std=True).unseen
    expected = np.empty(4 * len(frames))
    for f, atoms in enumerate(frames):
        basis = without(state.basis, np.flatnonzero(model.state_.origins == f))
        prior = iter(basis.prior())
        batch = to_batch([atoms], labels=False)
        views = AppliedBasis.of(basis, batch, model.state_.neighbours(batch)).views
        left, whole = np.zeros((2, 4))
        for term, view, given in zip(basis.terms, views, terms, strict=True):
            for block in term.blocks:
                L = next(prior).L
                if not term.engine.is_atomic:
                    continue
                centres = view.centres(block.species)
                x = view.features(block.species, centres)
                k = term.kernel.value(block.reduce(x.x) @ block.scaled.T, (x.x**2).sum(axis=1), block.norms)
                diagonal = term.kernel.diag_value(x.squares)
                scale = given.kernel.delta**2
                left[centres] += scale * (diagonal - (np.linalg.solve(L, k.T) ** 2).sum(axis=0))
                whole[centres] += scale * diagonal
        expected[4 * f : 4 * f + 4] = left / whole
    np.testing.assert_allclose(found, expected, rtol=0, atol=NOVELTY)
    assert np.abs(expected - plain).max() > 1e-4
    assert (found > plain - NOVELTY).all()


def test_a_frame_that_gave_no_sparse_points():
    """Sparse points from others alone: leaving it out changes no prior, and only what its labels said."""
    case = Fitted(make_frames(10, n_gold=2, seed=0), terms=[*small_terms(6)])
    gave = np.array([len(case.removed(f)) for f in range(10)])
    assert (gave == 0).any()
    plain = case.model.predict(case.frames, return_std=True).unseen.reshape(10, 4)
    novelty = case.found.unseen.reshape(10, 4)
    np.testing.assert_allclose(novelty[gave == 0], plain[gave == 0], rtol=0, atol=NOVELTY)
    assert (np.abs(novelty - plain)[gave > 1].max(axis=1) > 1e-4).all()


def test_threads_change_nothing(case):
    model = copy.copy(case.model)
    model.n_jobs = 2
    again = model.leave_one_out(case.frames)
    for kind in ("energy", "forces", "stress"):
        for part in ("errors", "variances"):
            one, two = (getattr(getattr(found, kind), part) for found in (case.found, again))
            np.testing.assert_array_equal(two, one)
    np.testing.assert_array_equal(again.unseen, case.found.unseen)
    np.testing.assert_array_equal(again.scores, case.found.scores)


def test_frames_without_some_labels():
    """The masks of the case above are what its name says."""
    frames = partly_labelled()
    found = small_model().fit(frames).leave_one_out(frames)
    assert sorted({*range(10)} - {*found.energy.frames}) == [4, 5]
    n_forces = np.bincount(found.forces.frames, minlength=10)
    np.testing.assert_array_equal(n_forces[:7], [4, 0, 4, 2, 4, 0, 4])
    assert sorted({*range(10)} - {*found.stress.frames}) == [1, 2, 4, 6]
    np.testing.assert_array_equal(found.atoms[found.forces.frames == 3], [13, 15])
    assert np.isfinite(found.unseen).all()


def test_nothing_but_energies():
    frames = [with_results(atoms, forces=None, stress=None) for atoms in make_frames(8, n_gold=2)]
    case = Fitted(frames)
    errors, _ = case.expected()
    assert_close(case.found.energy.errors[:, 0], errors / 4, REFIT)
    for residuals, c in ((case.found.forces, 3), (case.found.stress, 6)):
        assert residuals.errors.shape == (0, c)
        assert residuals.variances.shape == (0, c)
        assert residuals.frames.shape == (0,)
    assert case.found.atoms.shape == (0,)
    assert np.isfinite(case.found.unseen).all()


def test_without_an_atomic_term_there_is_no_novelty():
    frames = make_frames(6)
    case = Fitted(frames, terms=[Term(TwoBody(4.0), SquaredExponential(1.0, 0.8, delta_bounds="fixed"), n_sparse=6)])
    assert np.isnan(case.found.unseen).all()
    errors, variances = case.expected()
    forces = case.kinds == "forces"
    assert_close(case.found.forces.errors.ravel(), errors[forces], REFIT)
    assert_close(case.found.forces.variances.ravel(), variances[forces], REFIT)


def test_other_frames_than_those_of_the_fit(case):
    for frames in (case.frames[1:], case.frames[::-1], make_frames(len(case.frames), seed=9)):
        with pytest.raises(InputError, match="leave_one_out"):
            case.model.leave_one_out(frames)
