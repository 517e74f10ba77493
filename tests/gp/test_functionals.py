"""Covariances of sums of values and derivatives, against finite differences of the kernel itself."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from gapkit import SOAP, ThreeBody, TwoBody
from gapkit.gp.basis import BasisTerm, SparseBlock
from gapkit.gp.instances import chunks
from gapkit.gp.variance import functionals
from gapkit.gp.variance.functionals import Functional, InstanceDerivatives, prior_covariance
from gapkit.io.registry import classes
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.neighbours import build_neighbour_list
from gapkit.structures import to_batch
from tests.descriptors.cases import STENCIL

SLOPE = 1e-8  # relative error of a fourth-order difference of slopes
SECOND = 1e-7  # of one in both arguments
ROUNDING = 1e-12

CASES = {
    "dot-1": DotProduct(1.3, 1),
    "dot-2": DotProduct(0.7, 2, 0.5),
    "dot-4": DotProduct(1.3, 4),
    "dot-2.5": DotProduct(1.3, 2.5, 0.4),
    "se": SquaredExponential(1.3, 0.8),
    "se-ard": SquaredExponential(0.6, [0.8, 2.0, 0.5]),
}


@pytest.fixture(params=list(CASES))
def kernel(request):
    return CASES[request.param]


def features(n, seed):
    """Positive ones: powers that are no integers need inner products above zero."""
    return 0.3 + np.abs(np.random.default_rng(seed).normal(size=(n, 3)))


def matrix(kernel, x, y):
    """The kernel of scaled features."""
    return kernel.value(x @ y.T, (x**2).sum(axis=1), (y**2).sum(axis=1))


# ---------------------------------------------------------------------- second slopes


def test_every_kernel_is_covered():
    assert {type(kernel) for kernel in CASES.values()} == set(classes("GapKernel").values())


def test_second_slopes_are_differences_of_slopes(kernel):
    x, y = features(4, 0), features(5, 1)
    q, n, m = x @ y.T, (x**2).sum(axis=1), (y**2).sum(axis=1)

    def difference(slope, argument):
        """Of k_q (1) or k_n (2) by one of the arguments."""
        step, total = 1e-3, 0.0
        for offset, weight in zip(*STENCIL, strict=True):
            moved = [q, n, m]
            moved[argument] = moved[argument] + offset * step
            found = kernel.value_and_slopes(*moved)[slope]
            total = total + weight * (np.zeros_like(q) if found is None else found)
        return total / step

    second = kernel.second_slopes(q, n, m)
    depends_on_norms = kernel.value_and_slopes(q, n, m)[2] is not None
    assert (second.nm is not None) == depends_on_norms
    for found, slope, argument in ((second.qq, 1, 0), (second.qn, 1, 1), (second.qm, 1, 2), (second.nm, 2, 2)):
        expected = difference(slope, argument)
        given = np.zeros_like(q) if found is None else found
        np.testing.assert_allclose(given, expected, rtol=SLOPE, atol=SLOPE * kernel.delta**2)
    assert np.abs(second.qq).max() > 0.1 or kernel.get_params().get("zeta") == 1


@pytest.mark.parametrize("zeta", [1, 1.5, 2, 2.5])
def test_second_slopes_where_the_inner_product_is_not_positive(zeta):
    """As the kernel itself: real powers end at zero, and nothing is infinite."""
    q = np.array([[-0.5, 0.0, 0.5]])
    found = DotProduct(1.0, zeta).second_slopes(q, q[0, :1], q[0]).qq[0]
    expected = {1: [0.0, 0.0, 0.0], 2: [2.0, 2.0, 2.0]}.get(zeta, [0.0, 0.0, zeta * (zeta - 1) * 0.5 ** (zeta - 2)])
    np.testing.assert_allclose(found, expected, rtol=ROUNDING)


# ---------------------------------------------------------------------- covariances of functionals


def functional(kind, n_targets, n, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n_targets, n)) if kind != "gradients" else None
    gradients = rng.normal(size=(n_targets, n, 3)) if kind != "values" else None
    return Functional(features(n, seed), values, gradients)


def as_points(f):
    """Points (p, d) and weights (T, p): derivatives by differences."""
    step = 3e-3
    points, weights = [], []
    for t in range(f.n_targets):
        for n, x in enumerate(f.x):
            if f.values is not None:
                points.append(x)
                weights.append((t, f.values[t, n]))
            if f.gradients is not None:
                for offset, weight in zip(*STENCIL, strict=True):
                    points.append(x + offset * step * f.gradients[t, n])
                    weights.append((t, weight / step))
    table = np.zeros((f.n_targets, len(points)))
    for p, (t, weight) in enumerate(weights):
        table[t, p] = weight
    return np.array(points), table


KINDS = ["values", "gradients", "both"]


@pytest.mark.parametrize("kind_b", KINDS)
@pytest.mark.parametrize("kind_a", KINDS)
def test_covariance_is_that_of_differences(kernel, kind_a, kind_b):
    a, b = functional(kind_a, 2, 4, seed=3), functional(kind_b, 3, 5, seed=4)
    (points_a, weights_a), (points_b, weights_b) = as_points(a), as_points(b)
    expected = weights_a @ matrix(kernel, points_a, points_b) @ weights_b.T
    found = prior_covariance(kernel, a, b)
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=SECOND * np.abs(expected).max())
    np.testing.assert_allclose(prior_covariance(kernel, b, a).T, found, rtol=0, atol=1e-11 * np.abs(found).max())


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_do_not_matter(kernel, kind, monkeypatch):
    a, b = functional(kind, 2, 21, seed=3), functional(kind, 3, 5, seed=4)
    expected = prior_covariance(kernel, a, b)
    sizes = []
    whole = functionals._covariance

    def counted(kernel, a, b):
        sizes.append(len(a.x))
        return whole(kernel, a, b)

    monkeypatch.setattr(functionals, "NUMBERS_AT_ONCE", 1)
    monkeypatch.setattr(functionals, "_covariance", counted)
    found = prior_covariance(kernel, a, b)
    assert sizes == [8, 8, 5]
    np.testing.assert_allclose(found, expected, rtol=0, atol=ROUNDING * np.abs(expected).max())


@pytest.mark.parametrize("kind", KINDS)
def test_joined_functionals_add_up(kernel, kind):
    parts = [functional(kind, 2, n, seed=n) for n in (3, 1, 4)]
    other = functional("both", 3, 5, seed=9)
    joined = Functional.join(parts)
    assert joined.n_targets == 2
    assert joined.x.shape == (8, 3)
    expected = sum(prior_covariance(kernel, part, other) for part in parts)
    np.testing.assert_allclose(
        prior_covariance(kernel, joined, other), expected, rtol=0, atol=ROUNDING * np.abs(expected).max()
    )
    back = joined.part(slice(4, 8))
    np.testing.assert_array_equal(back.x, parts[2].x)
    for name in ("values", "gradients"):
        if getattr(back, name) is None:
            assert getattr(parts[2], name) is None
        else:
            np.testing.assert_array_equal(getattr(back, name), getattr(parts[2], name))
    assert Functional.join(parts[:1]) is parts[0]


# ---------------------------------------------------------------------- those of forces and virials

DESCRIPTORS = {
    "soap": (SOAP(3.6, 4, 3, 0.5), DotProduct(1.0, 3)),
    "soap-squared-exponential": (SOAP(3.6, 4, 3, 0.5), SquaredExponential(1.0, 0.6)),
    "two-body": (TwoBody(3.6), SquaredExponential(1.0, 0.8)),
    "three-body": (ThreeBody(3.0), SquaredExponential(1.0, (1.0, 1.5, 0.8))),
}


@pytest.mark.parametrize("name", list(DESCRIPTORS))
def test_forces_and_virials_are_derivatives_of_energies(name):
    """Of the sum of f over one block, for a cell so small that atoms see their own images."""
    descriptor, kernel = DESCRIPTORS[name]
    atoms = Atoms("Cu2", [[0, 0, 0], [1.2, 1.45, 1.6]], cell=[[2.5, 0.1, 0], [0, 2.6, 0.2], [0.1, 0, 3.5]], pbc=True)
    step = 3e-3
    moves = [("forces", i, axis) for i in range(2) for axis in range(3)]
    moves += [("virial", a, b) for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))]
    frames = []
    for kind, i, j in moves:
        for offset in STENCIL[0]:
            moved = atoms.copy()
            if kind == "forces":
                moved.positions[i, j] += offset * step
            else:
                strain = np.eye(3)
                strain[i, j] += 0.5 * offset * step
                strain[j, i] += 0.5 * offset * step
                moved.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            frames.append(moved)
    term = BasisTerm(descriptor.engine([29]), kernel, ())
    block = term.engine.blocks[0]

    def applied(frames):
        batch = to_batch(frames, labels=False)
        neighbours = build_neighbour_list(batch, term.engine.reach)
        return batch, neighbours, term.engine.view(batch.numbers, neighbours)

    batch, _, view = applied(frames)
    features = view.features(block, view.centres(block))
    weights = np.zeros((len(moves), len(frames)))
    for row, weight in enumerate(weights):
        weight[4 * row : 4 * row + 4] = -STENCIL[1] / step
    by_instance = weights[:, batch.frame_of_atom[features.centres]] * features.factors
    energies = Functional(term.kernel.scale_features(features.x), by_instance)
    expected = prior_covariance(kernel, energies, energies)

    _, neighbours, view = applied([atoms])
    view.centres_per_chunk = 1  # more than one chunk
    instances = InstanceDerivatives.of(chunks(view, like(term, block), view.centres(block)))
    parts = dict(instances.forces(np.arange(2), neighbours))
    assert list(parts) == [0, 1]
    found = [*parts.values(), instances.virial(neighbours)]
    covariance = np.block([[prior_covariance(kernel, a, b) for b in found] for a in found])
    np.testing.assert_allclose(covariance, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    assert np.diagonal(expected).min() > 3e-5 * np.abs(expected).max()


def like(term, species):
    """A block without sparse points."""
    none = np.zeros((0, term.engine.n_features))
    return SparseBlock(0, -1, species, term.engine, term.kernel, none, none, np.zeros(0), slice(0, 0))


def test_no_instances():
    """None of the block, and none that depends on an edge."""
    atoms = Atoms("Cu")
    batch = to_batch([atoms], labels=False)
    neighbours = build_neighbour_list(batch, 3.6)
    for name, exist in (("soap", True), ("two-body", False)):
        descriptor, kernel = DESCRIPTORS[name]
        term = BasisTerm(descriptor.engine([29]), kernel, ())
        view = term.engine.view(batch.numbers, neighbours)
        block = term.engine.blocks[0]
        instances = InstanceDerivatives.of(chunks(view, like(term, block), view.centres(block)))
        assert (instances is not None) == exist
        if instances is not None:
            assert instances.virial(neighbours) is None
            assert not list(instances.forces(np.arange(1), neighbours))
