"""Error bars of pairs closer than any known one: they never shrink as the pair closes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit.potential.error_bars.close_pairs import closer_than_known
from gapkit.structures import to_batch
from gapkit.terms.pairs import screened_repulsion
from tests.potential.models import make_frames, small_model

STEP, CLOSEST, DENSEST = 0.02, 0.05, 1.0  # Å; a denser crystal has thousands of neighbours within the cutoff
ROUNDING = 1e-9  # relative

pytestmark = pytest.mark.filterwarnings("ignore::gapkit.exceptions.DataWarning")  # of atoms that close


def molecules(n):
    """Of carbon and hydrogen, whose repulsion is weak, with the energies of Lennard-Jones."""
    rng, frames = np.random.default_rng(0), []
    while len(frames) < n:
        atoms = Atoms("C3H3", rng.uniform(0.0, 2.6, (6, 3)))
        if atoms.get_all_distances()[np.triu_indices(6, 1)].min() < 0.85:
            continue
        atoms.calc = LennardJones(sigma=1.0, epsilon=0.3, rc=4.0, smooth=True)
        results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **results)
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def alloy():
    return small_model(calibration="leave-one-out").fit(make_frames(20, n_gold=3, seed=1))


@pytest.fixture(scope="module")
def light():
    return small_model(calibration="leave-one-out").fit(molecules(24))


@pytest.fixture
def model(request, alloy, light):
    return {"alloy": alloy, "light": light}[request.param]


def closest(model, symbols):
    return model.novelty_detector_.pairs[tuple(sorted(Atoms(symbols).numbers.tolist()))]


def assert_never_less(stds):
    assert (stds[1:] >= stds[:-1] * (1.0 - ROUNDING)).all()
    assert (stds[-1] > 5.0 * stds[0]).all()


PAIRS = [("alloy", "Cu2"), ("alloy", "CuAu"), ("alloy", "AuCu"), ("alloy", "Au2")]
PAIRS += [("light", "H2"), ("light", "CH"), ("light", "C2")]


@pytest.mark.parametrize(("model", "symbols"), PAIRS, indirect=["model"])
def test_a_closing_dimer(model, symbols):
    distances = np.arange(closest(model, symbols), CLOSEST, -STEP)
    p = model.predict([Atoms(symbols, [[0, 0, 0], [0, 0, d]]) for d in distances], return_std=True)
    assert len(distances) > 40
    assert_never_less(p.energy_std[:, None])
    assert_never_less(p.forces_std.reshape(-1, 2, 3)[:, :, 2])
    assert_never_less(p.local_energies_std.reshape(-1, 2))


@pytest.mark.parametrize(("model", "symbols"), PAIRS, indirect=["model"])
def test_a_pair_that_closes_in_a_crystal(model, symbols):
    """Its own forces along the pair and the energy; the others have neighbours that change."""
    crystal = bulk("Cu", cubic=True) * (2, 1, 1)
    one, other = Atoms(symbols).numbers
    crystal.numbers[:] = one
    crystal.numbers[7] = other
    apart = crystal.get_distance(7, 4, mic=True, vector=True)
    frames = []
    for d in np.arange(closest(model, symbols), CLOSEST, -STEP):
        frames.append(crystal.copy())
        frames[-1].positions[7] += apart * (1.0 - d / np.linalg.norm(apart))
    p = model.predict(frames, return_std=True)
    along = np.abs(apart) / np.linalg.norm(apart)
    assert (p.energy_std[1:] >= p.energy_std[:-1] * (1.0 - ROUNDING)).all()
    assert_never_less(p.forces_std.reshape(-1, 8, 3)[:, [4, 7]] @ along)


@pytest.mark.parametrize("symbol", ["Cu", "Au"])
@pytest.mark.parametrize("rattle", [0.0, 0.03])
def test_a_compressed_crystal(alloy, symbol, rattle):
    cell = bulk("Cu", cubic=True)
    cell.symbols = [symbol] * 4
    cell.rattle(rattle, seed=2)
    distances = (cell * (2, 2, 2)).get_all_distances(mic=True)[np.triu_indices(32, 1)].min()
    frames = []
    for d in np.arange(closest(alloy, f"{symbol}2"), DENSEST, -STEP):
        frames.append(cell.copy())
        frames[-1].set_cell(cell.cell.array * d / distances, scale_atoms=True)
    p = alloy.predict(frames, return_std=True)
    assert_never_less(p.energy_std[:, None])
    assert_never_less(p.stress_std[:, :3])
    if rattle:
        assert_never_less(p.forces_std.reshape(len(frames), -1))


def pairs_of(model, frames):
    batch = to_batch(frames, labels=False)
    return closer_than_known(model.state_.apply(batch), model.novelty_detector_)


def test_in_numbers(alloy):
    """The repulsion gained and the factor of two pairs of three atoms on a line, and what they make of the bars."""
    one, other = 0.8 * closest(alloy, "CuAu"), 0.9 * closest(alloy, "Au2")
    atoms = Atoms("CuAu2Cu", [[0, 0, 0], [0, one, 0], [0, one + other, 0], [9, 0, 0]])
    energies, slopes = [], []
    for d, d0, z in ((one, one / 0.8, 29.0), (other, other / 0.9, 79.0)):
        values = screened_repulsion(np.array([d, d0]), np.full(2, 79.0), np.full(2, z))
        energies.append(values[0][0] - values[0][1])
        slopes.append(values[1][1] - values[1][0])
    found = pairs_of(alloy, atoms)
    np.testing.assert_allclose(found.gained["energy"], [[sum(energies)]])
    local = 0.5 * np.array([energies[0], sum(energies), energies[1], 0.0])
    np.testing.assert_allclose(found.gained["local"][:, 0], local)
    np.testing.assert_allclose(found.gained["forces"][:, 1], [slopes[0], sum(slopes), slopes[1], 0.0])
    np.testing.assert_array_equal(found.gained["forces"][:, [0, 2]], 0.0)
    np.testing.assert_allclose(found.gained["virial"], np.full((1, 6), slopes[0] * one + slopes[1] * other))
    np.testing.assert_allclose(found.of_atoms, [1.25, 1.25, 1 / 0.9, 1.0])
    np.testing.assert_allclose(found.of_forces, [1.25, 1.25, 1.25, 1.0])
    np.testing.assert_allclose(found.of_frames, [1.25])
    bars = alloy.predict(atoms, return_std=True)
    # with pairs that are known at any distance: no repulsion is gained, and nothing wider
    known = replace(alloy.novelty_detector_, pairs=dict.fromkeys(alloy.novelty_detector_.pairs, 0.01))
    plain = alloy.with_state(replace(alloy.state_, detector=known)).predict(atoms, return_std=True)
    expected = (1.25 * plain.energy_std / 4) ** 2 + (sum(energies) / 4) ** 2
    np.testing.assert_allclose(bars.energy_std / 4, np.sqrt(expected))
    expected = (found.of_forces[:, None] * plain.forces_std) ** 2 + found.gained["forces"] ** 2
    np.testing.assert_allclose(bars.forces_std, np.sqrt(expected))
    expected = (found.of_atoms * plain.local_energies_std) ** 2 + local**2
    np.testing.assert_allclose(bars.local_energies_std, np.sqrt(expected))


def test_stress_of_one_pair(alloy):
    d = 0.8 * closest(alloy, "Cu2")
    atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, d]], cell=np.diag([12.0, 12.0, 12.0]), pbc=True)
    bars = alloy.predict(atoms, return_std=True).stress_std
    known = replace(alloy.novelty_detector_, pairs=dict.fromkeys(alloy.novelty_detector_.pairs, 0.01))
    plain = alloy.with_state(replace(alloy.state_, detector=known)).predict(atoms, return_std=True).stress_std
    _, slopes = screened_repulsion(np.array([d, d / 0.8]), np.full(2, 29.0), np.full(2, 29.0))
    np.testing.assert_allclose(bars, np.sqrt((1.25 * plain) ** 2 + ((slopes[1] - slopes[0]) * d / 12.0**3) ** 2))


def test_nothing_where_no_pair_is_closer(alloy, monkeypatch):
    frames = make_frames(20, n_gold=3, seed=1)  # those of the fit
    found = pairs_of(alloy, frames)
    assert all((part == 0.0).all() for part in found.gained.values())
    for part in (found.of_atoms, found.of_forces, found.of_frames):
        np.testing.assert_array_equal(part, 1.0)
    p = alloy.predict(frames[:3], return_std=True)
    monkeypatch.setattr(
        "gapkit.potential.error_bars.close_pairs.ClosePairs.widened",
        lambda self, kind, variances, factor=1.0: variances,
    )
    q = alloy.predict(frames[:3], return_std=True)
    for name in ("energy_std", "forces_std", "stress_std", "local_energies_std"):
        np.testing.assert_array_equal(getattr(q, name), getattr(p, name))


def test_a_species_pair_that_was_never_seen_has_the_cutoff_as_its_closest(alloy):
    pairs = {pair: d for pair, d in alloy.novelty_detector_.pairs.items() if pair != (79, 79)}
    model = alloy.with_state(replace(alloy.state_, detector=replace(alloy.novelty_detector_, pairs=pairs)))
    reach = model.state_.reach
    found = pairs_of(model, Atoms("Au2", [[0, 0, 0], [0, 0, 3.0]]))
    np.testing.assert_allclose(found.of_frames, [reach / 3.0])
    assert found.gained["energy"][0, 0] > 0.0


def test_rotation(alloy):
    atoms = Atoms("CuAuCu", [[0, 0, 0], [0.3, 0.2, 1.4], [1.6, 0.1, 0.4]])
    turned = atoms.copy()
    turned.rotate(77.0, [1, 2, 3])
    one, other = (alloy.predict(a, return_std=True) for a in (atoms, turned))
    assert pairs_of(alloy, atoms).of_frames[0] > 1.2
    np.testing.assert_allclose(other.energy_std, one.energy_std, rtol=1e-10)
    one, other = (pairs_of(alloy, a) for a in (atoms, turned))
    for name in ("energy", "local"):
        np.testing.assert_allclose(other.gained[name], one.gained[name], rtol=1e-10)
    for name in ("of_atoms", "of_forces", "of_frames"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-10)
