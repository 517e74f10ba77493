"""Memory of a fit: fewer threads and smaller parts, the same model."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from ase.build import bulk

from gapkit import GAP, SOAP
from gapkit.exceptions import DataWarning, InputError
from gapkit.gp.chunks import frame_parts
from gapkit.potential.training import accumulator
from gapkit.potential.training import rows as training
from gapkit.potential.training.rows import ATOMS_PER_CHUNK, plan_memory
from gapkit.structures import to_batch

SAME = 1e-7  # other pieces round otherwise, in single precision for small features


def test_parts_are_slices_that_hold_every_atom_once():
    atoms = bulk("Cu", cubic=True) * (6, 2, 2)
    atoms.positions += 100.0  # wrapped
    parts = frame_parts(to_batch(atoms, labels=False), 25)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(96))
    assert max(map(len, parts)) <= 25
    x = atoms.get_scaled_positions(wrap=True)[:, 0]
    assert max(np.ptp(np.unwrap(2 * np.pi * np.sort(x[part]))) for part in parts[1:-1]) < 2 * np.pi * 0.4
    assert frame_parts(to_batch(atoms, labels=False), 96) == [None]


def test_open_boundaries_are_cut_along_the_longest_side():
    rng = np.random.default_rng(0)
    chain = bulk("Cu")
    chain = type(chain)("Cu40", positions=rng.uniform(size=(40, 3)) * [3.0, 50.0, 3.0])
    parts = frame_parts(to_batch(chain, labels=False), 10)
    y = chain.positions[:, 1]
    assert all(y[a].max() < y[b].min() for a, b in pairwise(parts))


def test_less_memory_means_fewer_threads_and_atoms():
    plenty, some, little = (plan_memory(1000, 4, memory) for memory in (None, 4e9, 4.2e7))
    assert plenty.n_threads == some.n_threads == 4
    assert plenty.atoms_at_once > some.atoms_at_once > little.atoms_at_once
    assert (little.n_threads, little.atoms_at_once) == (1, ATOMS_PER_CHUNK)


def test_a_large_frame_in_parts_gives_the_same_model(copper, monkeypatch):
    frames = [copper[0] * (2, 2, 2), *copper[1:5]]
    for atoms, source in zip(frames[:1], copper[:1], strict=True):
        atoms.calc = type(source.calc)(
            atoms, energy=8 * source.get_potential_energy(), forces=np.tile(source.get_forces(), (8, 1))
        )
    term = SOAP(4.0, 4, 3, 0.5)
    whole = GAP([term], n_sparse=20, n_jobs=1, calibration=None).fit(frames)
    calls = []
    monkeypatch.setattr(training, "ATOMS_PER_CHUNK", 8)
    original = accumulator.design_rows
    monkeypatch.setattr(accumulator, "design_rows", lambda *a, **k: calls.append(k["atoms"]) or original(*a, **k))
    parts = GAP([term], n_sparse=20, n_jobs=1, calibration=None, memory_limit=0.3001).fit(frames)
    assert sum(atoms is not None for atoms in calls) >= 4
    np.testing.assert_allclose(parts.predict(frames).forces, whole.predict(frames).forces, rtol=0, atol=SAME)


def test_a_limit_that_cannot_be_kept_is_reported(copper):
    with pytest.warns(DataWarning, match="memory_limit"):
        GAP([SOAP(4.0, 4, 3, 0.5)], n_sparse=10, memory_limit=0.1, n_jobs=1, calibration=None).fit(copper[:3])


@pytest.mark.parametrize("limit", [0, -1.0, True, "1 GB"])
def test_bad_limits(limit, copper):
    with pytest.raises(InputError, match="memory_limit"):
        GAP(memory_limit=limit).fit(copper[:2])
