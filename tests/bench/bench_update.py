"""Seconds and differences of updates against fits: 200 frames of 64 atoms, M = 1,000.  Run as a script.

python tests/bench/bench_update.py [frames] [sparse points] [new points]
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit import GAP, SOAP, Term, TwoBody
from gapkit.gp.tape import ArrayStore
from gapkit.kernels import SquaredExponential
from gapkit.potential.model import SparseModel
from gapkit.potential.training.estimate import Resources
from gapkit.potential.training.kept_rows import KeptRows
from gapkit.structures import to_batch


def make_frames(n: int, size: float, seed: int) -> list[Atoms]:
    """Copper, 64 atoms, rattled by up to `size` Å and strained."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        atoms = bulk("Cu", a=3.6) * 4
        strain = rng.normal(scale=0.03, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        atoms.positions += rng.normal(scale=size * rng.uniform(0.2, 1.0), size=(64, 3))
        atoms.calc = EMT()
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        frames.append(atoms)
    return frames


def timed(name: str, function: Callable[[], Any]) -> Any:
    """Print wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    print(f"{name:44s} {time.perf_counter() - wall:8.2f} s wall {time.process_time() - cpu:8.2f} s cpu", flush=True)
    return result


def main(n_frames: int = 200, n_sparse: int = 1000, n_new: int = 10) -> None:
    """Fit, update, compare."""
    warnings.simplefilter("ignore")
    frames, new = make_frames(n_frames, 0.2, 0), make_frames(2, 0.3, 1)
    pairs = Term(TwoBody(5.0), SquaredExponential(1.0, 0.8, delta_bounds="fixed"), n_sparse=20)
    terms = [pairs, Term(SOAP(5.0, 8, 6, 0.5), n_sparse=n_sparse)]
    options = {"n_jobs": 1, "calibration": None}  # a lower bound of what a fit takes
    small = GAP(terms=[pairs, Term(SOAP(5.0, 8, 6, 0.5), n_sparse=10)], **options)
    small.fit(frames[:12], keep_rows=True).partial_fit(new[:1], n_new=2)  # compiles
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows"
        model = timed("fit, rows kept in a file", lambda: GAP(terms=terms, **options).fit(frames, keep_rows=path))
        print("   ", model.metadata_["seconds"], f"{path.stat().st_size / 1e6:.0f} MB")
        timed("one frame", lambda: model.partial_fit(new[:1]))
        timed(f"one frame and {n_new} points", lambda: model.partial_fit(new[1:], n_new=n_new))
        print("   ", model.metadata_["partial_fit"][-1]["seconds"])
    state = model.state_
    union = to_batch(frames + new)
    rows = timed(
        "rows of the union alone",
        lambda: KeptRows(ArrayStore()).with_frames(state.row_maker, union, Resources(n_jobs=1)),
    )
    factors = rows.model_factors()
    scales = [state.scales[term] for term in state.sparse.basis.term_of_block]
    basis = state.sparse.basis
    sparse, evidence = SparseModel.solve(basis, basis.prior(), factors, state.noise, scales)
    batch = model.with_state(replace(state, sparse=sparse, log_marginal_likelihood=evidence))
    test = make_frames(5, 0.2, 3)
    p, q = batch.predict(test), model.predict(test)
    print(f"largest force {np.abs(p.forces).max():.1f} eV/Å")
    print(
        f"difference from a fit with the union: energy {np.abs(p.energy - q.energy).max():.1e} eV, forces "
        f"{np.abs(p.forces - q.forces).max():.1e} eV/Å, stress {np.abs(p.stress - q.stress).max():.1e} eV/Å^3, log "
        f"marginal likelihood {abs(evidence / state.log_marginal_likelihood - 1):.1e} (relative)"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
