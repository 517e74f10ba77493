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

ENERGY_UNITS: dict[str, float] = {
    "eV": 1.0,
    "Hartree": HARTREE,
    "Rydberg": RYDBERG,
    "kcal/mol": KCAL_PER_MOL,
    "kJ/mol": KJ_PER_MOL,
}
"""Size of each unit in eV."""
FORCE_UNITS: dict[str, float] = {
    "eV/Å": 1.0,
    "Hartree/Bohr": HARTREE / BOHR,
    "Rydberg/Bohr": RYDBERG / BOHR,
    "eV/Bohr": 1.0 / BOHR,
    "kcal/mol/Å": KCAL_PER_MOL,
    "kJ/mol/Å": KJ_PER_MOL,
}
"""Size of each unit in eV/Å."""
STRESS_UNITS: dict[str, float] = {
    "eV/Å^3": 1.0,
    "GPa": GPA,
    "kbar": KBAR,
    "Hartree/Bohr^3": HARTREE / BOHR**3,
    "Rydberg/Bohr^3": RYDBERG / BOHR**3,
}
"""Size of each unit in eV/Å^3."""
