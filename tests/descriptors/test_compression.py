"""Compressed SOAP against plain formulas, DScribe and, where it must be the same, SOAP itself; and in use."""

from __future__ import annotations

import re

import numpy as np
import pytest
from dscribe.descriptors import SOAP as DScribe
from sklearn.base import clone

from gapkit import GAP, Term, load
from gapkit.cli.build import build_terms
from gapkit.descriptors import SOAP, Channels, Mixing, NoCutoff, TensorReduced
from gapkit.exceptions import ConfigError, InputError
from gapkit.io.codec import decode, encode
from gapkit.io.registry import classes
from gapkit.neighbours import build_neighbour_list
from gapkit.options.fit import FitConfig
from gapkit.structures import to_batch
from tests.descriptors.cases import Toy, numerical_forces, numerical_virial, rotation, structure
from tests.descriptors.test_registry import DERIVATIVE, EXACT, SYMMETRY, largest
from tests.potential.models import NOISE, make_frames

AGREEMENT = 1e-8  # with another code, relative to the largest element
L_MAX = 3
ALL = [(nu_R, nu_S) for nu_R in range(3) for nu_S in range(3)]
SPECIES = {1: (14,), 2: (8, 14), 3: (8, 14, 32)}
COMPRESSED = {
    "channels": Channels(1, 2),
    "mixing": Mixing(4, seed=3),
    "mixing, in groups of four": Mixing(3, seed=3),
    "tensor-reduced": TensorReduced(7, seed=3),
}


@pytest.fixture(params=list(SPECIES), ids=lambda n: f"{n}-species")
def species(request):
    return SPECIES[request.param]


@pytest.fixture(params=[4, 5, 1], ids=lambda n: f"n_max{n}")
def n_max(request):
    return request.param


def soap(n_max, compression=None, normalize=False, **changes):
    return SOAP(4.0, n_max, L_MAX, 0.5, normalize=normalize, compression=compression, **changes)


def atoms_of(species, kind="bulk"):
    atoms = structure(kind, 1)
    atoms.numbers = np.resize(species, len(atoms))
    return atoms


def channels(n_max, atoms, species):
    """Coefficients c (atom, lm, s, n) of the density, from an engine without compression."""
    engine = soap(n_max).engine(species)
    batch = to_batch(atoms, labels=False)
    view = engine.view(batch.numbers, build_neighbour_list(batch, engine.reach))
    c = np.empty((len(atoms), (L_MAX + 1) ** 2, len(species) * n_max))
    for block in engine.blocks:
        centres = view.centres(block)
        c[centres] = view.features(block, centres).state[0][:, : (L_MAX + 1) ** 2, : c.shape[2]]
    return c.reshape(*c.shape[:2], len(species), n_max)


def by_degree(products):
    """Sum over m and divide by sqrt(2 l + 1): (atom, lm, ...) to (atom, l, ...)."""
    parts = [products[:, d**2 : (d + 1) ** 2].sum(axis=1) / np.sqrt(2 * d + 1) for d in range(L_MAX + 1)]
    return np.stack(parts, axis=1)


def kept(c, nu_R, nu_S, density):
    if nu_S < density:
        c = c.sum(axis=2, keepdims=True)
    if nu_R < density:
        c = c.sum(axis=3, keepdims=True)
    return c.reshape(*c.shape[:2], -1)


def pairs(d):
    """Pairs (a, b <= a), l fastest, with sqrt(2) for those that stand for two."""
    p = by_degree(np.einsum("ixa,ixb->ixab", d, d))
    found = [(1 if a == b else np.sqrt(2)) * p[:, :, a, b] for a in range(d.shape[2]) for b in range(a + 1)]
    return np.concatenate(found, axis=1)


def assert_close(x, expected, tolerance=EXACT):
    assert x.shape == expected.shape
    assert largest(expected) > 0.0
    np.testing.assert_allclose(x, expected, rtol=0, atol=tolerance * largest(expected))


# ---------------------------------------------------------------------- the formulas


@pytest.mark.parametrize(("nu_R", "nu_S"), ALL)
def test_channels_by_their_formula(nu_R, nu_S, species, n_max):
    atoms = atoms_of(species)
    c = channels(n_max, atoms, species)
    first, second = kept(c, nu_R, nu_S, 1), kept(c, nu_R, nu_S, 2)
    if first.shape == second.shape:
        expected = pairs(first)
    else:
        p = by_degree(np.einsum("ixb,ixa->ixba", second, first))
        expected = p.transpose(0, 2, 3, 1).reshape(len(atoms), -1)
    assert_close(soap(n_max, Channels(nu_R, nu_S), species=species).fit_transform([atoms]), expected)


@pytest.mark.parametrize(("nu_R", "nu_S"), ALL)
def test_inner_products_of_channels_run_over_all_ordered_pairs(nu_R, nu_S, species, n_max):
    """Whether the vector holds a pair once or once for both of its orders."""
    atoms = atoms_of(species)
    c = channels(n_max, atoms, species)
    p = by_degree(np.einsum("ixa,ixb->ixab", kept(c, nu_R, nu_S, 1), kept(c, nu_R, nu_S, 2)))
    x = soap(n_max, Channels(nu_R, nu_S), species=species).fit_transform([atoms])
    assert_close(x @ x.T, np.einsum("ilab,jlab->ij", p, p))


@pytest.mark.parametrize("seed", [0, 5])
def test_mixing_by_its_formula(seed, species, n_max):
    atoms = atoms_of(species)
    n = min(6, len(species) * n_max)
    compression = Mixing(n, seed)
    weights = compression.columns(species, n_max, L_MAX).mixing
    np.testing.assert_allclose(weights.transpose(0, 2, 1) @ weights, np.tile(np.eye(n), (L_MAX + 1, 1, 1)), atol=EXACT)
    c = channels(n_max, atoms, species).reshape(len(atoms), (L_MAX + 1) ** 2, -1)
    degree = np.repeat(np.arange(L_MAX + 1), 2 * np.arange(L_MAX + 1) + 1)
    d = np.einsum("ixA,xAk->ixk", c, weights[degree])
    assert_close(soap(n_max, compression, species=species).fit_transform([atoms]), pairs(d))


@pytest.mark.parametrize("seed", [0, 5])
def test_tensor_reduced_by_its_formula(seed, species, n_max):
    """The weights from their definition, by atomic number."""
    atoms, n = atoms_of(species), min(7, n_max)
    u, v = np.concatenate(
        [np.random.RandomState([seed, z]).standard_normal((2, L_MAX + 1, n_max, n)) for z in species], axis=2
    )
    c = channels(n_max, atoms, species).reshape(len(atoms), (L_MAX + 1) ** 2, -1)
    degree = np.repeat(np.arange(L_MAX + 1), 2 * np.arange(L_MAX + 1) + 1)
    products = np.einsum("ixA,xAk->ixk", c, u[degree]) * np.einsum("ixA,xAk->ixk", c, v[degree])
    expected = by_degree(products).transpose(0, 2, 1).reshape(len(atoms), -1) / np.sqrt(n)
    assert_close(soap(n_max, TensorReduced(n, seed), species=species).fit_transform([atoms]), expected)


@pytest.mark.parametrize("basis", ["gto", "polynomial"])
@pytest.mark.parametrize(("mode", "nu_S"), [("mu2", 0), ("mu1nu1", 1)])
def test_equals_dscribe(mode, nu_S, basis):
    """Its two modes sum over species only; the factor of a coefficient product is the one of test_soap."""
    n_max, species = 4, (8, 14, 32)
    atoms = atoms_of(species, "molecule")
    reference = DScribe(
        species=["O", "Si", "Ge"], r_cut=4.0, n_max=n_max, l_max=L_MAX, sigma=0.5, rbf=basis, periodic=False,
        compression={"mode": mode}, dtype="float64",
    ).create(atoms)  # fmt: skip
    x = soap(n_max, Channels(2, nu_S), basis=basis, cutoff_function=NoCutoff()).fit_transform([atoms])
    # l fastest in ours, and our factor is that of a normalised inner product
    degree = np.tile(np.arange(L_MAX + 1), x.shape[1] // (L_MAX + 1))
    x = x * np.pi * np.sqrt(8.0 / (2 * degree + 1)) * np.sqrt(2 * degree + 1)
    if nu_S == 0:
        like = np.concatenate([[1.0 if a == b else np.sqrt(2) for b in range(a + 1)] for a in range(n_max)])
        x = x / np.repeat(like, L_MAX + 1)
    # the same numbers, up to their order
    ours, theirs = np.sort(x, axis=1), np.sort(reference, axis=1)
    assert_close(ours, theirs, AGREEMENT)


# ---------------------------------------------------------------------- what must be the same


@pytest.mark.parametrize("normalize", [True, False])
def test_all_channels_are_plain_soap(species, n_max, normalize):
    atoms = atoms_of(species)
    x = soap(n_max, Channels(), normalize, species=species).fit_transform([atoms])
    np.testing.assert_array_equal(x, soap(n_max, None, normalize, species=species).fit_transform([atoms]))
    # without a mixing, so that nothing is slower and the vectors can be truncated
    assert soap(n_max, Channels()).engine(species).tables.mixing.size == 0


@pytest.mark.parametrize("n_max", [4, 5])
@pytest.mark.parametrize("nu_R", [0, 1, 2])
def test_for_one_species_the_sum_over_species_is_that_species(nu_R, n_max):
    atoms = atoms_of((14,))
    vectors = [soap(n_max, Channels(nu_R, nu_S)).fit_transform([atoms]) for nu_S in (0, 1, 2)]
    np.testing.assert_array_equal(vectors[0], vectors[1])
    np.testing.assert_array_equal(vectors[0], vectors[2])
    scaled = vectors[0] / largest(vectors[0])
    assert len(np.unique(np.round(scaled, 12), axis=1).T) == scaled.shape[1]  # no product twice


@pytest.mark.parametrize("normalize", [True, False])
def test_mixing_into_as_many_columns_turns_the_channels_only(species, n_max, normalize):
    atoms = atoms_of(species)
    plain = soap(n_max, None, normalize, species=species).fit_transform([atoms])
    mixed = soap(n_max, Mixing(len(species) * n_max), normalize, species=species).fit_transform([atoms])
    assert mixed.shape == plain.shape
    assert_close(mixed @ mixed.T, plain @ plain.T, 1e-10)


def test_tensor_reduced_inner_products_approach_those_of_soap():
    """Unbiased: the mean over many seeds is nearer than one of them, as its number says."""
    species, n_max, n_seeds = (8, 14, 32), 3, 200
    atoms = atoms_of(species)
    x = soap(n_max).fit_transform([atoms])
    exact = x @ x.T
    estimates = []
    for seed in range(n_seeds):
        y = soap(n_max, TensorReduced(20, seed)).fit_transform([atoms])
        estimates.append(y @ y.T)
    deviation = np.std(estimates, axis=0)
    error = np.abs(np.mean(estimates, axis=0) - exact)
    assert deviation.min() > 0.05 * exact.max()
    assert (error < 4 * deviation / np.sqrt(n_seeds)).all()


@pytest.mark.parametrize("compression", [Channels(2, 1), Channels(1, 1), Mixing(5), TensorReduced(9)], ids=str)
def test_the_order_of_the_species_does_not_matter(compression):
    atoms = atoms_of((8, 14, 32))
    one = soap(4, compression).fit_transform([atoms])
    other = soap(4, compression, species=["Ge", 8, "Si"]).fit_transform([atoms])
    assert_close(one @ one.T, other @ other.T)


@pytest.mark.parametrize("kind", [Mixing, TensorReduced])
def test_the_seed_is_what_makes_the_weights(kind):
    atoms = atoms_of((8, 14))
    one, again, other = (soap(4, kind(4, seed)).fit_transform([atoms]) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert largest(one - other) > 1e-2 * largest(one)


def test_weights_stay_what_they_are():
    """A model file holds the seed only: other weights would make another model of it."""
    mixing = Mixing(2, 1).columns((14,), 2, 1).mixing
    expected = [
        [[-0.6434968936, -0.765448723251], [-0.765448723251, 0.6434968936]],
        [[0.82630352577, -0.563225073395], [-0.563225073395, -0.82630352577]],
    ]
    np.testing.assert_allclose(mixing, expected, rtol=0, atol=1e-11)
    mixing = TensorReduced(1, 1).columns((14,), 2, 1).mixing[:, :, :2]
    expected = [
        [[0.533161245661, -1.064070608131], [-1.129917012649, 0.149707424417]],
        [[-0.363413409666, -1.265727148869], [0.349459860732, 1.216766934433]],
    ]
    np.testing.assert_allclose(mixing, expected, rtol=0, atol=1e-11)


def test_columns_padded_for_the_cache_change_nothing():
    species, n_max, n = (8, 14, 32), 4, 64
    atoms = atoms_of(species)
    columns = TensorReduced(n).columns(species, n_max, L_MAX)
    assert columns.mixing.shape[2] == 4 * n + 4
    c = channels(n_max, atoms, species).reshape(len(atoms), (L_MAX + 1) ** 2, -1)
    degree = np.repeat(np.arange(L_MAX + 1), 2 * np.arange(L_MAX + 1) + 1)
    d = np.einsum("ixA,xAk->ixk", c, columns.mixing[degree])
    expected = by_degree(d[:, :, 0:-4:4] * d[:, :, 1:-4:4]).transpose(0, 2, 1).reshape(len(atoms), -1)
    assert_close(soap(n_max, TensorReduced(n)).fit_transform([atoms]), expected)


def test_lengths():
    for compression, length in (
        (Channels(1, 1), 8 * 3), (Channels(2, 1), 8 * 3 * 8), (Channels(1, 2), 8 * 3 * 3), (Channels(2, 0), 36),
        (Channels(0, 2), 6), (Channels(1, 0), 8), (Channels(0, 1), 3), (Channels(0, 0), 1), (Mixing(6), 21),
        (TensorReduced(32), 32),
    ):  # fmt: skip
        assert soap(8, compression).engine((8, 14, 32)).n_features == (L_MAX + 1) * length, compression


# ---------------------------------------------------------------------- derivatives, as the registry has none of Mixing


@pytest.fixture(params=list(COMPRESSED))
def toy(request, species):
    return Toy.make(soap(4, COMPRESSED[request.param], normalize=True), species)


@pytest.mark.parametrize("kind", ["small", "molecule"])
def test_forces_and_virial_are_derivatives_of_the_energy(toy, species, kind):
    atoms = atoms_of(species, kind)
    p = toy.predict([atoms])
    forces, virial = numerical_forces(toy.energies, atoms), numerical_virial(toy.energies, atoms)
    assert largest(forces) > 1e-4
    np.testing.assert_allclose(p.forces, forces, rtol=0, atol=DERIVATIVE * largest(forces))
    np.testing.assert_allclose(p.virials[0], virial, rtol=0, atol=DERIVATIVE * largest(virial))


def test_pullback_is_the_transpose_of_the_jacobian(toy, species):
    engine, rng = toy.basis.terms[0].engine, np.random.default_rng(1)
    batch = to_batch(atoms_of(species), labels=False)
    neighbours = build_neighbour_list(batch, engine.reach)
    view = engine.view(batch.numbers, neighbours)
    for block in engine.blocks:
        features = view.features(block, view.centres(block))
        gx = rng.normal(size=features.x.shape)
        backward, forward = np.zeros((2, neighbours.n_edges, 3))
        view.pullback(features, gx, np.zeros(len(gx)), backward)
        jacobian = view.jacobian(features)
        instance = np.repeat(np.arange(len(gx)), np.diff(jacobian.edges.offsets))
        np.add.at(forward, jacobian.edges.indices, np.einsum("lad,ld->la", jacobian.dx, gx[instance]))
        assert_close(backward, forward, 10 * EXACT)


def test_rotation(toy, species):
    atoms, turn = atoms_of(species), rotation(improper=True)
    other = atoms.copy()
    other.set_cell(atoms.cell.array @ turn)
    other.positions = atoms.positions @ turn
    p, q = toy.predict([atoms]), toy.predict([other])
    np.testing.assert_allclose(q.local_energies, p.local_energies, rtol=0, atol=SYMMETRY * largest(p.local_energies))
    np.testing.assert_allclose(q.forces, p.forces @ turn, rtol=0, atol=SYMMETRY * largest(p.forces))


# ---------------------------------------------------------------------- parameters, model files, configuration


def test_parameters_and_clones():
    descriptor = soap(4, Mixing(5, 1))
    assert clone(descriptor).get_params() == descriptor.get_params()
    assert descriptor.get_params()["compression"] is descriptor.compression
    assert descriptor.set_params(compression=None).engine((14,)).n_features == 4 * 10


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: Channels(3, 1), ["`nu_R` of Channels", ">= 0 and <= 2", "3"]),
        (lambda: Channels(1, -1), ["`nu_S`", "-1"]),
        (lambda: Channels(1, 1.0), ["`nu_S`", "1.0"]),
        (lambda: Channels(True, 1), ["`nu_R`", "True"]),
        (lambda: Mixing(0), ["`n_channels` of Mixing", ">= 1", "0"]),
        (lambda: Mixing(4.0), ["`n_channels` of Mixing", "4.0"]),
        (lambda: TensorReduced(-1), ["`n_channels` of TensorReduced", "-1"]),
        (lambda: TensorReduced(4, seed=-1), ["`seed` of TensorReduced", "-1"]),
        (lambda: Mixing(4, seed=None), ["`seed` of Mixing", "None"]),
        (lambda: soap(4, Mixing(9)).engine((8, 14)), ["`n_channels` of Mixing", "8 channels", "9"]),
        (lambda: soap(2, TensorReduced(4)).engine((14,)), ["`n_channels` of TensorReduced", "3 pairs", "4"]),
        (lambda: soap(4, "mu1nu1").engine((14,)), ["`compression`", "such as Channels(", "'mu1nu1'"]),
        (lambda: soap(4, Channels).engine((14,)), ["`compression`", "class"]),
        (lambda: soap(4, 0).engine((14,)), ["`compression`", "0"]),
    ],
)
def test_mistakes_are_named(make, parts):
    with pytest.raises(InputError) as caught:
        make()
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_unknown_arguments_are_type_errors():
    for cls in classes("Compression").values():
        with pytest.raises(TypeError, match="no_such"):
            cls(no_such=1)


@pytest.mark.parametrize("compression", [Channels(1, 2), Mixing(5, 3), TensorReduced(12, seed=7)], ids=str)
def test_model_files_hold_the_compression(compression, tmp_path):
    descriptor = soap(4, compression, normalize=True)
    assert decode(encode(descriptor)).get_params() == descriptor.get_params()
    frames = make_frames(6, n_gold=2)
    model = GAP([Term(descriptor, n_sparse=15)], noise=NOISE, n_jobs=1, calibration=None).fit(frames)
    model.save(tmp_path / "model.gapkit")
    loaded = load(tmp_path / "model.gapkit")
    assert loaded.terms_[0].descriptor.compression == compression
    p, q = model.predict(frames), loaded.predict(frames)
    assert largest(p.forces) > 0.1
    np.testing.assert_array_equal(q.energy, p.energy)
    np.testing.assert_array_equal(q.forces, p.forces)


def test_a_term_of_a_configuration():
    mappings = [
        {"type": "SOAP", "compression": {"type": "Channels", "nu_R": 1, "nu_S": 1}},
        {"type": "SOAP", "compression": "Channels"},
        {"type": "SOAP", "compression": {"type": "Mixing", "n_channels": 8}},
        {"type": "SOAP", "compression": {"type": "TensorReduced", "n_channels": 32, "seed": 4}},
        {"type": "SOAP", "compression": None},
    ]
    found = [term.descriptor.compression for term in build_terms(FitConfig(terms=mappings))]
    assert found == [Channels(1, 1), Channels(), Mixing(8), TensorReduced(32, 4), None]


@pytest.mark.parametrize(
    ("compression", "parts"),
    [
        ("channels", ["compression `channels`", "did you mean `Channels`?"]),
        ({"nu_R": 1}, ["compression in", "`type`"]),
        (3, ["compression in", "`type`", "3"]),
        ({"type": "Channels", "nu_r": 1}, ["argument of Channels `nu_r`", "did you mean `nu_R`?"]),
        ({"type": "Channels", "nu_R": "one"}, ["`nu_R` of Channels", "a whole number >= 0 and <= 2", "'one'"]),
        ({"type": "Channels", "nu_R": 3}, ["`nu_R` of Channels", "3"]),
        ({"type": "Mixing"}, ["Mixing in", "n_channels"]),
    ],
)
def test_mistakes_in_a_configuration_are_named(compression, parts):
    with pytest.raises(ConfigError) as caught:
        build_terms(FitConfig(terms=[{"type": "SOAP", "compression": compression}]))
    assert all(part in str(caught.value) for part in [*parts, "number 1"]), str(caught.value)
    assert re.search(r"^[^\n]+$", str(caught.value))
