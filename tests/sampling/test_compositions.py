"""Dimers, free atoms, random searches and alloys: who is there, how far apart, and in which proportions."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gapkit.exceptions import InputError
from gapkit.sampling import alloys, dimers, find_shells, isolated_atoms, random_cells, random_search
from gapkit.sampling.distances import pairs_within, shortest_distance


def test_dimers() -> None:
    made = dimers(["Cu", "Au", "Cu"], [1.5, 2.5], box=12.0)
    assert [str(m.symbols) for m in made] == ["Cu2", "Cu2", "CuAu", "CuAu", "Au2", "Au2"]
    assert [m.get_distance(0, 1) for m in made] == pytest.approx([1.5, 2.5] * 3)
    for m, length in zip(made, [1.5, 2.5] * 3, strict=True):
        assert m.pbc.all()
        assert shortest_distance(m, 13.0) == pytest.approx(length)
        assert m.info["config_type"] == "dimer"
    assert not dimers(["Cu"], [1.0])[0].pbc.any()


def test_isolated_atoms() -> None:
    made = isolated_atoms(["Cu", "Au"])
    assert [(str(m.symbols), len(m), m.pbc.any(), m.info["config_type"]) for m in made] == [
        ("Cu", 1, False, "isolated_atom"),
        ("Au", 1, False, "isolated_atom"),
    ]
    (boxed,) = isolated_atoms(["Cu"], box=11.0)
    assert boxed.pbc.all()
    assert boxed.get_volume() == pytest.approx(11.0**3)


def test_molecules_bad_input() -> None:
    with pytest.raises(InputError, match=r"write \['Cu'\]"):
        dimers("Cu", [1.0])
    with pytest.raises(InputError, match="got 'X'"):
        isolated_atoms(["X"])
    with pytest.raises(InputError, match="at least one chemical symbol"):
        isolated_atoms([])
    with pytest.raises(InputError, match=r"`distances\[0\]` must be a number > 0, got 0"):
        dimers(["Cu"], [0])
    with pytest.raises(InputError, match="`box` must be longer than 8 Å"):
        dimers(["Cu"], [4.0], box=8.0)


def test_random_search() -> None:
    separations = {("Si", "O"): 1.5, ("O", "O"): 2.2, ("Si", "Si"): 2.6}
    made = random_search({"Si": 3, "O": 6}, (14.0, 18.0), 8, separations)
    volumes = [m.get_volume() / 9 for m in made]
    assert min(volumes) >= 14.0
    assert max(volumes) <= 18.0
    assert np.ptp(volumes) > 1.0
    shortest = dict.fromkeys(separations, np.inf)
    for m in made:
        assert m.symbols.formula.count() == {"Si": 3, "O": 6}
        assert m.cell.handedness == 1
        i, j, distances, _ = pairs_within(m, 4.0)
        for (a, b), least in separations.items():
            first, second = m.symbols[i], m.symbols[j]
            of_pair = ((first == a) & (second == b)) | ((first == b) & (second == a))
            assert (distances[of_pair] >= least - 1e-9).all()
            shortest[a, b] = min(shortest[a, b], distances[of_pair].min())
    # Each separation is reached: none is enforced on pairs of other species.
    assert all(shortest[pair] < least + 0.15 for pair, least in separations.items())


def test_random_search_of_a_formula() -> None:
    assert random_search("Si2O4", 15.0, 1, 1.4)[0].symbols.formula.count() == {"Si": 2, "O": 4}


def test_random_search_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_cells, "_MAX_ATTEMPTS", 2)
    with pytest.raises(InputError, match="no arrangement was found in 2 attempts"):
        random_search("Cu7", 11.3, 1, 2.5)


def test_random_search_bad_input() -> None:
    with pytest.raises(InputError, match=r"`volume_per_atom` must be at least 11\.05"):
        random_search("Cu4", 11.0, 1, 2.5)  # of fcc with this distance: 2.5^3 / sqrt(2)
    with pytest.raises(InputError, match=r"got none for \('Si', 'O'\)"):
        random_search("SiO2", 15.0, 1, {("Si", "Si"): 2.0, ("O", "O"): 2.0})
    with pytest.raises(InputError, match="`volume_per_atom`"):
        random_search("Cu4", (15.0, 12.0), 1, 2.0)
    with pytest.raises(InputError, match="`composition` must be a formula"):
        random_search("4Cu(", 15.0, 1, 2.0)
    with pytest.raises(InputError, match="`composition` must be a chemical symbol"):
        random_search("Qq4", 15.0, 1, 2.0)
    with pytest.raises(InputError, match=r"composition\['Cu'\]` must be a whole number >= 1, got 0"):
        random_search({"Cu": 0}, 15.0, 1, 2.0)


def test_shells_of_fcc() -> None:
    shells = find_shells(bulk("Cu", a=3.6) * 3, 4)
    np.testing.assert_allclose(shells.radii, 3.6 * np.sqrt([0.5, 1.0, 1.5, 2.0]))
    assert (np.bincount(shells.shell) / 27).tolist() == [12, 6, 24, 12]


def test_pair_fractions_of_ordered_alloys() -> None:
    lattice = bulk("Cu", a=3.6, cubic=True) * 2
    l10 = (np.round(lattice.positions[:, 2] / 1.8).astype(int) % 2).astype(np.int64)
    fractions = find_shells(lattice, 2).pair_fractions(l10, 2)
    # In L1_0, 8 of 12 nearest neighbours and none of 6 second ones are unlike.
    np.testing.assert_allclose(fractions[:, 0, 1] + fractions[:, 1, 0], [8 / 12, 0.0])
    np.testing.assert_allclose(fractions.sum(axis=(1, 2)), 1.0)


@pytest.mark.parametrize("sqs", [False, True])
def test_stoichiometry(sqs: bool) -> None:
    lattice = bulk("Cu", cubic=True) * 2
    for made in alloys(lattice, {"Cu": 0.5, "Au": 0.3, "Pd": 0.2}, 3, sqs=sqs, n_steps=100):
        assert made.symbols.formula.count() == {"Cu": 16, "Au": 10, "Pd": 6}
        np.testing.assert_array_equal(made.positions, lattice.positions)


def test_sublattice() -> None:
    lattice = bulk("NaCl", "rocksalt", a=5.64, cubic=True) * (2, 1, 1)
    for made in alloys(lattice, {"Na": 0.5, "K": 0.5}, 3, symbol="Na", sqs=True, n_steps=50):
        assert made.symbols.formula.count() == {"Na": 4, "Cl": 8, "K": 4}
        assert (made.symbols[lattice.symbols == "Cl"] == "Cl").all()


def unlike_excess(atoms: Atoms) -> float:
    """Root mean square, over three shells, of p_ab - x_a x_b, counted pair by pair from the distances."""
    i, j, distances, _ = pairs_within(atoms, 3.6 * 1.3)
    unlike = atoms.numbers[i] != atoms.numbers[j]
    shells = [np.abs(distances - 3.6 * np.sqrt(s)) < 0.1 for s in (0.5, 1.0, 1.5)]
    return float(np.sqrt(np.mean([(unlike[shell].mean() - 0.5) ** 2 for shell in shells])))


def test_sqs_beats_random() -> None:
    lattice = bulk("Cu", a=3.6, cubic=True) * 2
    composition = {"Cu": 0.5, "Au": 0.5}
    random, shuffled = (alloys(lattice, composition, 5, sqs=sqs, n_steps=800) for sqs in (False, True))
    assert np.mean([unlike_excess(m) for m in random]) > 0.02
    assert max(unlike_excess(m) for m in shuffled) < 0.3 * np.mean([unlike_excess(m) for m in random])
    for m in shuffled:
        # Four entries of p_ab per shell, of the same size: two carry the excess each half of unlike pairs has.
        expected = 3 * unlike_excess(m) ** 2
        assert m.info["sampling"]["details"]["deviation"] == pytest.approx(expected, abs=1e-9)


def test_sqs_with_nothing_to_improve() -> None:
    pair = bulk("CsCl", "cesiumchloride", a=4.0)
    (pure,) = alloys(pair, {"Cu": 1.0}, 1, sqs=True, n_shells=1, n_steps=10)
    assert pure.info["sampling"]["details"]["deviation"] == 0.0
    # Stripes on a square lattice have random nearest neighbours: some draws have nothing left to improve either.
    square = Atoms("Cu4", [(0, 0, 0), (2, 0, 0), (0, 0, 2), (2, 0, 2)], cell=[4, 9, 4], pbc=True)
    for made in alloys(square, {"Cu": 0.5, "Au": 0.5}, 5, sqs=True, n_shells=1, n_steps=20):
        assert made.info["sampling"]["details"]["deviation"] < 1e-9


def test_alloys_bad_input() -> None:
    lattice = bulk("Cu", cubic=True)
    with pytest.raises(InputError, match=r"sum to one, got a sum of 0\.9"):
        alloys(lattice, {"Cu": 0.5, "Au": 0.4}, 1)
    with pytest.raises(InputError, match="occupies none of its sites"):
        alloys(lattice, {"Cu": 1.0}, 1, symbol="Au")
    with pytest.raises(InputError, match="must be a number >= 0"):
        alloys(lattice, {"Cu": 1.5, "Au": -0.5}, 1)
    with pytest.raises(InputError, match="`n_shells` must be at most 1"):
        alloys(Atoms("Cu2", [(0, 0, 0), (2, 0, 0)]), {"Cu": 0.5, "Au": 0.5}, 1, sqs=True)
