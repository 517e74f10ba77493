"""What the folder of kernels promises: arrays only, no imports but NumPy and its compiler, no NaN out of sight."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

import gapkit._core
from gapkit._core.jit import FAST_MATH
from gapkit._core.power import integer_power, real_power_and_slope
from gapkit.descriptors import SOAP
from gapkit.neighbours import NeighbourList, build_neighbour_list
from gapkit.structures import to_batch

MODULES = sorted(Path(gapkit._core.__path__[0]).glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.stem)
def test_only_numpy_and_numba_are_imported(path):
    allowed = {*sys.stdlib_module_names, "numpy", "numba", "llvmlite"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.split(".")[0] in allowed or name.startswith("gapkit._core.")


def test_fast_math_leaves_nan_alone():
    assert not FAST_MATH & {"fast", "nnan", "ninf"}


def test_a_nan_in_the_kernel_stays_visible():
    q = np.array([[0.5, np.nan]])
    value, slope = np.empty_like(q), np.empty_like(q)
    for function, zeta in ((integer_power, 3), (real_power_and_slope, 2.5)):
        function(q, 0.0, 1.0, zeta, value, slope)
        assert np.isnan(value[0, 1])
        assert np.isnan(slope[0, 1])
        assert np.isfinite(value[0, 0])


def test_a_nan_in_the_geometry_stays_visible():
    atoms = bulk("Si", cubic=True)
    batch = to_batch(atoms, labels=False)
    engine = SOAP(4.0, 4, 3, 0.5).engine((14,))
    good = build_neighbour_list(batch, 4.0)
    vectors = good.vectors.copy()
    vectors[0, 1] = np.nan
    bad = NeighbourList(good.offsets, good.indices, good.shifts, vectors, good.distances, 4.0)
    view = engine.view(batch.numbers, bad)
    features = view.features((14,), view.centres((14,)))
    assert np.isnan(features.x[0]).any()
    assert np.isfinite(features.x[1:]).all()
    gradients = np.zeros_like(vectors)
    view.pullback(features, np.ones_like(features.x), np.zeros(8), gradients)
    assert np.isnan(gradients[0]).any()
