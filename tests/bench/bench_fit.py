"""Timings of training, one thread (not in the suite)."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit.gp.factors import TriangularFactor
from gapkit.gp.instances import AppliedBasis
from gapkit.gp.rows import design_rows
from gapkit.neighbours import build_neighbour_list
from gapkit.structures import to_batch

pytest.importorskip("pytest_benchmark")


def test_fit_of_16_frames(benchmark, frames, estimator):
    benchmark.pedantic(lambda: estimator(300).fit(frames), rounds=3, warmup_rounds=1)


def test_rows_of_64_atoms(timed, model, frames):
    """Jacobian, its product with the sparse points, and `accumulate_rows`."""
    basis = model.model_.basis
    batch = to_batch(frames[0], labels=False)
    neighbours = build_neighbour_list(batch, basis.reach)
    timed(design_rows, AppliedBasis.of(basis, batch, neighbours), forces=True, virial=True)


def test_fold_1000_rows(timed):
    rng = np.random.default_rng(0)
    rows, targets = rng.normal(size=(1000, 1000)), rng.normal(size=1000)
    factor = TriangularFactor(1000)
    timed(factor.update, rows, targets)
