"""SOAP against DScribe, its public order, its parameters and the precision of its radial table."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from dscribe.descriptors import SOAP as DScribe

from gapkit.descriptors import SOAP, CosineCutoff, NoCutoff, QuinticCutoff, TwoBody
from gapkit.descriptors.soap.radial import tabulate
from gapkit.exceptions import InputError
from gapkit.io.registry import classes
from tests.descriptors.cases import structure

AGREEMENT = 1e-8  # with another code, relative to the largest element
TABLE = 1e-11  # error of the tabulated radial functions, relative to the largest
N_MAX, L_MAX = 4, 3


def dscribe_vectors(atoms, species, basis, cutoff=4.0, sigma=0.5):
    """DScribe's power spectrum, pi sqrt(8 / (2l + 1)) c c*, in our order (A, B <= A, l), sqrt(2) off the diagonal."""
    reference = DScribe(
        species=list(species), r_cut=cutoff, n_max=N_MAX, l_max=L_MAX, sigma=sigma, rbf=basis,
        periodic=bool(atoms.pbc.any()), dtype="float64",
    )  # fmt: skip
    return in_our_order(reference.create(atoms), reference, species)


def in_our_order(y, reference, species):
    """Vectors of DScribe's object `reference`, (..., d), in our order and with our factors."""
    like = [(n, m) for n in range(N_MAX) for m in range(n, N_MAX)]
    columns = []
    for A in range(N_MAX * len(species)):
        for B in range(A + 1):
            (s, n), (t, m) = divmod(A, N_MAX), divmod(B, N_MAX)
            block = y[..., reference.get_location((species[s], species[t]))]
            for degree in range(L_MAX + 1):
                # species ascend, so (t, m) comes first where species differ
                index = degree * len(like) + like.index((m, n)) if s == t else degree * N_MAX**2 + m * N_MAX + n
                coefficients = block[..., index] / (np.pi * np.sqrt(8.0 / (2 * degree + 1)))
                columns.append(coefficients / np.sqrt(2 * degree + 1) * (np.sqrt(2.0) if A != B else 1.0))
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("basis", ["gto", "polynomial"])
@pytest.mark.parametrize("n_species", [1, 3])
@pytest.mark.parametrize("kind", ["bulk", "small", "slab", "molecule"])
def test_equals_dscribe(kind, n_species, basis):
    atoms = structure(kind, n_species)
    species = sorted(set(atoms.numbers))
    soap = SOAP(4.0, N_MAX, L_MAX, 0.5, basis=basis, cutoff_function=NoCutoff(), normalize=False)
    x, expected = soap.fit_transform([atoms]), dscribe_vectors(atoms, species, basis)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(x, expected, rtol=0, atol=AGREEMENT * np.abs(expected).max())


def test_the_public_order_has_l_fastest():
    """One neighbour on the z axis: c[n, l0] = R_nl Y_l0, so that the vector is known in closed form."""
    distance, sigma = 1.9, 0.5
    atoms = Atoms("OSi", positions=[[0, 0, 0], [0, 0, distance]])
    soap = SOAP(4.0, N_MAX, L_MAX, sigma, cutoff_function=NoCutoff(), normalize=False, central_weight=0.0)
    x = soap.fit_transform([atoms])[0]
    radial = classes("RadialBasis")["gaussian"](N_MAX, L_MAX, sigma, 4.0).values(np.array([distance]))[0]
    silicon = radial.T * np.sqrt((2 * np.arange(L_MAX + 1) + 1) / (4 * np.pi))  # (n, l)
    c = np.concatenate([np.zeros_like(silicon), silicon])
    expected = [
        (np.sqrt(2.0) if A != B else 1.0) * c[A] * c[B] / np.sqrt(2 * np.arange(L_MAX + 1) + 1)
        for A in range(2 * N_MAX)
        for B in range(A + 1)
    ]
    np.testing.assert_allclose(x, np.concatenate(expected), rtol=0, atol=1e-12)


def test_the_norm_is_one_or_none():
    atoms = structure("bulk", 3)
    unit = SOAP(4.0, N_MAX, L_MAX, 0.5).fit_transform([atoms])
    bare = SOAP(4.0, N_MAX, L_MAX, 0.5, normalize=False).fit_transform([atoms])
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, rtol=1e-14)
    assert np.abs(np.linalg.norm(bare, axis=1) - 1.0).min() > 1e-3
    np.testing.assert_allclose(unit, bare / np.linalg.norm(bare, axis=1, keepdims=True), rtol=0, atol=1e-14)


@pytest.mark.parametrize("stride", [6, 8])
@pytest.mark.parametrize("basis", list(classes("RadialBasis")))
def test_the_table_is_precise(basis, stride):
    """Values between the nodes, against the basis itself; places beyond n_max are zero."""
    made = classes("RadialBasis")[basis](6, 4, 0.45, 4.2)
    table = tabulate(made, 0.45, made.reach, stride)
    r = np.sort(np.random.default_rng(0).uniform(0.0, made.reach, 300))
    exact = np.pad(made.values(r), [(0, 0), (0, 0), (0, stride - 6)]).reshape(len(r), -1)
    node = np.minimum((r / table.spacing).astype(int), len(table.nodes) - 2)
    p = (r / table.spacing - node)[:, None]
    powers = np.stack([p**i for i in range(6)])
    hermite = np.array(
        [[1, 0, 0, -10, 15, -6], [0, 1, 0, -6, 8, -3], [0, 0, 0.5, -1.5, 1.5, -0.5],
         [0, 0, 0, 10, -15, 6], [0, 0, 0, -4, 7, -3], [0, 0, 0, 0.5, -1, 0.5]]
    )  # fmt: skip
    weights = np.einsum("kp,prx->krx", hermite, powers)
    data = np.concatenate([table.nodes[node], table.nodes[node + 1]], axis=1).transpose(1, 0, 2)
    np.testing.assert_allclose((weights * data).sum(axis=0), exact, rtol=0, atol=TABLE * np.abs(exact).max())


@pytest.mark.parametrize("switch", [CosineCutoff(1.1), QuinticCutoff(1.1)])
def test_cutoff_functions(switch):
    cutoff, step = 4.0, 1e-4
    inside, outside = np.array([0.1, 2.0, 2.9 - 1e-12]), np.array([4.0, 4.5])
    for at, value in ((inside, 1.0), (outside, 0.0)):
        f, slope = switch(at, cutoff)
        np.testing.assert_allclose(f, value, atol=1e-12)
        np.testing.assert_allclose(slope, 0.0, atol=1e-9)
    r = np.linspace(2.95, 3.95, 21)
    f, slope = switch(r, cutoff)
    assert (np.diff(f) < 0).all()
    assert (slope < 0).all()
    numerical = sum(w * switch(r + o * step, cutoff)[0] for o, w in zip((-2, -1, 1, 2), (1, -8, 8, -1), strict=True))
    np.testing.assert_allclose(slope, numerical / (12 * step), rtol=1e-8)
    assert switch(np.array([3.45]), cutoff)[0] == pytest.approx(0.5)


def test_the_cosine_is_quips():
    f, _ = CosineCutoff(0.5)(np.array([4.6]), 5.0)
    np.testing.assert_allclose(f, 0.5 * (np.cos(np.pi * 0.1 / 0.5) + 1.0), rtol=1e-14)


@pytest.mark.parametrize("width", [0.0, -1.0, np.nan])
def test_a_cutoff_needs_a_width(width):
    for switch in (CosineCutoff, QuinticCutoff):
        with pytest.raises(InputError, match="`width`"):
            switch(width)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"n_max": 0}, "n_max"), ({"n_max": 99}, "n_max"), ({"l_max": -1}, "l_max"), ({"l_max": 21}, "l_max"),
        ({"sigma": 0.0}, "sigma"), ({"sigma": 9.0}, "sigma"), ({"basis": "fourier"}, "basis"),
        ({"transition": 9.0}, "transition"), ({"transition": 0.0}, "transition"),
        ({"transition": 1.0, "cutoff_function": CosineCutoff(1.0)}, "transition"),
        ({"cutoff_function": CosineCutoff(9.0)}, "transition"), ({"species": ["Xx2"]}, "species"),
    ],
)  # fmt: skip
def test_parameters_out_of_range(change, name):
    with pytest.raises(InputError, match=f"`{name}"):
        SOAP(5.0, N_MAX, L_MAX, 0.5).set_params(**change).fit([bulk("Si")])


def test_species_may_be_given_in_any_order():
    atoms = structure("molecule", 3)
    one = SOAP(4.0, N_MAX, L_MAX, 0.5).fit_transform([atoms])
    other = SOAP(4.0, N_MAX, L_MAX, 0.5, species=["Ge", 8, "Si"]).fit_transform([atoms])
    assert np.abs(one - other).max() > 1e-3
    np.testing.assert_allclose(one @ one.T, other @ other.T, rtol=1e-12)


def test_two_body_is_the_distance():
    atoms = Atoms("OSi", positions=[[0, 0, 0], [0, 0, 1.7]])
    np.testing.assert_allclose(TwoBody(4.0).fit_transform([atoms]), [[1.7], [1.7]])
