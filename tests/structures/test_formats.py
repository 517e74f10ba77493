"""Files of other programs and of ASE, with the labels that they hold."""

from __future__ import annotations

import ase.db
import ase.io
import numpy as np
import pytest

from gapkit.structures import read_frames, to_batch
from tests.potential.models import make_frames


def assert_same_labels(frames, expected):
    found, wanted = to_batch(frames), to_batch(expected)
    np.testing.assert_allclose(found.positions, wanted.positions, atol=1e-7)
    for name in ("energy", "forces", "virial"):
        np.testing.assert_allclose(getattr(found.labels, name), getattr(wanted.labels, name), atol=1e-6)
        np.testing.assert_array_equal(getattr(found.labels, f"has_{name}"), getattr(wanted.labels, f"has_{name}"))


@pytest.mark.parametrize("suffix", ["extxyz", "traj", "json"])
def test_formats_of_ase(tmp_path, suffix):
    frames = make_frames(3, seed=1)
    path = tmp_path / f"frames.{suffix}"
    ase.io.write(path, frames)
    assert_same_labels(read_frames(path), frames)


def test_a_database(tmp_path):
    frames = make_frames(3, seed=1)
    path = tmp_path / "frames.db"
    with ase.db.connect(path) as database:
        for atoms in frames:
            database.write(atoms)
    assert_same_labels(read_frames(path), frames)


OUTPUT_OF_ESPRESSO = """
     Program PWSCF v.7.2 starts on 21Nov2026 at 10: 0: 0

     lattice parameter (alat)  =       6.0000  a.u.
     celldm(1)=   6.000000  celldm(2)=   0.000000  celldm(3)=   0.000000
     number of atoms/cell      =            1
     crystal axes: (cart. coord. in units of alat)
               a(1) = (   1.000000   0.000000   0.000000 )
               a(2) = (   0.000000   1.000000   0.000000 )
               a(3) = (   0.000000   0.000000   1.000000 )

     site n.     atom                  positions (alat units)
         1           Al  tau(   1) = (   0.0000000   0.0000000   0.0000000  )

     number of k points=     1
                       cart. coord. in units 2pi/alat
        k(    1) = (   0.0000000   0.0000000   0.0000000), wk =   2.0000000

     End of self-consistent calculation

          k = 0.0000 0.0000 0.0000 (    21 PWs)   bands (ev):

    -5.0000   1.0000

     the Fermi energy is     1.0000 ev

!    total energy              =     -10.00000000 Ry

     Forces acting on atoms (cartesian axes, Ry/au):

     atom    1 type  1   force =     0.01000000    0.00000000   -0.02000000

     Total force =     0.022361     Total SCF correction =     0.000000

     Computing stress (Cartesian axis) and pressure

          total   stress  (Ry/bohr**3)                   (kbar)     P=       14.71
   0.00010000   0.00000000   0.00000000           14.71        0.00        0.00
   0.00000000   0.00010000   0.00000000            0.00       14.71        0.00
   0.00000000   0.00000000   0.00010000            0.00        0.00       14.71

   JOB DONE.
"""


def test_an_output_of_quantum_espresso(tmp_path):
    path = tmp_path / "scf.pwo"
    path.write_text(OUTPUT_OF_ESPRESSO)
    batch = to_batch(read_frames(path))
    rydberg, bohr = 13.605693122990, 0.529177210544
    assert batch.labels.energy[0] == pytest.approx(-10.0 * rydberg, rel=1e-6)
    np.testing.assert_allclose(batch.labels.forces[0], np.array([0.01, 0.0, -0.02]) * rydberg / bohr, rtol=1e-6)
    # the program prints the negative of ASE's stress: a positive one pushes the cell apart, as a virial does
    pressure = 1e-4 * rydberg / bohr**3
    np.testing.assert_allclose(batch.labels.virial[0], pressure * (6.0 * bohr) ** 3 * np.eye(3), rtol=1e-6)
