"""Labels of two levels with known bias and noise."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from gapkit.curation.fidelity import combine_fidelities
from gapkit.curation.weights import copy_frame
from gapkit.exceptions import DataError, InputError
from gapkit.structures import to_batch

E_SHIFT = {29: 0.4, 79: -0.7}
SIGMA = {"a": (0.001, 0.03, 0.02), "b": (0.004, 0.09, 0.06), "p": (0.002, 0.05, 0.04)}


def structures(n=150, seed=0):
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.numbers[: rng.integers(0, 5)] = 79
        atoms.positions += rng.normal(scale=0.1, size=(4, 3))
        frames.append(atoms)
    return frames


def truth(atoms, rng):
    return rng.normal(size=1) * 3, rng.normal(size=(len(atoms), 3)), rng.normal(size=6)


def levels(seed=1, n=150):
    """Truth, and frames of the reference a, the biased b and the third p."""
    rng = np.random.default_rng(seed)
    out = {"y": [], "a": [], "b": [], "p": []}
    for atoms in structures(n):
        e, f, w = truth(atoms, rng)
        out["y"].append((e[0], f, w))
        for name, (se, sf, sv) in SIGMA.items():
            shift = sum(E_SHIFT[z] for z in atoms.numbers) if name == "b" else 0.0
            pulay = 0.3 * len(atoms) if name == "b" else 0.0
            new = copy_frame(
                atoms, energy=e[0] + shift + rng.normal(scale=se * 2), forces=f + rng.normal(scale=sf, size=f.shape)
            )
            new.info["virial"] = w + pulay * np.array([1, 1, 1, 0, 0, 0]) + rng.normal(scale=sv * 2, size=6)
            out[name].append(new)
    return out


@pytest.fixture(scope="module")
def data():
    return levels()


def rms_errors(frames, y):
    labels = to_batch(frames).labels
    virial = labels.virial[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    return (
        np.sqrt(np.mean((labels.energy - [t[0] for t in y]) ** 2)) / 2,
        np.sqrt(np.mean((labels.forces - np.concatenate([t[1] for t in y])) ** 2)),
        np.sqrt(np.mean((virial - [t[2] for t in y]) ** 2)) / 2,
    )


def test_bias_and_noise_are_found_with_a_third_opinion(data):
    found = combine_fidelities(data["a"], data["b"], third=data["p"])
    np.testing.assert_allclose(
        [found.levels["energy"].bias["Cu"], found.levels["energy"].bias["Au"]], [0.4, -0.7], atol=2e-3
    )
    assert found.levels["virial"].bias["isotropic"] == pytest.approx(0.3, abs=0.01)
    for i, kind in enumerate(("energy", "forces", "virial")):
        assert found.levels[kind].other_sigma == pytest.approx(SIGMA["b"][i], rel=0.3)
        assert found.levels[kind].sigma < 0.6 * found.levels[kind].other_sigma
    assert found.to_dict()["forces"]["bias"] == {}


def test_combined_labels_are_better_than_either_and_sigmas_say_so(data):
    found = combine_fidelities(data["a"], data["b"], ratio=3.0)
    errors, alone = rms_errors(found.frames, data["y"]), rms_errors(data["a"], data["y"])
    expected = [a * b / np.hypot(a, b) for a, b in zip(SIGMA["a"], SIGMA["b"], strict=True)]
    np.testing.assert_allclose(errors, expected, rtol=0.15)
    assert all(e < 0.98 * a for e, a in zip(errors[1:], alone[1:], strict=True))
    labels = to_batch(found.frames).labels
    assert np.median(labels.energy_sigma) / 2 == pytest.approx(expected[0], rel=0.25)
    assert np.median(labels.force_sigma) == pytest.approx(expected[1], rel=0.2)


def test_disagreement_is_trusted_less(data):
    others = list(data["b"])
    others[7] = copy_frame(others[7], energy=others[7].calc.results["energy"] + 2.0)
    found = combine_fidelities(data["a"], others, ratio=3.0)
    labels = to_batch(found.frames).labels
    assert labels.energy_sigma[7] > 20 * np.median(labels.energy_sigma)
    assert found.disagreement["energy"][7] == np.nanmax(found.disagreement["energy"]) > 40


def test_one_level_alone_is_used_less_its_bias(data):
    lacking = [copy_frame(a, energy=None, forces=None) if i < 50 else a for i, a in enumerate(data["a"])]
    found = combine_fidelities(lacking, data["b"], ratio=3.0)
    labels = to_batch(found.frames).labels
    errors = labels.energy[:50] - [t[0] for t in data["y"][:50]]
    assert np.sqrt(np.mean(errors**2)) < 3 * 2 * SIGMA["b"][0]
    assert labels.energy_sigma[:50].min() > 2.0 * np.median(labels.energy_sigma[50:])
    assert np.isnan(found.disagreement["energy"][:50]).all()
    assert to_batch(lacking).labels.has_energy[:50].sum() == 0  # the caller's frames are as they were


def test_kinds_of_the_reference_alone_stay(data):
    others = [copy_frame(b, forces=None) for b in data["b"]]
    found = combine_fidelities(data["a"], others)
    assert "forces" not in found.levels
    labels = to_batch(found.frames).labels
    np.testing.assert_array_equal(labels.forces, to_batch(data["a"]).labels.forces)
    assert np.isnan(labels.force_sigma).all()


def test_refusals(data):
    with pytest.raises(InputError, match="same structures"):
        combine_fidelities(data["a"], data["b"][::-1])
    with pytest.raises(InputError, match="ratio"):
        combine_fidelities(data["a"], data["b"], ratio=0.0)
    bare = [copy_frame(a, energy=None, forces=None) for a in data["a"]]
    for atoms in bare:
        atoms.info.pop("virial")
    with pytest.raises(DataError, match="both levels"):
        combine_fidelities(data["a"], bare)
