"""Models of gap_fit read by gapkit, and models of gapkit read by quippy."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit.interop.quip import load, write
from tests.interop.quip.models import CLUSTERS, GAP_FIT, GAPKIT, Case, errors, frames, gap_fit, gapkit_model

pytestmark = pytest.mark.oracle

MODELS = 1e-8  # eV, eV/Å and eV; relative where values are large
VARIANCE = 2e-7  # eV^2; rho^2 is 1e-6


def check(found, *, variance=True, local=True):
    for name in ("energy", "forces", "virial", *(["local_energy"] if local else [])):
        assert getattr(found, name) < MODELS, name
    if variance:
        assert found.variance < VARIANCE


@pytest.mark.parametrize("name", GAP_FIT)
def test_a_model_of_gap_fit_predicts_as_in_quippy(tmp_path, name):
    pytest.importorskip("quippy.potential")
    case = GAP_FIT[name]
    path = gap_fit(tmp_path, case)
    found = errors(path, load(path), case.n_species, variance=case.has_variance)
    check(found, variance=case.has_variance, local="order=3" not in name)


@pytest.mark.parametrize("name", GAPKIT)
def test_a_model_of_gapkit_predicts_the_same_in_quippy(tmp_path, name):
    pytest.importorskip("quippy.potential")
    model = gapkit_model(name)
    write(model, tmp_path / "gap.xml")
    has_variance = "sigma0" not in name
    found = errors(tmp_path / "gap.xml", model, GAPKIT[name][0], variance=has_variance)
    check(found, variance=has_variance, local=name != "TripletDistances")


def test_a_model_that_was_read_is_written_as_it_was(tmp_path):
    pytest.importorskip("quippy.potential")
    case = GAP_FIT["distance_2b : angle_3b : soap"]
    first = load(gap_fit(tmp_path, case))
    folder = tmp_path / "again"
    folder.mkdir()
    write(first, folder / "gap.xml")
    check(errors(folder / "gap.xml", first, case.n_species))
    second = load(folder / "gap.xml")
    np.testing.assert_allclose(second.model_.weights, first.model_.weights, rtol=1e-12)


def test_the_energy_of_quip_s_unlike_triangles_depends_on_the_order_of_atoms(tmp_path):
    """Why such a model cannot be read: there is no one energy to agree with."""
    potential = pytest.importorskip("quippy.potential")
    path = gap_fit(tmp_path, Case(2, CLUSTERS.format(3)))
    with pytest.raises(ValueError, match="order of the atoms"):
        load(path)
    atoms = frames(2, 1)[0].copy()
    other = atoms[np.random.default_rng(1).permutation(len(atoms))]
    quip = potential.Potential(param_filename=str(path))
    atoms.calc = other.calc = quip
    assert abs(atoms.get_potential_energy() - other.get_potential_energy()) > 1e-4
