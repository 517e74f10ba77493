"""The one table of targets: what a model learns from, and what users see of it.

========  ==========  =========  ====  ==========================================================================
name      label       per        unit  sign and meaning
========  ==========  =========  ====  ==========================================================================
energy    scalar      frame      eV    total energy
forces    (3,)        atom       eV/Å  F = -dE/dr
virial    (3, 3)      frame      eV    W = -dE/d(strain), symmetric; six components in Voigt order
========  ==========  =========  ====  ==========================================================================

========  ========  ===============  ============================  ==============================================
target    shown as  unit             noise                         equation
========  ========  ===============  ============================  ==============================================
energy    energy    eV/atom          sigma sqrt(N), sigma eV/atom  E / N
forces    forces    eV/Å             sigma, eV/Å                   F
virial    stress    eV/Å^3           sigma sqrt(N), sigma eV/atom  -W / V, ASE's sign: positive under tension
========  ========  ===============  ============================  ==============================================

Voigt order is ASE's: xx, yy, zz, yz, xz, xy.  A new target is a row of `TARGETS` and the linear functional that makes
its design rows, in `gapkit.gp.rows.FUNCTIONALS`: labels, noise, evidence, residuals, calibration, files follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

VOIGT = (np.array([0, 1, 2, 1, 0, 0]), np.array([0, 1, 2, 2, 2, 1]))
"""Row and column of a symmetric tensor for each Voigt component: ``tensor[..., *VOIGT]``."""
_COMPONENT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])


def to_voigt(tensor: NDArray[np.float64]) -> NDArray[np.float64]:
    """Voigt components (..., 6) of symmetric tensors (..., 3, 3)."""
    return tensor[..., VOIGT[0], VOIGT[1]]


def from_voigt(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Symmetric tensors (..., 3, 3) of Voigt components (..., 6)."""
    return vector[..., _COMPONENT]


@dataclass(frozen=True)
class Shown:
    """What users see of a target: predictions, errors and error bars.

    Attributes
    ----------
    name : str
        Of the quantity, such as "stress".
    title : str
        Plural for axes and tables, such as "stress components".
    unit : str
        Such as "eV/Å^3".
    per : "atom", "volume" or None
        What the target of a frame is divided by.
    sign : int
        1, or -1 where the quantity has the other sign.
    printed_unit, printed_factor, digits : str, float, int
        Unit of printed errors, how many of it make one `unit`, and their decimals.
    """

    name: str
    title: str
    unit: str
    per: Literal["atom", "volume"] | None = None
    sign: int = 1
    printed_unit: str = ""
    printed_factor: float = 1.0
    digits: int = 4

    def printed(self, error: float) -> str:
        """An error in `printed_unit`, without it."""
        return f"{error * self.printed_factor:.{self.digits}f}"

    def factor(self, n_atoms: NDArray[np.int64], volumes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Quantity per target (n_frames,), from atoms and volumes (Å^3, NaN without a cell) of the frames."""
        if self.per is None:
            return np.full(len(n_atoms), float(self.sign))
        return self.sign / (n_atoms if self.per == "atom" else volumes)


@dataclass(frozen=True)
class Target:
    """A label that a model can be fitted to: one row of the table.

    Attributes
    ----------
    name : str
    unit : str
    per_atom : bool
        Whether every atom has the label, or every frame.
    shape : tuple of int
        Of one label: () for a scalar, (3,) for a vector, (3, 3) for a symmetric tensor.
    grows : bool
        Whether the noise of a frame of N atoms is sigma sqrt(N), as for a sum of N independent contributions.
    noise : float
        Global sigma where an optimisation starts, such as is common for densely sampled condensed phases.
    sigma : str
        Name of the label's own standard deviation.  Default: the target's name and "_sigma".
    mask : str
        Name of the mask of atoms whose label is left out.  Default: the target's name and "_mask".
    shown : Shown
        Default: the target as it is.
    """

    name: str
    unit: str
    per_atom: bool
    shape: tuple[int, ...] = ()
    grows: bool = False
    noise: float = 1.0
    sigma: str = ""
    mask: str = ""
    shown: Shown = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        shown = self.shown or Shown(self.name, self.name, self.unit, printed_unit=self.unit)
        defaults = {"sigma": f"{self.name}_sigma", "mask": f"{self.name}_mask", "shown": shown}
        for name, value in defaults.items():
            object.__setattr__(self, name, getattr(self, name) or value)

    @property
    def has(self) -> str:
        """Name of the mask of labels that are there."""
        return f"has_{self.name}"

    @property
    def components(self) -> int:
        """Independent components: 1, 3 or 6."""
        return {(): 1, (3,): 3, (3, 3): 6}[self.shape]

    @property
    def noise_unit(self) -> str:
        """Unit of the global sigma."""
        return f"{self.unit}/atom" if self.grows else self.unit

    def length(self, n_frames: int, n_atoms: int) -> int:
        """Number of labels of a batch."""
        return n_atoms if self.per_atom else n_frames

    def span(self, offsets: NDArray[np.int64], start: int, stop: int) -> slice:
        """Labels of the frames start .. stop - 1; the atoms of frame f are offsets[f] .. offsets[f + 1] - 1."""
        return slice(int(offsets[start]), int(offsets[stop])) if self.per_atom else slice(start, stop)

    def to_components(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Independent components (n, c) of labels (n, *shape)."""
        return to_voigt(values) if len(self.shape) == 2 else values.reshape(-1, self.components)

    def from_components(self, components: NDArray[np.float64]) -> NDArray[np.float64]:
        """Labels (n, *shape) of their components (n, c)."""
        return from_voigt(components) if len(self.shape) == 2 else components.reshape(-1, *self.shape)


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            "energy", "eV", per_atom=False, grows=True, noise=1e-3,
            shown=Shown("energy", "energies", "eV/atom", "atom", printed_unit="meV/atom", printed_factor=1e3, digits=2),
        ),
        Target(
            "forces", "eV/Å", per_atom=True, shape=(3,), noise=0.1, sigma="force_sigma", mask="force_mask",
            shown=Shown("forces", "force components", "eV/Å", printed_unit="eV/Å"),
        ),
        Target(
            "virial", "eV", per_atom=False, shape=(3, 3), grows=True, noise=0.05,
            shown=Shown(
                "stress", "stress components", "eV/Å^3", "volume", -1, printed_unit="meV/Å³", printed_factor=1e3,
                digits=3,
            ),
        ),
    )
}  # fmt: skip
"""Targets by name, in the order in which rows are stacked."""


def shown_quantities() -> dict[str, Shown]:
    """What users see of each target, by name: energy, forces, stress."""
    return {target.shown.name: target.shown for target in TARGETS.values()}
