"""Every kernel against its NumPy twin on random input; a kernel without a twin, or without input, fails."""

from __future__ import annotations

import importlib
import pkgutil
from types import SimpleNamespace

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

import gapkit._core
from gapkit.descriptors.radial import GaussianBasis, tabulate
from gapkit.descriptors.soap import _harmonic_norms
from tests.reference.twins import TWINS, real_harmonics

ARITHMETIC = 1e-12  # the same formula in another order, relative to the largest element
DIFFERENCES = 1e-9  # against fourth-order differences

SPECIES = np.array([8, 14, 32])


def kernels():
    """Public jitted functions by (module, name)."""
    found = {}
    for info in pkgutil.walk_packages(gapkit._core.__path__, "gapkit._core."):
        module = importlib.import_module(info.name)
        for name, item in vars(module).items():
            if isinstance(item, Dispatcher) and item.py_func.__module__ == info.name and not name.startswith("_"):
                found[info.name.removeprefix("gapkit._core."), name] = item
    return found


def neighbourhood(rng, n_atoms=4):
    """Random edges sorted by species as neighbour lists are: many of one, few of another, some beyond any cutoff."""
    numbers = SPECIES[np.array([0, 1, 1, 2])[:n_atoms]]
    counts = np.array([23, 0, 14, 9])[:n_atoms]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    indices = rng.integers(0, n_atoms, offsets[-1])
    for i in range(n_atoms):
        part = slice(offsets[i], offsets[i + 1])
        indices[part] = indices[part][np.argsort(numbers[indices[part]], kind="stable")]
    vectors = rng.normal(size=(offsets[-1], 3))
    vectors *= (rng.uniform(1.0, 4.4, offsets[-1]) / np.linalg.norm(vectors, axis=1))[:, None]
    distances = np.linalg.norm(vectors, axis=1)
    return SimpleNamespace(
        numbers=numbers, offsets=offsets, indices=indices, vectors=vectors, distances=distances,
        frames=np.sort(rng.integers(0, 2, n_atoms)), weights=rng.uniform(0.2, 1.0, offsets[-1]),
        slopes=rng.normal(size=offsets[-1]), channels=np.array([0, 1, -1])[np.searchsorted(SPECIES, numbers)][indices],
    )  # fmt: skip


def edge_vectors(rng):
    h = neighbourhood(rng)
    shifts = rng.integers(-3, 4, (len(h.indices), 3)).astype(np.int32)
    outputs = np.empty_like(h.vectors), np.empty_like(h.distances)
    yield h.offsets, h.indices, shifts, rng.normal(size=(4, 3)), rng.normal(size=(2, 3, 3)), h.frames, *outputs


def integer_power(rng):
    for zeta, width in ((1, 3), (2, 600), (4, 512), (7, 1100)):
        q = rng.normal(size=(3, width))
        yield q, 0.3, 1.7, zeta, np.empty_like(q)


def integer_power_and_slope(rng):
    for zeta, width in ((1, 3), (2, 600), (4, 512), (7, 1100)):
        q = rng.normal(size=(3, width))
        yield q, 0.3, 1.7, zeta, np.empty_like(q), np.empty_like(q)


def real_power_and_slope(rng):
    for zeta in (0.5, 2.5):
        q = rng.normal(size=(3, 7))
        q[0, 0] = -0.3  # exactly zero
        yield q, 0.3, 1.7, zeta, np.empty_like(q), np.empty_like(q)


def count_legs(rng):
    h = neighbourhood(rng)
    yield np.array([0, 1, 3]), h.offsets, h.distances, h.channels, 3.9, np.empty(4, np.int64)


def fill_legs(rng):
    h = neighbourhood(rng)
    centres = np.array([0, 1, 3])
    n = sum(
        (h.distances[e] < 3.9) and h.channels[e] >= 0 for i in centres for e in range(h.offsets[i], h.offsets[i + 1])
    )
    yield centres, h.offsets, h.distances, h.channels, 3.9, np.empty(n, np.int64)


def edge_forces(rng):
    h = neighbourhood(rng)
    outputs = rng.normal(size=(4, 3)), rng.normal(size=(2, 3, 3))
    yield h.offsets, h.indices, h.vectors, h.frames, rng.normal(size=h.vectors.shape), *outputs


def accumulate_rows(rng):
    h = neighbourhood(rng)
    first, m, column, n_columns = 2, 5, 3, 11
    atoms = np.array([2, 2, 3])
    legs = np.array([0, 3, 3, 7])
    edges = rng.choice(len(h.indices), 7, replace=False)
    neighbours = np.where(np.arange(len(h.indices)) % 3 == 0, 2, rng.integers(2, 5, len(h.indices)))
    slope_q, projected = rng.normal(size=(3, m)), rng.normal(size=(7, 3, m))
    slope_n, value, changes = rng.normal(size=(3, m)), rng.normal(size=(3, m)), rng.normal(size=(2, 7, 3))
    none = np.empty((0, 0))
    frames = np.array([0, 0, 1])
    for norm in (True, False):
        for factor in (True, False):
            for n_virials in (2, 0):
                yield (
                    legs, edges, atoms, frames, neighbours, h.vectors, first, slope_q, projected,
                    slope_n if norm else none, changes[0] if norm else none, value if factor else none,
                    changes[1] if factor else none, column, rng.normal(size=(3, 3, n_columns)),
                    rng.normal(size=(n_virials, 6, n_columns)),
                )  # fmt: skip


def _where(h, z1, z2):
    return np.array([0, 1, 3]), h.offsets, h.indices, h.distances, h.numbers, 3.9, z1, z2


def count_triplets(rng):
    h = neighbourhood(rng)
    for z1, z2 in ((8, 8), (8, 14), (14, 32), (14, 14), (6, 8)):
        yield _where(h, z1, z2)


def fill_triplets(rng):
    from tests.reference.twins import triplets_of

    h = neighbourhood(rng)
    for z1, z2 in ((8, 14), (14, 14), (6, 8)):
        n = len(triplets_of(*_where(h, z1, z2)))
        yield *_where(h, z1, z2), np.empty(n, np.int64), np.empty((n, 2), np.int64)


def _triplets(rng):
    h = neighbourhood(rng)
    edges = np.array([[0, 1], [2, 5], [1, 9], [1, 0]])
    x = np.empty((4, 3))
    for row, (a, b) in zip(x, edges, strict=True):
        r, s = h.distances[a], h.distances[b]
        row[:] = r + s, (r - s) ** 2, np.linalg.norm(h.vectors[a] - h.vectors[b])
    return h, edges, x


def triplet_values(rng):
    h, edges, x = _triplets(rng)
    yield edges, h.vectors, h.distances, np.empty_like(x)


def triplet_jacobian(rng):
    h, edges, x = _triplets(rng)
    yield edges, h.vectors, h.distances, h.weights, h.slopes, 2.0, x, np.empty((8, 3, 3)), np.empty((8, 3))


def triplet_pullback(rng):
    h, edges, x = _triplets(rng)
    arguments = edges, h.vectors, h.distances, h.weights, h.slopes, 2.0, x
    yield *arguments, rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=h.vectors.shape)


N_MAX, L_MAX, CUTOFF = 4, 3, 4.0


def _soap(rng, normalise):
    h = neighbourhood(rng)
    table = tabulate(GaussianBasis(N_MAX, L_MAX, 0.5, CUTOFF), 0.5, CUTOFF)
    degrees = np.arange(L_MAX + 1)
    factors = np.stack([1 / np.sqrt(2.0 * degrees + 1), np.sqrt(2 / (2.0 * degrees + 1))], axis=1)
    tables = CUTOFF, table.nodes, table.spacing, _harmonic_norms(L_MAX), factors, normalise
    shapes = (0,) * N_MAX, (0,) * (L_MAX + 1)
    centres = np.array([0, 1, 3])
    n_features = (L_MAX + 1) * (2 * N_MAX) * (2 * N_MAX + 1) // 2
    results = np.empty((3, (L_MAX + 1) ** 2, 2 * N_MAX)), np.empty((3, n_features)), np.empty(3)
    geometry = h.offsets, h.vectors, h.distances, h.channels
    return h, shapes, centres, geometry, tables, results


def soap_values(rng):
    for normalise in (True, False):
        for channel in (1, -1):
            h, shapes, centres, geometry, tables, results = _soap(rng, normalise)
            yield *shapes, centres, channel, rng.normal(size=N_MAX), *geometry, h.weights, *tables, *results


def _with_values(rng, normalise):
    from tests.reference.twins import soap_values as twin

    h, shapes, centres, geometry, tables, results = _soap(rng, normalise)
    twin(*shapes, centres, 0, rng.normal(size=N_MAX), *geometry, h.weights, *tables, *results)
    return h, (*shapes, centres, *geometry, h.weights, h.slopes, *tables, *results), results[1].shape


def soap_pullback(rng):
    for normalise in (True, False):
        h, arguments, shape = _with_values(rng, normalise)
        yield *arguments, rng.normal(size=shape), rng.normal(size=h.vectors.shape)


def soap_jacobian(rng):
    for normalise in (True, False):
        h, arguments, shape = _with_values(rng, normalise)
        centres = arguments[2]
        n = sum(
            (h.distances[e] < CUTOFF) and h.channels[e] >= 0
            for i in centres
            for e in range(h.offsets[i], h.offsets[i + 1])
        )
        yield *arguments, np.empty((n, 3, shape[1]))


INPUTS = {
    function.__name__: function
    for function in (
        edge_vectors, integer_power, integer_power_and_slope, real_power_and_slope, count_legs, fill_legs, edge_forces,
        accumulate_rows, count_triplets, fill_triplets, triplet_values, triplet_jacobian, triplet_pullback, soap_values,
        soap_pullback, soap_jacobian,
    )
}  # fmt: skip
BY_DIFFERENCES = {"triplet_jacobian", "triplet_pullback", "soap_pullback", "soap_jacobian"}
PAIRS = {(module, twin.__name__): twin for module, twins in TWINS.items() for twin in twins}


def test_every_kernel_has_a_twin_and_input():
    found = kernels()
    assert len(found) > 10
    assert set(PAIRS) == set(found)
    assert {name for _, name in found} == set(INPUTS)


@pytest.mark.parametrize("key", list(PAIRS), ids=".".join)
def test_kernel_equals_twin(key):
    kernel, twin = kernels()[key], PAIRS[key]
    rng = np.random.default_rng(7)
    tolerance = DIFFERENCES if key[1] in BY_DIFFERENCES else ARITHMETIC
    for arguments in INPUTS[key[1]](rng):
        ours = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        theirs = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
        assert kernel(*ours) == twin(*theirs)
        changed = 0
        for before, a, b in zip(arguments, ours, theirs, strict=True):
            if isinstance(a, np.ndarray):
                np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max(initial=1e-300))
                changed += not np.array_equal(before, a)
        assert changed or key[1].startswith("count_tri") or all(a.size == 0 for a in arguments[-2:])


def test_harmonics_are_orthonormal():
    """The twin itself: integrals over the sphere by a product rule that is exact for this degree."""
    z, weights = np.polynomial.legendre.leggauss(8)
    phi = np.arange(16) * 2 * np.pi / 16
    s = np.sqrt(1 - z**2)
    points = np.stack([np.outer(s, np.cos(phi)), np.outer(s, np.sin(phi)), np.outer(z, np.ones(16))], axis=-1)
    y = real_harmonics(5, points.reshape(-1, 3))
    gram = np.einsum("p,pa,pb->ab", np.repeat(weights, 16) * 2 * np.pi / 16, y, y)
    np.testing.assert_allclose(gram, np.eye(36), atol=1e-13)


def test_powers_may_overwrite_their_input():
    from gapkit._core import power

    q = np.random.default_rng(0).uniform(0.1, 1, size=(4, 700))
    expected_value, expected_slope, value = np.empty_like(q), np.empty_like(q), np.empty_like(q)
    power.integer_power_and_slope(q, 0.1, 2.0, 4, expected_value, expected_slope)
    slope = q.copy()
    power.integer_power_and_slope(slope, 0.1, 2.0, 4, value, slope)
    np.testing.assert_array_equal(slope, expected_slope)
    np.testing.assert_array_equal(value, expected_value)
    same = q.copy()
    power.integer_power(same, 0.1, 2.0, 4, same)
    np.testing.assert_array_equal(same, expected_value)
