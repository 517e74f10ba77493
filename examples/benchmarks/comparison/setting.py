"""The setting of every fit: that published for silicon (Zuo et al., J. Phys. Chem. A 124, 731 (2020))."""

from __future__ import annotations

SOAP = {"cutoff": 5.4, "n_max": 8, "l_max": 8, "sigma": 0.5}
TRANSITION, ZETA = 0.5, 4
SIGMA_ENERGY, SIGMA_FORCES = 0.0005, 0.1  # eV/atom, eV/Å; stresses are left out
