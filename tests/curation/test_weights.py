"""Sigmas by type, by distance from the convex hull and by windows of energy."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from gapkit import Noise
from gapkit.curation.weights import (
    copy_frame,
    energy_window_sigmas,
    hull_distance_sigmas,
    hull_distances,
    noise_sigmas,
    with_sigmas,
    without_labels,
)
from gapkit.exceptions import InputError
from gapkit.structures import LabelKeys, to_batch
from tests.potential.models import make_frames, small_model

NOISE = Noise(energy=1e-3, forces=0.1, virial=0.02)


def frame(symbols, per_atom, config_type="a"):
    atoms = Atoms(symbols, positions=2.5 * np.arange(len(symbols))[:, None] * np.ones(3), cell=[20] * 3, pbc=True)
    atoms.info.update(config_type=config_type)
    return copy_frame(atoms, energy=per_atom * len(symbols), forces=np.zeros((len(symbols), 3)))


def test_hull_of_a_binary():
    # Cu at -1, Au at -3, and at x = 1/2 the line between is -2: -2.5 lies on the hull, -1.5 above it by 1.0
    frames = [
        frame(["Cu"], -1.0), frame(["Cu", "Cu"], -0.4), frame(["Au"], -3.0), frame(["Cu", "Au"], -2.5),
        frame(["Cu", "Au"], -1.5), frame(["Cu", "Cu", "Cu", "Au"], -1.5),
    ]  # fmt: skip
    # x = 1/4 is half way between Cu (-1.0) and CuAu (-2.5): -1.75
    np.testing.assert_allclose(hull_distances(frames), [0, 0.6, 0, 0, 1.0, 0.25], atol=1e-4)


def test_hull_of_one_species_is_the_lowest_energy():
    frames = [frame(["Cu"] * n, e) for n, e in ((1, -1.0), (2, -1.3), (3, -1.2))]
    np.testing.assert_allclose(hull_distances(frames), [0.3, 0.0, 0.1], atol=1e-12)


def test_hull_of_three_species():
    frames = [frame([s], e) for s, e in (("Cu", -3.0), ("Ag", -2.0), ("Au", -1.0))] + [frame(["Cu", "Ag", "Au"], -1.5)]
    np.testing.assert_allclose(hull_distances(frames), [0, 0, 0, 0.5], atol=1e-4)


def test_sigmas_grow_with_distance_and_size():
    frames = [frame(["Cu"] * 4, -1.0), frame(["Cu"] * 4, -0.9), frame(["Cu"], -0.7)]
    labels = to_batch(hull_distance_sigmas(frames, NOISE, scale=0.1)).labels
    np.testing.assert_allclose(labels.energy_sigma, [2e-3, 4e-3, 4e-3], rtol=1e-6)
    np.testing.assert_allclose(labels.virial_sigma, [0.04, 0.08, 0.08], rtol=1e-6)
    np.testing.assert_allclose(labels.force_sigma, [0.1] * 4 + [0.2] * 4 + [0.4], rtol=1e-6)
    limited = to_batch(hull_distance_sigmas(frames, NOISE, scale=0.1, largest=3.0)).labels
    assert limited.energy_sigma[2] == pytest.approx(3e-3)


def test_windows():
    frames = [frame(["Cu"], e) for e in (-1.0, -0.95, -0.5, 4.0)]
    labels = to_batch(energy_window_sigmas(frames, {0.1: 1.0, 1.0: 3.0}, NOISE, beyond=20.0)).labels
    np.testing.assert_allclose(labels.energy_sigma, [1e-3, 1e-3, 3e-3, 2e-2])
    with pytest.raises(InputError, match="windows"):
        energy_window_sigmas(frames, {})


def test_types_and_factors():
    frames = [frame(["Cu"] * 4, -1.0, "liquid"), frame(["Cu"] * 4, -1.0)]
    noise = Noise(1e-3, 0.1, 0.02, per_config_type={"liquid": Noise(energy=5e-3)})
    labels = to_batch(noise_sigmas(frames, noise, [1.0, 2.0])).labels
    np.testing.assert_allclose(labels.energy_sigma, [1e-2, 4e-3])
    np.testing.assert_allclose(labels.force_sigma[[0, 4]], [0.1, 0.2])
    with pytest.raises(InputError, match="solid"):
        noise_sigmas(frames, Noise(per_config_type={"solid": NOISE}))


def test_copies_share_nothing_and_fit_uses_them():
    frames = make_frames(4)
    before = to_batch(frames).labels
    copies = hull_distance_sigmas(frames, scale=1e-3)
    for new in copies:
        new.calc.results["forces"] += 1.0
        new.positions += 1.0
    after = to_batch(frames).labels
    np.testing.assert_array_equal(before.forces, after.forces)
    assert "energy_sigma" not in frames[0].info
    # a frame whose labels hardly count is one that is hardly there
    hardly = dict.fromkeys(("energy", "forces", "virial"), 1e4)
    loose = [with_sigmas(a, hardly) if i == 3 else a for i, a in enumerate(make_frames(6))]
    crystal = bulk("Cu", cubic=True)
    terms = small_model().fit(make_frames(6)).terms_
    full, light = (small_model(terms=terms).fit(f).predict(crystal).energy[0] for f in (make_frames(6), loose))
    assert abs(full - light) > 1e-6
    with pytest.raises(InputError, match="sigmas"):
        with_sigmas(frames[0], {"energy": 0.0})


def test_labels_are_taken_away_wherever_they_are():
    atoms = make_frames(1)[0]
    results = dict(atoms.calc.results)
    atoms.info |= {"energy": 3.0, "virial": np.eye(3), "E": 4.0, "note": "kept"}
    atoms.set_array("forces", np.ones((4, 3)))
    atoms.set_array("F", np.ones((4, 3)))
    for kind, gone in (("energy", "has_energy"), ("forces", "has_forces"), ("virial", "has_virial")):
        labels = to_batch(new := without_labels(atoms, (kind,)), keys=LabelKeys(virial=None)).labels
        assert not getattr(labels, gone).any()
        for other in {"has_energy", "has_forces", "has_virial"} - {gone}:
            assert getattr(labels, other).all()
        assert (new.info["note"], new.info["E"]) == ("kept", 4.0)
    assert "virial" not in without_labels(atoms, ("virial",)).info
    new = without_labels(atoms, ("energy", "forces"), keys=LabelKeys(energy="E", forces="F", stress=None))
    assert set(new.info) == {"energy", "virial", "note"}
    assert set(new.arrays) == {"numbers", "positions", "forces"}
    assert set(new.calc.results) == set(results)
    same = without_labels(atoms, ())
    assert same is not atoms
    same.calc.results["forces"][0] = 7.0
    assert set(atoms.info) == {"energy", "virial", "E", "note"}
    assert set(atoms.arrays) == {"numbers", "positions", "forces", "F"}
    np.testing.assert_array_equal(atoms.calc.results["forces"], results["forces"])
    assert not (atoms.calc.results["forces"] == 7.0).any()


def test_stale_results_of_a_live_calculator_do_not_become_labels():
    atoms = bulk("Cu", cubic=True)
    atoms.calc = EMT()
    energy = atoms.get_potential_energy()
    assert copy_frame(atoms).calc.results["energy"] == energy
    atoms.positions[0] += 0.1
    atoms.info["energy"] = -3.0
    new = without_labels(atoms, ("forces",))
    assert new.calc is None
    assert to_batch(new).labels.energy == to_batch(atoms).labels.energy == -3.0
