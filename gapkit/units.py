"""Conversion factors to gapkit's units (eV, Å, eV/Å, eV/Å^3), from ASE's CODATA 2014 set."""

from __future__ import annotations

from ase import units as _units

HARTREE: float = _units.Hartree  # eV
RYDBERG: float = _units.Rydberg  # eV
BOHR: float = _units.Bohr  # Å
KCAL_PER_MOL: float = _units.kcal / _units.mol  # eV
KJ_PER_MOL: float = _units.kJ / _units.mol  # eV
GPA: float = _units.GPa  # eV/Å^3
KBAR: float = 0.1 * GPA  # eV/Å^3
