"""Descriptor vectors against QUIP; whole models are in tests/interop/quip."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit.descriptors import SOAP, CosineCutoff
from tests.descriptors.cases import structure

pytestmark = pytest.mark.oracle

VECTORS = 1e-10

SPECIES = {1: (14,), 2: (14, 8), 3: (32, 8, 14)}


@pytest.mark.parametrize("n_species", [1, 2, 3])
@pytest.mark.parametrize("kind", ["bulk", "small", "molecule"])
@pytest.mark.parametrize("n_l", [(4, 3), (6, 4)])
def test_soap_vectors(kind, n_species, n_l):
    descriptors = pytest.importorskip("quippy.descriptors")
    n_max, l_max = n_l
    species = SPECIES[n_species]
    atoms = structure(kind, 1)
    atoms.numbers = np.resize(species, len(atoms))
    soap = SOAP(4.0, n_max, l_max, 0.5, cutoff_function=CosineCutoff(0.7), species=species)
    x = soap.fit_transform([atoms])
    for z in species:
        listed = " ".join(map(str, species))
        quip = descriptors.Descriptor(
            f"soap cutoff=4.0 cutoff_transition_width=0.7 l_max={l_max} n_max={n_max} atom_sigma=0.5 "
            f"n_Z=1 Z={{{z}}} n_species={n_species} species_Z={{{listed}}}"
        )
        # The last element is covariance_sigma0.
        expected = quip.calc(atoms)["data"][:, :-1]
        np.testing.assert_allclose(x[atoms.numbers == z], expected, rtol=0, atol=VECTORS)
