"""Damage of every kind is found, and nothing else: the small version of tests/bench/planted_damage.py."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from gapkit import Noise
from gapkit.curation.checks import check
from gapkit.curation.pruning import prune
from gapkit.curation.weights import without_labels
from gapkit.selection.duplicates import find_duplicates
from gapkit.structures import to_batch
from tests.curation.damage import KINDS, plant
from tests.potential.models import label, small_model, small_terms

NAMED = {"energy_outlier": "energy", "energy_outliers": "energy", "net_force": "forces", "net_force_outlier": "forces"}
NOISE = Noise(energy=1e-3, forces=0.02, virial=0.02)


def structures(n, seed):
    """Copper at strains of up to 2 % and two temperatures, of which a model has no outliers of its own."""
    rng = np.random.default_rng(seed)
    frames = []
    for k in range(n):
        atoms = bulk("Cu", cubic=True)
        strain = rng.uniform(-0.02, 0.02, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        atoms.positions += np.clip(rng.normal(size=(4, 3)), -2.0, 2.0) * (0.03, 0.06)[k % 2]
        atoms = label(atoms)
        atoms.info["config_type"] = ("cold", "warm")[k % 2]
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def clean():
    return structures(110, seed=12)


@pytest.fixture(scope="module")
def error(clean):
    return rmse(model().fit(clean))


def model():
    return small_model(terms=small_terms(40), noise=NOISE)


def rmse(fitted):
    test = structures(20, seed=99)
    return np.sqrt(np.mean((fitted.predict(test).forces - to_batch(test).labels.forces) ** 2))


def find(frames):
    """What `check` and `prune` leave out of each frame and why, pairs of duplicates, and the model that is left."""
    named = {finding.frame: finding.kind for finding in check(frames)}
    left_out = {i: {NAMED[kind]} for i, kind in named.items()}
    used = [without_labels(atoms, left_out.get(i, ())) for i, atoms in enumerate(frames)]
    pruned = prune(model().fit(used), used)
    for out in (*pruned.masked, *pruned.dropped):
        named[out.frame] = max(out.scores, key=out.scores.get)
        left_out[out.frame] = set(out.kinds if out in pruned.masked else ("frame",))
    assert len(pruned.frames) == len(frames) - sum("frame" in own for own in left_out.values())
    return named, left_out, [group.frames for group in find_duplicates(frames)], pruned.model


def test_no_false_alarm(clean):
    named, left_out, groups, _ = find(clean)
    assert len(named) <= 1  # of 110
    assert {"frame"} not in left_out.values()
    assert groups == []


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_all_kinds_are_found(clean, error, seed):
    damaged, done = plant(clean, 5, seed=seed)
    assert {d.kind for d in done} == set(KINDS)
    named, left_out, groups, left = find(damaged)
    copy = next(d for d in done if d.kind == "duplicate")
    assert groups == [(copy.source, copy.frame)]
    bad = {d.frame: d.kind for d in done if d.kind != "duplicate"}
    assert set(bad) <= set(named), {k: v for k, v in bad.items() if k not in named}
    by = {kind: named[frame] for frame, kind in bad.items()}
    assert by["force"] == "net_force_outlier"
    # the wrong label, and no other
    assert {kind: left_out[frame] for frame, kind in bad.items()} == {
        "energy": {"energy"}, "force": {"forces"}, "stress": {"virial"}, "cell": {"frame"},
    }  # fmt: skip
    assert len(set(named) - set(bad)) <= 1
    assert rmse(left) < 1.03 * error < rmse(model().fit(damaged))
