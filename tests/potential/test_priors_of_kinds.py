"""Error bars of fits whose frames are of several kinds: what is learned, what `calibrate` replaces, and files."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from gapkit import load
from gapkit.gp.instances import local_vectors
from gapkit.potential.error_bars import learn
from gapkit.structures import to_batch
from gapkit.uncertainty import prior_scale
from gapkit.uncertainty.prior_scale import LIMITS, widening
from tests.potential.models import label, make_frames, small_model
from tests.potential.test_uncertain import assert_identical, assert_same_calibration, largest_nearby


def named(frames, name):
    frames = copy.deepcopy(frames)
    for atoms in frames:
        atoms.info["config_type"] = name
    return frames


def simple_cubic(n, seed, size=0.05):
    """Eight atoms at other coordinations than those of fcc."""
    rng, frames = np.random.default_rng(seed), []
    for _ in range(n):
        atoms = bulk("Cu", "sc", a=2.4 + 0.05 * rng.random()) * (2, 2, 2)
        atoms.positions += rng.normal(scale=size, size=(8, 3))
        frames.append(label(atoms))
    return frames


def diamond(n, seed):
    rng, frames = np.random.default_rng(seed), []
    for _ in range(n):
        atoms = bulk("Cu", "diamond", cubic=True, a=5.4 + 0.1 * rng.random())
        atoms.positions += rng.normal(scale=0.05, size=(8, 3))
        frames.append(label(atoms))
    return frames


def of_kinds(n, seed):
    parts = (named(make_frames(2 * n, seed=seed), "fcc"), named(simple_cubic(n, seed), "sc"))
    return [*parts[0], *parts[1], *named(diamond(n, seed), "diamond")]


def fit_whole_kinds(frames):
    """A fit with time to leave out whole kinds, which so small a set is not given."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learn, "PART_OF_KINDS", 0.85)
        return small_model(calibration="leave-one-out").fit(frames)


@pytest.fixture(scope="module")
def kinds_model():
    """Of three kinds; tests must not change it."""
    return fit_whole_kinds(of_kinds(12, 0))


@pytest.fixture(scope="module")
def fcc_model():
    """Of one kind; tests must not change it."""
    return small_model(calibration="leave-one-out").fit(named(make_frames(24), "fcc"))


def with_own_state(model):
    """A copy whose calibration may be replaced."""
    return model.with_state(model.state_)


def test_a_fit_learns_kinds_and_the_scale_of_the_prior(kinds_model, fcc_model):
    calibration = kinds_model.calibration_
    assert calibration.kinds.names == ("diamond", "fcc", "sc")
    assert (calibration.kinds.counts > 0).all()
    for name in ("energy", "forces"):
        assert calibration.priors[name].n_kinds >= 2, name  # those that are novel to a model without them
        assert LIMITS[0] <= calibration.priors[name].factor <= LIMITS[1]
        assert np.isfinite(calibration.priors[name].ceiling)
    assert {prior.n_kinds for prior in fcc_model.calibration_.priors.values()} == {0}  # one kind alone
    new = [*simple_cubic(2, 9), *diamond(2, 9), *make_frames(2, seed=9)]
    np.testing.assert_array_equal(kinds_model.extrapolation(new).kinds, [2, 2, 0, 0, 1, 1])


def test_frames_of_known_kinds_are_covered(kinds_model):
    for kind in (make_frames(20, seed=5), simple_cubic(20, 5), diamond(20, 5)):
        p = kinds_model.predict(kind, return_std=True)
        forces = np.concatenate([atoms.calc.results["forces"] for atoms in kind])
        errors = np.abs(p.forces - forces)
        assert np.mean(errors <= 1.645 * p.forces_std) > 0.8


def clusters(n, n_atoms, seed):
    """Compact groups of atoms in a vacuum."""
    rng, frames = np.random.default_rng(seed), []
    while len(frames) < n:
        positions = rng.uniform(0.0, 3.2, (n_atoms, 3))
        if Atoms(f"Cu{n_atoms}", positions).get_all_distances()[np.triu_indices(n_atoms, 1)].min() > 2.15:
            frames.append(label(Atoms(f"Cu{n_atoms}", positions)))
    return frames


def needs(model, calibration, frames):
    """Factor of the prior's standard deviations with which nine in ten of the forces' errors are within 1.645 ones."""
    signs, variances = model.extrapolation(frames), model.predict(frames, return_std=True, std="epistemic").variances
    t = np.concatenate([largest_nearby(a, signs.novelty[signs.frame_of_atom == k]) for k, a in enumerate(frames)])
    t = np.maximum(t, signs.average[signs.frame_of_atom] ** 2)
    data, prior = (np.einsum("ncc->nc", part) for part in (variances.forces.data, variances.forces.prior))
    vectors = local_vectors(model.state_.apply(to_batch(frames, labels=False)))
    factors = calibration.factors("forces", vectors, signs.frame_of_atom, signs.kinds)
    scale, share = calibration.scales["forces"], (t**8 / (1 + t**8))[:, None] * np.ones(3)
    forces = np.concatenate([atoms.calc.results["forces"] for atoms in frames])
    missing = ((model.predict(frames).forces - forces) / 1.6448536) ** 2
    missing -= factors[:, None] ** 2 * (scale.a**2 + scale.b**2 * data)
    missing = np.maximum(missing, 0.0)[share > 0.1]
    ceiling = calibration.priors["forces"].ceiling
    x = np.where(missing < ceiling, missing / np.maximum(1.0 - missing / ceiling, 1e-12), np.inf)
    return np.sqrt(np.quantile(x / (share * prior)[share > 0.1], 0.9, method="higher"))


def test_calibrate_learns_the_prior_from_the_kinds_of_its_frames(fcc_model, monkeypatch):
    """Two kinds that are novel to the model, one that is not; the scale is that which the larger needs."""
    monkeypatch.setattr(prior_scale, "LIMITS", (0.0, 1e3))
    fcc, three, five = named(make_frames(12, seed=6), "fcc"), clusters(8, 3, 0), clusters(8, 5, 0)
    frames = [*fcc, *named(three, "trimers"), *named(five, "clusters")]
    assert np.median(fcc_model.extrapolation([*three, *five]).novelty) > 1
    found = with_own_state(fcc_model).calibrate(frames).calibration_
    assert found.source == "frames"
    prior = found.priors["forces"]
    assert prior.n_kinds == found.priors["energy"].n_kinds == 2
    forces = np.concatenate([atoms.calc.results["forces"] for atoms in frames])
    assert prior.ceiling == pytest.approx(np.mean(forces**2))
    each = [needs(fcc_model, found, kind) for kind in (three, five)]
    assert max(each) > 1.2 * min(each) > 0
    assert prior.factor == pytest.approx(max(each) * widening(2), rel=1e-4)
    pooled = with_own_state(fcc_model).calibrate(named(frames, "all")).calibration_  # one name, one kind
    assert pooled.priors["forces"].n_kinds == 1
    # larger errors of novel kinds need a larger scale
    wrong = [*fcc, *(with_forces(atoms, 1.5, i) for i, atoms in enumerate(frames[12:]))]
    larger = with_own_state(fcc_model).calibrate(wrong).calibration_
    assert larger.priors["forces"].factor > prior.factor


def with_forces(atoms, size, seed):
    """Forces that are wrong by `size` at random."""
    new = copy.deepcopy(atoms)
    new.calc.results["forces"] = atoms.calc.results["forces"] + np.random.default_rng(seed).normal(
        scale=size, size=(len(atoms), 3)
    )
    return new


def known_frames(model):
    """Of fcc, those that have neither novel atoms nor a novel average."""
    frames = named(make_frames(60, seed=6), "fcc")
    signs = model.extrapolation(frames)
    known = np.flatnonzero(np.maximum(signs.novelty.reshape(-1, 4).max(axis=1), signs.average**2) < 0.5)
    assert len(known) >= 20
    return [frames[k] for k in known]


def test_calibrate_keeps_the_prior_where_no_kind_is_novel(kinds_model):
    model = with_own_state(kinds_model)
    priors = {name: replace(prior, factor=3.25, n_kinds=4) for name, prior in kinds_model.calibration_.priors.items()}
    model.state_ = replace(model.state_, calibration=replace(kinds_model.calibration_, priors=priors))
    frames = known_frames(kinds_model)
    model.calibrate(frames)
    assert model.calibration_.source == "frames"
    assert model.calibration_.priors == priors
    assert model.calibration_.kinds.names == kinds_model.calibration_.kinds.names


def test_without_priors_before_and_without_novel_kinds(fcc_model):
    """The prior itself, below the ceiling of the frames' labels."""
    model = with_own_state(fcc_model)
    model.state_ = replace(model.state_, calibration=None)
    model.calibrate(known_frames(fcc_model))
    for prior in model.calibration_.priors.values():
        assert (prior.factor, prior.n_kinds) == (1.0, 0)
        assert np.isfinite(prior.ceiling)


@pytest.mark.parametrize("source", ["leave-one-out", "frames"])
def test_files(kinds_model, tmp_path, source):
    """Kinds, priors, averages and the factor of differences: everything is there again, to the bit."""
    model = with_own_state(kinds_model)
    if source == "frames":
        model.calibrate([*named(make_frames(12, seed=6), "fcc"), *named(simple_cubic(6, 6, 0.3), "sc")])
    model.save(tmp_path / "m.gapkit")
    other = load(tmp_path / "m.gapkit")
    assert_same_calibration(model, other, 0.0)
    one, two = model.calibration_, other.calibration_
    assert (two.priors, two.difference, two.source) == (one.priors, one.difference, source)
    assert (two.kinds.names, one.difference != 1.0) == (("diamond", "fcc", "sc"), True)
    assert two.summary() == one.summary()
    close = make_frames(1, seed=9)[0]
    close.positions[1] += 0.45 * close.get_distance(1, 0, mic=True, vector=True)
    frames = [*make_frames(2, seed=8), *simple_cubic(1, 8), *diamond(1, 8), bulk("Cu", "bcc", a=2.7), close]
    assert_identical(*(m.predict(frames, return_std=True, interval=0.9) for m in (model, other)))
    assert_identical(*(m.extrapolation(frames) for m in (model, other)))
    assert_identical(*(m.difference(frames[0], frames[2]) for m in (model, other)))
