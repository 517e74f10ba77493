"""Variances of energies, forces and virials against the Gaussian process of the energies, written out."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from scipy.linalg import solve_triangular
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Kernel

from examples.custom_descriptor import Shells
from gapkit import SOAP, Noise, Term, ThreeBody, TwoBody
from gapkit.exceptions import VarianceWarning
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.rows import design_rows
from gapkit.gp.variance import targets as variances
from gapkit.gp.variance.prior_residual import ResidualBasis
from gapkit.gp.variance.targets import TargetRows, covariance_of, target_variances
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.sparse import Random
from gapkit.structures import to_batch
from tests.descriptors.cases import STENCIL, rotation
from tests.potential.models import label, make_frames, small_model

# Relative to the largest variance of the kind, data and prior part together.
DERIVATIVE = 2e-6  # differences of energies, with matrices K_MM of condition 1e10
SYMMETRY = 1e-8
SINGLE = 1e-5  # data parts with rows in single precision
# Prior parts of forces and virials where terms of pairs or triplets have instances beyond their sparse points: extra
# points span the values at the instances, and derivatives only as well as neighbouring instances do.
EXTRA_POINTS = 1e-3

KINDS = ("energy", "forces", "virial")
CU, AU = 29, 79


def soap(n_sparse=16, kernel=None):
    return Term(SOAP(4.0, 4, 3, 0.5), kernel or DotProduct(0.5, 3, delta_bounds="fixed"), n_sparse=n_sparse)


def pairs(cutoff=4.0, delta=1.0, n_sparse=6):
    return Term(TwoBody(cutoff), SquaredExponential(delta, 0.8, delta_bounds="fixed"), n_sparse=n_sparse)


def triplets():
    return Term(ThreeBody(3.0), SquaredExponential(0.7, 1.0, delta_bounds="fixed"), 20, Random())


def two_layers():
    return Term(Shells(4.5, 1.2), DotProduct(0.5, 3, delta_bounds="fixed"), n_sparse=12)


MODELS = {
    "soap": {"terms": [soap()], "truncation": 0.0},
    "soap-truncated": {"terms": [soap()], "truncation": 0.01},
    "soap-squared-exponential": {"terms": [soap(kernel=SquaredExponential(0.5, 0.6, delta_bounds="fixed"))]},
    "two-body-soap": {"terms": [pairs(), soap()]},
    "two-layers": {"terms": [pairs(), two_layers()]},
    "two-body-three-body": {"terms": [pairs(3.2), triplets()]},
}


def cell():
    """Two atoms, nearer to each other than in the training set, that see many images of themselves."""
    atoms = Atoms("CuAu", [[0, 0, 0], [1.2, 1.45, 1.6]], cell=[[2.5, 0.1, 0], [0, 2.6, 0.2], [0.1, 0, 3.5]], pbc=True)
    return atoms


def molecule():
    return Atoms("Cu2Au", [[0, 0, 0], [2.4, 0.3, 0], [0.5, 2.1, 0.6]])


FRAMES = [cell(), molecule()]


@pytest.fixture(scope="module", params=list(MODELS))
def model(request):
    return small_model(**MODELS[request.param]).fit(make_frames(8, n_gold=3, seed=0))


@pytest.fixture(scope="module")
def simple():
    return small_model(**MODELS["two-body-soap"]).fit(make_frames(8, n_gold=3, seed=0))


def found(model, frames, **options):
    state = model.model_
    batch = to_batch(frames, labels=False)
    return target_variances(model.state_.apply(batch), state.posterior, **options)


def energy_rows(model, frames):
    """Design rows (n_frames, M) in double precision."""
    state = model.model_
    batch = to_batch(frames, labels=False)
    neighbours = model.state_.neighbours(batch)
    return design_rows(AppliedBasis.of(state.basis, batch, neighbours), (), single=False).energy


def written_out(model, frames, weights=None):
    """Data part and prior residual (T, T) of combinations `weights` (T, n_frames) of the frames' energies.

    From whole features, one term and one block after another: no factor of the residual, no part of a prior.
    """
    state = model.model_
    weights = np.eye(len(frames)) if weights is None else weights
    batch = to_batch(frames, labels=False)
    neighbours = model.state_.neighbours(batch)
    rows = weights @ energy_rows(model, frames)
    prior = np.zeros((len(weights), len(weights)))
    index = -1
    for term, fitted in zip(model.terms_, state.basis.terms, strict=True):
        engine = fitted.engine.whole
        view = engine.view(batch.numbers, neighbours)
        scale = term.kernel.delta**2
        known = {block.species for block in fitted.blocks}
        for block in engine.blocks:
            features = view.features(block, view.centres(block))
            x = fitted.kernel.scale_features(features.x)
            norms = (x**2).sum(axis=1)
            by_instance = weights[:, batch.frame_of_atom[features.centres]] * features.factors
            for start in range(0, len(x), 500):
                part = slice(start, start + 500)
                k = fitted.kernel.value(x[part] @ x.T, norms[part], norms)
                prior += scale * by_instance[:, part] @ k @ by_instance.T
            if block in known:
                index += 1
                columns = state.posterior.prior[index].columns
                white = solve_triangular(state.posterior.prior[index].L, rows[:, columns].T, lower=True)
                prior -= scale * white.T @ white
    return state.posterior.covariance(rows), prior


def derivatives(atoms, step=3e-3):
    """Frames, and weights (1 + 3 n + 6, n_frames) with which their energies are energy, forces and virial."""
    offsets, factors = STENCIL
    frames, rows = [atoms], [[(0, 1.0)]]

    def differences(moved):
        at = len(frames)
        frames.extend(moved)
        rows.append([(at + i, -factor / step) for i, factor in enumerate(factors)])

    for i in range(len(atoms)):
        for axis in range(3):
            moved = [atoms.copy() for _ in offsets]
            for offset, one in zip(offsets, moved, strict=True):
                one.positions[i, axis] += offset * step
            differences(moved)
    for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        moved = []
        for offset in offsets:
            strain = np.eye(3)
            strain[a, b] += 0.5 * offset * step
            strain[b, a] += 0.5 * offset * step
            one = atoms.copy()
            one.set_cell(atoms.cell.array @ strain)
            one.positions = atoms.positions @ strain
            moved.append(one)
        differences(moved)
    weights = np.zeros((len(rows), len(frames)))
    for row, entries in zip(weights, rows, strict=True):
        for frame, weight in entries:
            row[frame] = weight
    return frames, weights


@pytest.fixture(scope="module")
def reference(model):
    """Data part and prior residual of all targets of FRAMES, kind after kind, by differences of energies."""
    parts = [derivatives(atoms) for atoms in FRAMES]
    sizes = [weights.shape for _, weights in parts]
    weights = np.zeros(np.sum(sizes, axis=0))
    row = column = 0
    kinds = []
    for atoms, (_, own), (n, m) in zip(FRAMES, parts, sizes, strict=True):
        weights[row : row + n, column : column + m] = own
        kinds += ["energy", *["forces"] * (3 * len(atoms)), *["virial"] * 6]
        row, column = row + n, column + m
    order = np.concatenate([np.flatnonzero(np.array(kinds) == kind) for kind in KINDS])
    return written_out(model, [frame for frames, _ in parts for frame in frames], weights[order])


def spans(frames):
    """Rows of every kind, kind after kind."""
    n_atoms = sum(map(len, frames))
    ends = np.cumsum([0, len(frames), 3 * n_atoms, 6 * len(frames)])
    return {kind: slice(a, b) for kind, a, b in zip(KINDS, ends, ends[1:], strict=False)}


def blocks(matrix, n, c):
    """The blocks (n, c, c) on the diagonal."""
    return np.stack([matrix[i * c : (i + 1) * c, i * c : (i + 1) * c] for i in range(n)])


def scale_of(parts):
    return np.einsum("ncc->nc", parts.total).max()


def assert_same(parts, expected, tolerance, of_prior=None):
    scale = scale_of(expected)
    assert scale > 0
    np.testing.assert_allclose(parts.data, expected.data, rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(parts.prior, expected.prior, rtol=0, atol=(of_prior or tolerance) * scale)


def tolerance_of(model, kind, tolerance):
    """That of the prior part."""
    exact = kind == "energy" or all(term.engine.is_atomic for term in model.model_.basis.terms)
    return tolerance if exact else EXTRA_POINTS


# ---------------------------------------------------------------------- derivatives of the energy


def test_the_models_are_what_they_are_called(model, request):
    name = request.node.callspec.params["model"]
    engine = model.model_.basis.terms[-1].engine
    assert (engine.whole is engine) == (name in ("soap", "two-layers", "two-body-three-body"))
    assert {z for block in engine.blocks for z in block} == {CU, AU}


def test_variances_are_those_of_differences_of_energies(model, reference):
    v = found(model, FRAMES)
    data, prior = reference
    for kind, rows in spans(FRAMES).items():
        parts = getattr(v, kind)
        n, c = parts.data.shape[:2]
        expected = variances.VarianceParts(blocks(data[rows, rows], n, c), blocks(prior[rows, rows], n, c))
        assert_same(parts, expected, DERIVATIVE, tolerance_of(model, kind, DERIVATIVE))
        assert np.abs(parts.prior).max() > 1e-2 * scale_of(expected)  # neither part is all there is
        assert np.abs(parts.data).max() > 100 * DERIVATIVE * scale_of(expected)
        np.testing.assert_allclose(parts.std**2, np.einsum("ncc->nc", parts.data + parts.prior), rtol=1e-12)


def test_covariances_of_all_targets(model, reference):
    """Across atoms, frames and kinds, in whatever order; blocks on the diagonal are the variances."""
    state = model.model_
    batch = to_batch(FRAMES, labels=False)
    c = covariance_of(AppliedBasis.of(state.basis, batch, model.state_.neighbours(batch)), state.posterior, KINDS)
    where = spans(FRAMES)
    std = np.empty(len(c))
    for rows in where.values():
        std[rows] = np.sqrt(np.diagonal(c)[rows].max())
    unit = np.outer(std, std)
    atol = tolerance_of(model, "forces", DERIVATIVE)
    np.testing.assert_allclose(c / unit, sum(reference) / unit, rtol=0, atol=atol)
    np.testing.assert_allclose(c / unit, c.T / unit, rtol=0, atol=1e-12)
    assert np.linalg.eigvalsh(0.5 * (c + c.T) / unit).min() > -1e-12
    v = found(model, FRAMES)
    for kind, rows in where.items():
        total = getattr(v, kind).total
        atol = SYMMETRY * std[rows][0] ** 2
        np.testing.assert_allclose(blocks(c[rows, rows], *total.shape[:2]), total, rtol=0, atol=atol)
    order = ("virial", "energy")
    other = covariance_of(AppliedBasis.of(state.basis, batch, model.state_.neighbours(batch)), state.posterior, order)
    pick = np.concatenate([np.arange(where[kind].start, where[kind].stop) for kind in order])
    np.testing.assert_allclose(
        other / unit[np.ix_(pick, pick)], c[np.ix_(pick, pick)] / unit[np.ix_(pick, pick)], rtol=0, atol=SYMMETRY
    )


# ---------------------------------------------------------------------- symmetries


VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


@pytest.mark.parametrize("improper", [False, True])
def test_rotated(model, improper):
    R = rotation(improper=improper)
    turned = [atoms.copy() for atoms in FRAMES]
    for atoms in turned:
        atoms.set_cell(atoms.cell.array @ R.T)
        atoms.positions = atoms.positions @ R.T
    before, after = found(model, FRAMES), found(model, turned)
    RR = np.einsum("ai,bj->abij", R, R)
    six = np.zeros((6, 6))  # v_ab = R_ai R_bj v_ij in Voigt order
    for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        np.add.at(six[VOIGT[a, b]], VOIGT, RR[a, b])
    for kind, turn in (("energy", np.eye(1)), ("forces", R), ("virial", six)):
        parts, old = getattr(after, kind), getattr(before, kind)
        assert_same(parts, variances.VarianceParts(turn @ old.data @ turn.T, turn @ old.prior @ turn.T), SYMMETRY)
        if kind != "energy":
            assert np.abs(parts.total - old.total).max() > 1e-2 * scale_of(old)


def test_permuted(model):
    frame = make_frames(1, seed=3, size=0.3)[0]
    frame.numbers[:] = [CU, AU, AU, CU]
    order = [2, 0, 3, 1]
    before, after = found(model, [frame]), found(model, [frame[order]])
    for kind in ("energy", "virial"):
        assert_same(getattr(after, kind), getattr(before, kind), SYMMETRY)
    assert_same(after.forces, variances.VarianceParts(before.forces.data[order], before.forces.prior[order]), SYMMETRY)


def test_supercell(model):
    """The same local energies twice: nothing averages out."""
    before, after = found(model, FRAMES[:1]), found(model, [FRAMES[0].repeat((1, 2, 1))])
    for kind in ("energy", "virial"):
        old = getattr(before, kind)
        assert_same(getattr(after, kind), variances.VarianceParts(4 * old.data, 4 * old.prior), SYMMETRY)
    again = np.tile(np.arange(2), 2)
    assert_same(after.forces, variances.VarianceParts(before.forces.data[again], before.forces.prior[again]), SYMMETRY)


# ---------------------------------------------------------------------- how the work is divided


def test_frames_one_by_one(model):
    """Batches, and threads, change nothing."""
    frames = [*FRAMES, *make_frames(2, n_gold=3, seed=4, size=0.3)]
    together, threads = found(model, frames), found(model, frames, n_jobs=2)
    alone = [found(model, [atoms]) for atoms in frames]
    for kind in KINDS:
        for part in ("data", "prior"):
            one_by_one = np.concatenate([getattr(getattr(v, kind), part) for v in alone])
            expected = getattr(getattr(together, kind), part)
            atol = SYMMETRY if part == "data" else tolerance_of(model, kind, 100 * SYMMETRY)
            atol *= scale_of(getattr(together, kind))
            np.testing.assert_allclose(one_by_one, expected, rtol=0, atol=atol)
            np.testing.assert_array_equal(getattr(getattr(threads, kind), part), expected)


def test_threads_with_more_than_one_chunk(simple, monkeypatch):
    monkeypatch.setattr(variances, "ATOMS_PER_CHUNK", 4)
    frames = make_frames(5, n_gold=3, seed=4, size=0.3)
    one, two = found(simple, frames, n_jobs=1), found(simple, frames, n_jobs=2)
    assert len(one.energy.data) == 5
    for kind in KINDS:
        np.testing.assert_array_equal(getattr(one, kind).total, getattr(two, kind).total)


@pytest.mark.parametrize("atoms", [FRAMES[0].repeat((2, 1, 2)), FRAMES[1]], ids=["cell", "molecule"])
def test_large_frames_in_parts(model, atoms, monkeypatch):
    atoms = atoms.copy()
    atoms.rattle(0.1, seed=1)
    expected = found(model, [atoms])
    calls = []
    whole = variances.frame_parts

    def counted(batch, n_atoms):
        calls.append(len(whole(batch, n_atoms)))
        return whole(batch, n_atoms)

    monkeypatch.setattr(variances, "ATOMS_OF_A_FRAME", 2)
    monkeypatch.setattr(variances, "NUMBERS_OF_ROWS", 1)
    monkeypatch.setattr(variances, "frame_parts", counted)
    v = found(model, [atoms])
    assert max(calls) > 1
    for kind in KINDS:
        assert_same(getattr(v, kind), getattr(expected, kind), SYMMETRY)


def test_some_targets_alone(model):
    """Without derivatives, the same; a prior only where it is wanted, and zero elsewhere."""
    frames = [*FRAMES, *make_frames(2, n_gold=3, seed=4, size=0.3)]
    everything, energies = found(model, frames), found(model, frames, kinds=())
    assert energies.forces is None
    assert energies.virial is None
    assert_same(energies.energy, everything.energy, SYMMETRY)
    wanted = np.zeros(sum(map(len, frames)), bool)
    wanted[[1, 6, 7]] = True  # of the first frame, and of the third
    some = found(model, frames, prior_of=wanted)
    for kind, which in (("energy", [0, 2]), ("forces", [1, 6, 7]), ("virial", [0, 2])):
        parts, full = getattr(some, kind), getattr(everything, kind)
        chosen = np.isin(np.arange(len(full.prior)), which)
        assert_same(parts, variances.VarianceParts(full.data, full.prior * chosen[:, None, None]), SYMMETRY)
        assert not parts.prior[~chosen].any()
        assert full.prior[~chosen].any()
    none = found(model, frames, prior_of=np.zeros_like(wanted))
    for kind in KINDS:
        parts, full = getattr(none, kind), getattr(everything, kind)
        assert not parts.prior.any()
        np.testing.assert_array_equal(parts.data, full.data)


# ---------------------------------------------------------------------- what the sparse points do not know


@pytest.fixture(scope="module")
def copper_points():
    """A model that knows copper and gold, with a single sparse point, of copper."""
    model = small_model(terms=[soap(1)]).fit(make_frames(8, n_gold=3, seed=1))
    assert [block.species for block in model.model_.basis.terms[0].blocks] == [(CU,)]
    return model


def test_a_species_without_sparse_points_has_its_whole_prior(copper_points):
    gold = [atoms.copy() for atoms in FRAMES]
    for atoms in gold:
        atoms.numbers[:] = AU
    v = found(copper_points, [*gold, *FRAMES])
    data, prior = written_out(copper_points, [*gold, *FRAMES])
    np.testing.assert_allclose(v.energy.prior.ravel(), np.diagonal(prior), rtol=1e-9)
    np.testing.assert_allclose(v.energy.data.ravel(), np.diagonal(data), rtol=1e-9, atol=1e-12)
    assert not v.energy.data[:2].any()
    n_atoms = np.array([len(atoms) for atoms in gold])
    assert (v.energy.prior.ravel()[:2] > 0.7 * 0.25 * n_atoms**2).all()  # nearly the same neighbourhoods
    assert (np.linalg.eigvalsh(v.forces.prior[:2]) > 0).all()


def test_an_atom_without_neighbours(model):
    """Its energy has the variance of its local energy; forces and virial have none."""
    frames = [Atoms("Cu"), Atoms("Au", cell=np.eye(3) * 12.0, pbc=True)]
    v = found(model, frames)
    data, prior = written_out(model, frames)
    np.testing.assert_allclose(v.energy.data.ravel(), np.diagonal(data), rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(v.energy.prior.ravel(), np.diagonal(prior), rtol=1e-7, atol=1e-14)
    assert v.energy.total.any() == np.diagonal(data + prior).any()
    assert v.energy.total.any() == any(type(term.descriptor).__name__ == "SOAP" for term in model.terms_)
    for parts, n in ((v.forces, 2), (v.virial, 2)):
        assert len(parts.total) == n
        assert not parts.total.any()
    both = found(model, [frames[0], FRAMES[0]])
    alone = found(model, FRAMES[:1])
    assert_same(variances.VarianceParts(both.forces.data[1:], both.forces.prior[1:]), alone.forces, SYMMETRY)


def test_residuals_below_zero_are_clipped_and_counted():
    rng = np.random.default_rng(0)
    vectors = np.stack([np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(4)])
    values = np.array([[0.1, 0.2, 0.3], [-1e-7, 0.2, 0.3], [-0.1, 0.0, 0.3], [-1.0, -1.0, -1.0]])
    residual = np.einsum("nab,nb,ncb->nac", vectors, values, vectors)
    prior = np.stack([np.eye(3)] * 4)
    out, n_clipped = variances.clipped(residual, prior)
    np.testing.assert_array_equal(out[0], residual[0])
    expected = np.einsum("nab,nb,ncb->nac", vectors, np.maximum(values, 0.0), vectors)
    np.testing.assert_allclose(out, expected, rtol=0, atol=1e-14)
    assert n_clipped == 2  # what is rounding is not counted
    with pytest.warns(VarianceWarning, match="2 prior residual"):
        variances.warn_of_clipped(n_clipped)
    variances.warn_of_clipped(0)


# ---------------------------------------------------------------------- the whole Gaussian process


class OfFrames(Kernel):
    """Covariances of frames that are known by their numbers."""

    def __init__(self, matrix):
        self.matrix = matrix

    def __call__(self, X, Y=None, eval_gradient=False):
        rows = X[:, 0].astype(int)
        return self.matrix[np.ix_(rows, rows if Y is None else Y[:, 0].astype(int))]

    def diag(self, X):
        return np.diagonal(self.matrix)[X[:, 0].astype(int)]

    def is_stationary(self):
        return False


@pytest.mark.parametrize(
    "kernel",
    [DotProduct(0.5, 8, delta_bounds="fixed"), SquaredExponential(0.5, 0.3, delta_bounds="fixed")],
    ids=["dot-product", "squared-exponential"],
)
def test_with_all_points_it_is_the_whole_gaussian_process(kernel):
    """Scikit-learn's, with a kernel of frames that is the sum over their atoms of the same species."""
    noise, n = Noise(energy=3e-3), 8
    frames = [*make_frames(n, n_gold=3, seed=2, size=0.2), *make_frames(4, n_gold=3, seed=7, size=0.3)]
    descriptor = SOAP(4.0, 4, 3, 0.5, transition=3.0)
    for atoms in frames[:n]:
        atoms.calc.results = {"energy": atoms.calc.results["energy"]}
    zeros = {"Cu": 0.0, "Au": 0.0}
    model = small_model(
        terms=[Term(descriptor, kernel, n_sparse=4 * n)], noise=noise, truncation=0.0, reference_energies=zeros
    ).fit(frames[:n])
    assert model.n_sparse_ == 4 * n

    descriptor.fit(frames)
    numbers = np.concatenate([atoms.numbers for atoms in frames])
    K = kernel(descriptor.transform(frames)) * (numbers[:, None] == numbers)
    K = K.reshape(len(frames), 4, len(frames), 4).sum(axis=(1, 3))
    energies = np.array([atoms.get_potential_energy() for atoms in frames[:n]])
    sigma = noise.energy * np.sqrt(4)  # eV per frame
    process = GaussianProcessRegressor(OfFrames(K), alpha=sigma**2, optimizer=None)
    process.fit(np.arange(n)[:, None], energies)
    mean, covariance = process.predict(np.arange(len(frames))[:, None], return_cov=True)

    p = model.predict(frames)
    np.testing.assert_allclose(p.energy, mean, rtol=0, atol=1e-6 * np.abs(energies).max())
    scale = np.diagonal(covariance).max()
    v = found(model, frames).energy
    np.testing.assert_allclose(v.total.ravel(), np.diagonal(covariance), rtol=0, atol=1e-6 * scale)
    state = model.model_
    batch = to_batch(frames, labels=False)
    applied = AppliedBasis.of(state.basis, batch, model.state_.neighbours(batch))
    whole = covariance_of(applied, state.posterior, ("energy",))
    np.testing.assert_allclose(whole, covariance, rtol=0, atol=1e-6 * scale)
    unknown = v.total.ravel()[n:]
    assert (v.prior.ravel()[n:] > 1e-2 * unknown).all()
    assert (v.data.ravel()[n:] > 1e-2 * unknown).all()
    # between the data and the prior
    assert (unknown < 0.5 * np.diagonal(K)[n:]).all()
    assert (unknown > 2 * v.total.ravel()[:n].max()).all()


# ---------------------------------------------------------------------- extra points of pairs


@pytest.fixture(scope="module")
def pair_model():
    return small_model(terms=[pairs(n_sparse=30, delta=2.0)]).fit(make_frames(8, n_gold=3, seed=0))


def squeezed(factor):
    frames = make_frames(2, n_gold=3, seed=3)
    for atoms in frames:
        atoms.numbers[0] = AU
        atoms.set_cell(atoms.cell.array * factor, scale_atoms=True)
    return frames


def residual_of(model, frames):
    state = model.model_
    batch = to_batch(frames, labels=False)
    neighbours = model.state_.neighbours(batch)
    applied = AppliedBasis.of(state.basis, batch, neighbours)
    extra = ResidualBasis.of(applied, state.posterior)
    targets = TargetRows.of(applied, state.posterior, (), np.ones(batch.n_atoms, bool))
    hidden = targets.hidden["energy"][:, 0]
    assert hidden.shape[1] == (0 if extra is None else extra.applied.basis.n_columns)
    return extra, hidden @ hidden.T


def test_pairs_closer_than_all_sparse_points(pair_model):
    frames = squeezed(0.75)
    extra, residual = residual_of(pair_model, frames)
    _, expected = written_out(pair_model, frames)
    assert expected.min() > 0.1  # eV^2
    np.testing.assert_allclose(residual, expected, rtol=5e-5)
    distances = np.concatenate([block.scaled[:, 0] for term in extra.applied.basis.terms for block in term.blocks])
    known = np.concatenate([block.scaled[:, 0] for block in pair_model.model_.basis.terms[0].blocks])
    assert len(extra.applied.basis.terms) == 1
    assert distances.min() < known.min() - 0.5  # it is the close ones
    assert len(distances) < 30  # and few of them


def test_pairs_within_the_range_of_sparse_points(pair_model):
    _, far = residual_of(pair_model, squeezed(0.75))
    _, near = residual_of(pair_model, squeezed(1.0))
    assert np.abs(near).max() < 1e-5 * far.max()
    long = [Atoms("Cu2", [[0, 0, 0], [0, 0, 2.7]]), Atoms("CuAu", [[0, 0, 0], [0, 0, 4.5]])]
    extra, residual = residual_of(pair_model, long)
    assert extra is None
    assert residual.shape == (2, 2)
    assert not residual.any()
    assert not found(pair_model, long).energy.prior.any()


def test_forces_of_a_pair_closer_than_all_sparse_points():
    """One instance alone: its value says nothing of the slope."""
    term = Term(TwoBody(4.0), SquaredExponential(1.0, 0.3, delta_bounds="fixed"), n_sparse=20)
    model = small_model(terms=[term]).fit(make_frames(8))
    dimer = Atoms("Cu2", [[0, 0, 0], [0, 0, 1.3]])
    frames, weights = derivatives(dimer)
    _, prior = written_out(model, frames, weights)
    v = found(model, [dimer])
    np.testing.assert_allclose(v.energy.prior[0], prior[:1, :1], rtol=1e-6)
    np.testing.assert_allclose(v.forces.prior[0, 2, 2], prior[3, 3], rtol=1e-4)


def test_a_pair_of_species_without_sparse_points():
    """Nothing is known of a pair that the training set does not hold."""
    frames = make_frames(8)
    for atoms in frames[4:]:
        atoms.numbers[:] = AU
    model = small_model(terms=[pairs()]).fit([label(atoms) for atoms in frames])
    assert [block.species for block in model.model_.basis.terms[0].blocks] == [(CU, CU), (AU, AU)]
    dimer = Atoms("CuAu", [[0, 0, 0], [0, 0, 2.4]])
    _, prior = written_out(model, [dimer])
    assert prior[0, 0] > 0.1
    np.testing.assert_allclose(found(model, [dimer]).energy.prior[0], prior, rtol=1e-6)
    local = model.predict(dimer, return_std="local").local_energies_std
    np.testing.assert_allclose(local.sum() ** 2, prior[0, 0], rtol=1e-6)  # one pair, counted from either end


def test_no_extra_points_for_atomic_terms(copper_points):
    extra, residual = residual_of(copper_points, FRAMES)
    assert extra is None
    assert not residual.any()
