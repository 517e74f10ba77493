"""Every kernel against its NumPy twin on random input; a kernel without a twin, or without input, fails."""

from __future__ import annotations

import copy
import importlib
import pkgutil
from functools import cache
from inspect import isfunction
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from numba.core import config
from numba.core.dispatcher import Dispatcher

import gapkit._core
from gapkit._core.rows import Derivatives, Places, Slopes
from gapkit._core.soap_tables import TILE, Edges
from gapkit.descriptors.soap.radial import GaussianBasis, tabulate
from gapkit.descriptors.soap.tables import make_tables, n_stride, pair_factors, partners
from tests.reference import twins
from tests.reference.twins import TWINS, pair_factor, real_harmonics

ARITHMETIC = 1e-12  # the same formula in another order, relative to the largest element
DIFFERENCES = 1e-9  # against fourth-order differences

# no kernels there; nor in modules with an underscore: parts of kernels
COMPILING = {"jit", "compiling", "simd", "plain_groups"}
SPECIES = np.array([8, 14, 32])


def is_kernel(item, module):
    """A jitted function, or with the JIT off any function of a module that is not about compiling."""
    if config.DISABLE_JIT:
        return isfunction(item) and item.__module__ == module and module.rpartition(".")[2] not in COMPILING
    return isinstance(item, Dispatcher) and item.py_func.__module__ == module


def kernels():
    """Public jitted functions by (module, name)."""
    found = {}
    for info in pkgutil.walk_packages(gapkit._core.__path__, "gapkit._core."):
        if info.name.startswith("gapkit._core._"):
            continue
        module = importlib.import_module(info.name)
        for name, item in vars(module).items():
            if is_kernel(item, info.name) and not name.startswith("_"):
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
        for n_slopes in (0, 3):
            q = rng.normal(size=(3, width))
            yield q, 0.3, 1.7, zeta, np.empty_like(q), np.empty((n_slopes, width))


def real_power_and_slope(rng):
    for zeta in (0.5, 2.5):
        q = rng.normal(size=(3, 7))
        q[0, 0] = -0.3  # exactly zero
        yield q, 0.3, 1.7, zeta, np.empty_like(q), np.empty_like(q)


def contract_power(rng):
    for zeta, width in ((1, 3), (2, 64), (4, 37), (7, 16)):
        for n_rows in (0, 3):
            q, values = rng.normal(size=(3, width)), rng.normal(size=(n_rows, width + 5))
            yield q, 0.3, 1.7, zeta, rng.normal(size=width), rng.normal(size=3), values, 2


def contract_remainder(rng):
    for zeta, width in ((2, 3), (3, 64), (4, 37), (7, 16)):
        for n_rows in (0, 3):
            values, lead = rng.normal(size=(n_rows, width + 5)), rng.normal(size=(3, 4))
            arrays = 0.1 * rng.normal(size=(3, width)), lead, rng.normal(size=(4, width))
            outputs = rng.normal(size=3), rng.normal(size=(3, 4)), values
            yield *arrays, 0.3, 1.7, zeta, rng.normal(size=width), *outputs, 2


def local_polynomials(rng):
    x = np.concatenate([rng.uniform(0.5, 4.5, 40), [0.5, 0.4, 4.6]])
    yield x, 0.5, 0.8, rng.normal(size=(5, 6)), np.empty_like(x), np.empty_like(x)


def switch(rng):
    edges = np.array([2.5, 2.5 - 1e-9, 2.5 + 1e-9, 4.0, 4.0 - 1e-9, 4.0 + 1e-9])
    for distances in (np.concatenate([edges, rng.uniform(1.0, 5.0, 50)]), np.empty(0)):
        yield distances, 4.0, 1.5, np.empty_like(distances), np.empty_like(distances)


def count_instance_edges(rng):
    h = neighbourhood(rng)
    yield np.array([0, 1, 3]), h.offsets, h.distances, h.channels, 3.9, np.empty(4, np.int64)


def fill_instance_edges(rng):
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
    m, start, column, n_columns = 9, 2, 3, 13
    offsets = np.array([0, 3, 3, 7])
    edges = rng.choice(len(h.indices), 7, replace=False)
    tails = np.repeat(np.arange(4), np.diff(h.offsets))  # edges of an instance may begin at any atom
    heads = np.where(np.arange(len(h.indices)) % 3 == 0, 2, rng.integers(2, 5, len(h.indices)))
    slopes = rng.normal(size=(3, 3, m + 4))
    projected, single = rng.normal(size=(2, 7, 3, m))
    changes = rng.normal(size=(2, 7, 3))
    none = np.empty((0, 0))
    for rows in ((-1, -1, 0, 1, 2), (-1, -1, -1, 0, 1), (0, 0, 1, -1, 0)):
        for norm, factor, n_virials, mixed in product((True, False), (True, False), (2, 0), (True, False)):
            yield (
                Slopes(slopes[0], slopes[1] if norm else none, slopes[2] if factor else none),
                Derivatives(
                    offsets, edges, projected, single.astype(np.float32) if mixed else np.empty((0, 3, m), np.float32),
                    changes[0] if norm else none, changes[1] if factor else none,
                ),
                Places(tails, heads, h.vectors, np.array(rows), np.array([0, -1, 1])), start, column,
                rng.normal(size=(3, 3, n_columns)), rng.normal(size=(n_virials, 6, n_columns)),
            )  # fmt: skip


def _where(h, z1, z2):
    return np.array([0, 1, 3]), h.offsets, h.indices, h.distances, h.numbers, 3.9, z1, z2


def count_triplets(rng):
    h = neighbourhood(rng)
    for z1, z2 in ((8, 8), (8, 14), (14, 32), (14, 14), (6, 8)):
        yield _where(h, z1, z2)


def fill_triplets(rng):
    h = neighbourhood(rng)
    for z1, z2 in ((8, 14), (14, 14), (6, 8)):
        n = len(twins.triplets_of(*_where(h, z1, z2)))
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


CUTOFF = 4.0


def plain_tables(rng, n_species, n_max, l_max):
    radial = tabulate(GaussianBasis(n_max, l_max, 0.5, CUTOFF), 0.5, CUTOFF, n_stride(n_max))
    return make_tables(radial, n_max, l_max, n_species, rng.normal(size=n_max), normalise=True)


def spans(first, last):
    """`lowest` and `highest` of Tables, pair by pair."""
    pairs = [(a, b) for a in range(len(first)) for b in range(first[a], last[a])]
    groups = range(-(-max(len(first), *last) // 4))
    partners = [[j for i, j in pairs + [(b, a) for a, b in pairs] if i // 4 == group] for group in groups]
    lowest = np.array([min(group, default=0) for group in partners])
    return lowest, np.array([max(group, default=-1) + 1 for group in partners])


def with_pairs(tables, first, last, kept=None):
    """Other pairs, or fewer features; the columns stay."""
    first, last = np.array(first), np.array(last)
    everything = np.tile(last, (tables.l_max + 1, 1))
    kept = everything if kept is None else np.array(kept)
    lowest, highest = spans(first, last)
    n_columns = 4 * len(lowest)
    return tables._replace(
        first=first, last=last, kept=kept, lowest=lowest, highest=highest,
        factors=pair_factors(first, everything, n_columns), kept_factors=pair_factors(first, kept, n_columns),
    )  # fmt: skip


def with_mixing(rng, tables, n_channels, n_columns):
    """Dense and random, different for each l; `tables` has the pairs of the columns already."""
    mixing = np.zeros((tables.l_max + 1, n_channels, 4 * len(tables.lowest)))
    mixing[:, :, :n_columns] = rng.normal(size=(tables.l_max + 1, n_channels, n_columns))
    return tables._replace(mixing=mixing, unmixing=np.ascontiguousarray(mixing.transpose(0, 2, 1)))


def triangle(n):
    return np.zeros(n, np.int64), np.arange(1, n + 1)


def some_of(rng, tables):
    """`kept` at random from nothing to everything, and nothing for some columns of every degree."""
    kept = rng.integers(tables.first, tables.last + 1, (tables.l_max + 1, len(tables.first)))
    kept[:, 1] = 0
    kept[-1, -2:] = 0
    return kept


@cache
def soap_cases():
    """Tables and number of species: both kinds of n_max, and all that can be done with columns and pairs."""
    rng = np.random.default_rng(3)
    two = plain_tables(rng, 2, 4, 3)
    padded = plain_tables(rng, 2, 3, 3)
    rectangle = [4] * 4, [7] * 4
    cases = {
        "one species": (plain_tables(rng, 1, 4, 3), 1),
        "one species, padded": (plain_tables(rng, 1, 5, 2), 1),
        "l_max 0": (plain_tables(rng, 2, 6, 0), 2),
        "two species": (two, 2),
        "two species, padded": (padded, 2),
        "some kept": (with_pairs(two, *triangle(8), some_of(rng, two)), 2),
        "some kept, padded": (with_pairs(padded, *triangle(6), some_of(rng, padded)), 2),
        "within species": (with_pairs(two, [0] * 4 + [4] * 4, np.arange(1, 9)), 2),
        "rectangle": (with_pairs(two, *rectangle), 2),
        "short rectangle": (with_pairs(two, [4] * 3, [8] * 3), 2),
        "rectangle, padded": (with_pairs(padded, [4] * 4, [6] * 4), 2),
    }
    for name, tables, n_columns, pairs in (
        ("mixed", two, 5, triangle(5)), ("mixed, padded", padded, 6, triangle(6)),
        ("mixed, one group", padded, 3, triangle(3)), ("mixed, rectangle", padded, 7, rectangle),
    ):  # fmt: skip
        mixed = with_mixing(rng, with_pairs(tables, *pairs), 8, n_columns)
        cases[name] = mixed, 2
        cases[f"{name}, some kept"] = with_pairs(mixed, *pairs, some_of(rng, mixed)), 2
    return cases


def _soap(rng):
    """Every case with and without norm: arguments that all SOAP kernels share, and outputs full of NaN."""
    for tables, n_species in soap_cases().values():
        for normalise in (True, False):
            h = neighbourhood(rng)
            channels = np.where(h.channels < n_species, h.channels, -1)
            edges = Edges(h.offsets, h.vectors, h.distances, channels, h.weights, h.slopes)
            n_features = int(np.maximum(tables.kept - tables.first, 0).sum())
            shapes = (3, (tables.l_max + 1) ** 2 + 3, 4 * len(tables.lowest)), (3, n_features), (3,)
            outputs = [np.full(shape, np.nan) for shape in shapes]
            yield tables._replace(normalise=normalise), n_species * tables.n_stride, np.array([0, 1, 3]), edges, outputs


def soap_values(rng):
    for tables, n_channels, centres, edges, outputs in _soap(rng):
        for channel in (n_channels // tables.n_stride - 1, -1):
            yield tables, n_channels, centres, channel, edges, *outputs


def _with_values(rng):
    for tables, n_channels, centres, edges, outputs in _soap(rng):
        twins.soap_values(tables, n_channels, centres, 0, edges, *outputs)
        yield tables, n_channels, centres, edges, *outputs


def soap_pullback(rng):
    for arguments in _with_values(rng):
        edges, x = arguments[3], arguments[5]
        yield *arguments, rng.normal(size=x.shape), rng.normal(size=edges.vectors.shape)


def soap_jacobian(rng):
    for arguments in _with_values(rng):
        tables, _, centres, edges, _, x, _ = arguments
        found = [twins.edges_of(i, edges.offsets, edges.distances, edges.channels, tables.cutoff) for i in centres]
        yield *arguments, np.full((sum(map(len, found)) + TILE, 3, x.shape[1]), np.nan)


INPUTS = {
    "edge_vectors": edge_vectors,
    "integer_power": integer_power,
    "real_power_and_slope": real_power_and_slope,
    "contract_power": contract_power,
    "contract_remainder": contract_remainder,
    "local_polynomials": local_polynomials,
    "count_instance_edges": count_instance_edges,
    "fill_instance_edges": fill_instance_edges,
    "edge_forces": edge_forces,
    "accumulate_rows": accumulate_rows,
    "cosine_switch": switch,
    "quintic_switch": switch,
    "count_triplets": count_triplets,
    "fill_triplets": fill_triplets,
    "triplet_values": triplet_values,
    "triplet_jacobian": triplet_jacobian,
    "triplet_pullback": triplet_pullback,
    "soap_values": soap_values,
    "soap_pullback": soap_pullback,
    "soap_jacobian": soap_jacobian,
}
UNDEFINED = {
    "soap_values": lambda arguments: arguments[5][:, -3:],  # the padding of the coefficients
    "soap_jacobian": lambda arguments: arguments[-1][-TILE:],  # the rows beyond the last edge
}
BY_DIFFERENCES = {"triplet_jacobian", "triplet_pullback", "soap_pullback", "soap_jacobian"}
PAIRS = {(module, twin.__name__): twin for module, twins in TWINS.items() for twin in twins}


def arrays(arguments):
    """All arrays among arguments and within tuples of them."""
    for a in arguments:
        if isinstance(a, tuple):
            yield from arrays(a)
        elif isinstance(a, np.ndarray):
            yield a


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
    for number, arguments in enumerate(INPUTS[key[1]](rng)):
        ours, theirs = copy.deepcopy(arguments), copy.deepcopy(arguments)
        assert kernel(*ours) == twin(*theirs)
        if key[1] in UNDEFINED:
            UNDEFINED[key[1]](ours)[:] = UNDEFINED[key[1]](theirs)
        changed = 0
        for before, a, b in zip(arrays(arguments), arrays(ours), arrays(theirs), strict=True):
            tolerable = tolerance * np.nan_to_num(np.abs(b)).max(initial=1e-300)
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerable, err_msg=f"input {number}")
            changed += not np.array_equal(before, a, equal_nan=True)
        assert changed or key[1].startswith("count_tri") or all(np.size(a) == 0 for a in arguments[-2:])


@pytest.mark.parametrize("case", soap_cases())
def test_soap_tables_hold_the_factors_of_the_twin(case):
    tables, _ = soap_cases()[case]
    degree, a, b = np.indices(tables.factors.shape)
    paired = (tables.first[a] <= b) & (b < tables.last[a])
    factors = paired * pair_factor(degree, a, b)
    np.testing.assert_allclose(tables.factors, factors, rtol=1e-15)
    np.testing.assert_allclose(tables.kept_factors, factors * (b < tables.kept[degree, a]), rtol=1e-15)


@pytest.mark.parametrize("case", soap_cases())
def test_partners_are_those_of_the_pairs(case):
    tables, _ = soap_cases()[case]
    expected = spans(tables.first, tables.last)
    n_columns = max(len(tables.first), *tables.last)
    for n in (n_columns, 4 * len(tables.lowest)):
        np.testing.assert_array_equal(partners(tables.first, tables.last, n), expected)
    without_pairs = np.pad(expected, ((0, 0), (0, 1)))
    np.testing.assert_array_equal(partners(tables.first, tables.last, 4 * len(tables.lowest) + 1), without_pairs)


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
    power.integer_power(q, 0.1, 2.0, 4, expected_value, expected_slope)
    slope = q.copy()
    power.integer_power(slope, 0.1, 2.0, 4, value, slope)
    np.testing.assert_array_equal(slope, expected_slope)
    np.testing.assert_array_equal(value, expected_value)
    same = q.copy()
    power.integer_power(same, 0.1, 2.0, 4, same, np.empty((0, 700)))
    np.testing.assert_array_equal(same, expected_value)
