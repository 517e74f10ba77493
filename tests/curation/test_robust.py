"""Planted outliers: dropped, or weighed down."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from gapkit.curation.robust import crystal_check, prune, robust_fit
from gapkit.curation.weights import copy_frame
from gapkit.exceptions import InputError
from gapkit.structures import LabelKeys, to_batch
from tests.potential.models import NOISE, make_frames, small_model

BAD = [3, 11, 20, 33]


def damaged(n=40, size=0.1):
    frames = make_frames(n, seed=3, size=size)
    forces = frames[11].calc.results["forces"].copy()
    forces[2] += [0.0, 0.0, 3.0]
    frames[3] = copy_frame(frames[3], energy=frames[3].calc.results["energy"] + 0.8)
    frames[11] = copy_frame(frames[11], forces=forces)
    frames[20] = copy_frame(frames[20], stress=frames[20].calc.results["stress"] + 0.03)
    swollen = frames[33].copy()
    swollen.set_cell(1.03 * swollen.cell.array, scale_atoms=True)
    frames[33] = copy_frame(swollen, **frames[33].calc.results)
    return frames


@pytest.fixture(scope="module")
def pruned():
    frames = damaged()
    return frames, prune(small_model().fit(frames), frames, check=crystal_check(bulk("Cu", cubic=True)))


def rmse(model, frames):
    return np.sqrt(np.mean((model.predict(frames).forces - to_batch(frames).labels.forces) ** 2))


def test_planted_outliers_are_dropped_and_no_others(pruned):
    frames, found = pruned
    assert sorted(d.frame for d in found.dropped) == BAD
    assert found.kept.tolist() == [i for i in range(len(frames)) if i not in BAD]
    by = {d.frame: d.scores for d in found.dropped}
    assert max(by[3], key=by[3].get) in ("energy", "all")
    assert max(by[20], key=by[20].get) in ("virial", "all", "sign")
    assert found.after["energy_rmse"] < 0.5 * found.before["energy_rmse"]
    assert found.after["forces_rmse"] < found.before["forces_rmse"]
    assert "dropped 4 of 40" in str(found)
    assert found.to_dict()["kept"] == found.kept.tolist()


def test_table_is_of_the_models(pruned):
    frames, found = pruned
    good = [frames[i] for i in found.kept]
    np.testing.assert_allclose(
        found.after["forces_rmse"], np.sqrt(np.mean(found.model.leave_one_out(good).forces.errors ** 2))
    )
    expected = crystal_check(bulk("Cu", cubic=True))(found.model)
    assert {k: found.after[k] for k in expected} == expected
    assert abs(found.after["volume"] - 11.57) < abs(found.before["volume"] - 11.57) + 0.02  # EMT's own


def test_clean_data_keep_all():  # larger displacements than most stand out too: the model cannot follow them
    frames = make_frames(40, seed=3, size=0.04)
    model = small_model().fit(frames)
    found = prune(model, frames)
    assert found.dropped == ()
    assert found.model is model
    assert found.before == found.after


def test_crystal_check_by_energies():
    """Elastic constants from second differences of the energy."""
    model = small_model().fit(make_frames(12))
    crystal = bulk("Cu", cubic=True)
    found = crystal_check(crystal)(model)
    atoms = crystal.copy()
    scale = (found["volume"] * 4 / crystal.get_volume()) ** (1 / 3)
    atoms.set_cell(scale * crystal.cell.array, scale_atoms=True)

    def second(strain, h=4e-3):
        e = []
        for x in (-h, 0.0, h):
            new = atoms.copy()
            new.set_cell(atoms.cell.array @ (np.eye(3) + x * strain), scale_atoms=True)
            e.append(model.predict(new).energy[0])
        return (e[0] - 2 * e[1] + e[2]) / h**2 / atoms.get_volume() / 0.0062415091

    assert found["C11"] == pytest.approx(second(np.diag([1.0, 0, 0])), rel=0.03)
    assert 2 * found["C11"] + 2 * found["C12"] == pytest.approx(second(np.diag([1.0, 1.0, 0])), rel=0.03)
    shear = np.array([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]])
    assert found["C44"] == pytest.approx(second(shear), rel=0.05, abs=2.0)
    assert found["bulk_modulus"] == pytest.approx((found["C11"] + 2 * found["C12"]) / 3, rel=0.05)
    moved = [atoms.copy() for _ in range(3)]
    for x, new in zip((-0.01, 0, 0.01), moved, strict=True):
        new.positions[0, 0] += x
    e = model.predict(moved).energy
    assert found["curvature"] == pytest.approx((e[0] - 2 * e[1] + e[2]) / 1e-4, rel=0.05)


@pytest.mark.parametrize(("kind", "noise"), [("student", NOISE), ("huber", NOISE), ("student", None)])
def test_outliers_weigh_little_and_the_fit_is_better(kind, noise):
    frames = damaged()
    for i in (5, 6):  # a frame whose sigmas the user has set keeps their ratio to the others
        frames[i].info["energy_sigma"] = 0.02
    found = robust_fit(small_model(noise=noise), frames, weights=kind, max_iterations=2)
    assert found.weights["energy"][3] < 0.1 < np.median(found.weights["energy"])
    assert found.weights["virial"][20] < 0.35 * np.median(found.weights["virial"])
    assert found.weights["forces"][11] < 0.35 * np.median(found.weights["forces"])
    test = make_frames(20, seed=9)
    assert rmse(found.model, test) < rmse(small_model(noise=noise).fit(frames), test)
    labels = to_batch(found.frames).labels
    expected = (2e-3 if noise else 1e-3) * 2 / np.sqrt(found.weights["energy"])
    expected[5:7] = 0.02 / np.sqrt(found.weights["energy"][5:7])
    np.testing.assert_allclose(labels.energy_sigma, expected)
    assert "force_sigma" not in frames[0].arrays


@pytest.mark.parametrize("kind", ["student", "huber"])
def test_weights_are_those_of_residuals_left_out(kind):
    frames = damaged()
    found = robust_fit(small_model(), frames, weights=kind, max_iterations=1)
    left_out = small_model().fit(frames).leave_one_out(frames)
    for name, residuals, sigma, median in (
        ("energy", left_out.energy, NOISE.energy / 2.0, 0.4549),  # of four atoms
        ("forces", left_out.forces, NOISE.forces, 11.340 / 12.0),
    ):
        u2 = (residuals.errors**2 / (sigma**2 + residuals.variances)).reshape(40, -1).mean(axis=1)
        u2 *= median / np.median(u2)
        w = 5.0 / (4.0 + u2) if kind == "student" else np.minimum(1.0, 1.345 / np.sqrt(u2))
        np.testing.assert_allclose(found.weights[name], w, rtol=1e-3)


def test_own_names_of_sigmas():
    keys = LabelKeys(energy_sigma="sE", force_sigma="sF", virial_sigma="sV")
    frames = damaged()
    for atoms in frames:
        atoms.info["sE"], atoms.info["sF"], atoms.info["sV"] = 4e-3, 0.05, 0.1
    found = robust_fit(small_model(label_keys=keys), frames, max_iterations=1)
    np.testing.assert_allclose([atoms.info["sE"] for atoms in found.frames], 4e-3 / np.sqrt(found.weights["energy"]))


def test_iterations_converge():
    found = robust_fit(small_model(), damaged(), max_iterations=4)
    assert found.changes[-1] < 0.2 * found.changes[0]


def test_refusals(pruned):
    frames, found = pruned
    with pytest.raises(InputError, match="threshold"):
        prune(found.model, frames, threshold=-1.0)
    with pytest.raises(InputError, match="same order"):
        prune(found.model, frames)
    with pytest.raises(InputError, match="student"):
        robust_fit(small_model(), frames, weights="cauchy")
    with pytest.raises(InputError, match="periodic"):
        crystal_check(bulk("Cu"), strain=0.5)
