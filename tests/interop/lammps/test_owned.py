"""A model with fewer centres than atoms."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from gapkit.interop.lammps.owned import with_owned_centres
from gapkit.neighbours import NeighbourList
from gapkit.structures import to_batch
from tests.interop.lammps.systems import copper_block, with_gold


def test_only_owned_atoms_are_centres(alloy):
    batch = to_batch(with_gold(copper_block(2)), labels=False)
    whole = alloy.state_.neighbours(batch)
    n, edges = 20, slice(whole.offsets[20])
    neighbours = NeighbourList(
        np.minimum(whole.offsets, whole.offsets[n]), whole.indices[edges], whole.shifts[edges], whole.vectors[edges],
        whole.distances[edges], whole.cutoff,
    )  # fmt: skip
    model, owned = with_owned_centres(alloy.state_)
    owned.n = n
    some = model.predict(batch, neighbours, uncertainty="parts")
    full = alloy.state_.predict(batch, whole, uncertainty="parts")
    assert_allclose(some.local_energies[:n], full.local_energies[:n], rtol=0, atol=1e-10)
    assert_allclose(some.novelty[:n], full.novelty[:n], rtol=0, atol=1e-10)
    reference = [model.known.reference[z] for z in batch.numbers[n:]]
    assert_allclose(some.local_energies[n:], reference, rtol=0, atol=1e-10)
    owned.n = batch.n_atoms
    assert_allclose(model.predict(batch, whole).forces, full.forces, rtol=0, atol=1e-10)
