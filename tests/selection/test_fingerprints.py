from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from gapkit import SOAP, TwoBody
from gapkit.exceptions import InputError
from gapkit.selection import fingerprints
from gapkit.selection.fingerprints import FingerprintSpace, lower_bounds, match_distance
from tests.potential.models import make_frames

SMALL = SOAP(4.0, 4, 3, 0.5)


@pytest.fixture(scope="module")
def space():
    return FingerprintSpace.of(make_frames(30, n_gold=2), SMALL)


def turned(atoms, seed=0):
    """The same structure, rotated, moved and reordered."""
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    other = atoms.copy()
    other.set_cell(atoms.cell.array @ rotation)
    other.positions = atoms.positions @ rotation + rng.normal(size=3)
    return other[rng.permutation(len(atoms))]


def test_reference_is_white(space):
    prints = space(make_frames(30, n_gold=2))
    copper = prints.vectors[prints.numbers == 29]
    np.testing.assert_allclose(copper.mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(np.cov(copper.T), np.eye(copper.shape[1]), atol=1e-3)


def test_symmetry_changes_nothing(space):
    atoms = make_frames(3, n_gold=2, seed=5)[2]
    prints = space([atoms, turned(atoms), atoms.repeat((2, 1, 1)), make_frames(3, n_gold=2, seed=6)[2]])
    assert match_distance(prints, 0, prints, 1) < 1e-4
    assert match_distance(prints, 0, prints, 2) < 1e-4
    assert match_distance(prints, 0, prints, 3) > 0.5
    whole = prints.of_frames()
    np.testing.assert_allclose(whole[0], whole[1], atol=1e-4)
    np.testing.assert_allclose(whole[0], whole[2], atol=1e-4)


@pytest.mark.parametrize("supercells", [False, True])
def test_bounds_are_lower_than_distances_and_complete(space, supercells):
    frames = make_frames(6, n_gold=1, seed=3)
    frames = [*frames, frames[0].repeat((1, 1, 2)), frames[1].repeat((3, 1, 1))]
    prints = space(frames)
    compared = {}
    for rows, columns, bounds in lower_bounds(prints, prints, supercells=supercells):
        for i, row in zip(rows, bounds, strict=True):
            for j, bound in zip(columns, row, strict=True):
                compared[int(i), int(j)] = bound
                assert bound <= match_distance(prints, i, prints, j) + 1e-6
    assert max(compared.values()) > 0.3
    fractions = [round(float(np.mean(a.numbers == 79)), 6) for a in frames]
    expected = {
        (i, j)
        for i, a in enumerate(frames)
        for j, b in enumerate(frames)
        if fractions[i] == fractions[j] and (supercells or len(a) == len(b))
    }
    assert set(compared) == expected


def test_mean_fingerprint_is_a_bound_too(space):
    prints = space(make_frames(4, seed=8))
    means = prints.of_frames()[:, : prints.vectors.shape[1]]
    for j in range(1, 4):
        assert np.linalg.norm(means[0] - means[j]) <= match_distance(prints, 0, prints, j) + 1e-6


def test_chunks_give_the_same(space, monkeypatch):
    frames = make_frames(7, n_gold=2, seed=4)
    whole = space(frames).vectors
    monkeypatch.setattr(fingerprints, "CHUNK_ATOMS", 5)
    np.testing.assert_array_equal(space(frames).vectors, whole)
    assert whole.dtype == np.float32


def test_long_vectors_are_reduced_first(monkeypatch):
    frames = make_frames(20)
    whole = FingerprintSpace.of(frames, SMALL)(frames)
    monkeypatch.setattr(fingerprints, "LONG_VECTOR", 10)
    reduced = FingerprintSpace.of(frames, SMALL)(frames)
    assert match_distance(reduced, 0, reduced, 1) == pytest.approx(match_distance(whole, 0, whole, 1), rel=1e-3)


def test_crystals_have_no_noise_to_blow_up():
    crystals = [turned(bulk("Cu", cubic=True), seed) for seed in range(6)]
    prints = FingerprintSpace.of(crystals[:5], SMALL)(crystals)
    assert max(match_distance(prints, 5, prints, k) for k in range(5)) < 1e-3


def test_a_descriptor_of_pairs_is_refused():
    with pytest.raises(InputError, match="one vector for each atom"):
        FingerprintSpace.of(make_frames(2), TwoBody(4.0))
