"""Any ASE calculator as an energy term."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from threading import Lock
from typing import Any, ClassVar

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, FileIOCalculator, PropertyNotImplementedError
from ase.calculators.genericfileio import GenericFileIOCalculator

from gapkit.exceptions import InputError
from gapkit.io.registry import registered
from gapkit.neighbours import NeighbourList
from gapkit.options.checked import check_fields
from gapkit.structures import AtomsBatch
from gapkit.targets import from_voigt
from gapkit.terms.base import EnergyTerm, TermValues
from gapkit.typing import BoolArray, FloatArray

_ONE_AT_A_TIME = Lock()


@registered("EnergyTerm")
@dataclass(frozen=True)
class CalculatorTerm(EnergyTerm):
    """Energy, forces and stress of an ASE calculator.

    Local energies are the calculator's `energies`, or the energy shared evenly where it has none.  Virials are those of
    its stress; those of a frame without periodic directions follow from the forces.  A periodic frame has none if the
    calculator has no stress.

    Parameters
    ----------
    calculator : str or ase calculator
        Import path of its class, such as "ase.calculators.emt.EMT", by which a model file keeps it; not one that
        starts a program.  A calculator itself works too, but such a model cannot be saved.
    parameters : mapping
        Keyword arguments of the class: numbers, strings, booleans, lists and mappings of these.

    Raises
    ------
    InputError
        If the path is not one of a class, or a parameter is not plain.
    """

    is_potential: ClassVar[bool] = True
    reach: ClassVar[None] = None  # a calculator has neighbour lists of its own
    calculator: Any
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        given, parameters = self.calculator, self.parameters
        if isinstance(given, str):
            if not all(part.isidentifier() for part in given.split(".")) or "." not in given:
                raise InputError(f'`calculator` must be an import path like "ase.calculators.emt.EMT", got {given!r}')
        elif not isinstance(given, BaseCalculator):
            raise InputError(f"`calculator` must be an ASE calculator or its import path, got {type(given).__name__}")
        elif parameters:
            raise InputError("`parameters` must be empty where `calculator` is a calculator, which has its own")
        if not _is_plain(dict(parameters)):
            raise InputError(f"`parameters` must be numbers, strings, booleans, lists and mappings, got {parameters!r}")

    def __getstate__(self) -> dict[str, Any]:
        return self.get_params()

    def to_plain(self) -> dict[str, Any]:
        """Import path and parameters."""
        if not isinstance(self.calculator, str):
            name = type(self.calculator).__name__
            raise InputError(f"a model file cannot hold the calculator {name}; give its import path and parameters")
        return {"calculator": self.calculator, "parameters": dict(self.parameters)}

    @cached_property
    def _made(self) -> BaseCalculator:
        """The calculator, made when it is first needed: a model can be read where its package is missing."""
        if not isinstance(self.calculator, str):
            return self.calculator
        module, _, name = self.calculator.rpartition(".")
        try:
            found = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise InputError(f"`{self.calculator}` cannot be imported ({error}); install its package") from error
        if not (isinstance(found, type) and issubclass(found, BaseCalculator)):
            raise InputError(f"`{self.calculator}` must be a subclass of ASE's Calculator, got {found!r}")
        if issubclass(found, FileIOCalculator | GenericFileIOCalculator) or "command" in self.parameters:
            raise InputError(f"`{self.calculator}` starts a program, which no model file may do; pass it ready made")
        return found(**self.parameters)

    def evaluate(
        self, batch: AtomsBatch, neighbours: NeighbourList | None, *, centres: BoolArray | None = None,
        upstream: FloatArray | None = None, inputs: Mapping[str, FloatArray] | None = None,
    ) -> TermValues:  # fmt: skip
        if (centres is not None and not np.all(centres)) or (upstream is not None and not np.all(upstream == 1.0)):
            raise InputError("an ASE calculator has the gradient of all energies alone; leave CalculatorTerm out")
        local, forces = np.zeros(batch.n_atoms), np.zeros((batch.n_atoms, 3))
        virials = np.zeros((batch.n_frames, 3, 3))
        for frame in range(batch.n_frames):
            which = slice(batch.offsets[frame], batch.offsets[frame + 1])
            if which.start < which.stop:
                numbers, positions = batch.numbers[which], batch.positions[which]
                atoms = Atoms(numbers, positions, cell=batch.cells[frame], pbc=batch.pbc[frame])
                with _ONE_AT_A_TIME:
                    local[which], forces[which], virials[frame] = _properties(self._made, atoms)
        return TermValues(local, forces, virials)


def _properties(calculator: BaseCalculator, atoms: Atoms) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Local energies (n_atoms,), forces (n_atoms, 3) and virial (3, 3) of a structure."""
    energy = float(calculator.get_potential_energy(atoms))
    forces = np.array(calculator.get_forces(atoms), float)
    local = np.zeros(len(atoms))
    if "energies" in calculator.implemented_properties:
        local += calculator.get_property("energies", atoms)
    local += (energy - local.sum()) / len(atoms)
    if not atoms.pbc.any():  # W = -dE/d(strain) = sum_i f_i r_i^T
        return local, forces, forces.T @ (atoms.positions - atoms.positions.mean(axis=0))
    virial = np.full((3, 3), np.nan)
    if "stress" in calculator.implemented_properties:
        with suppress(PropertyNotImplementedError, ValueError):  # where the cell is not three-dimensional
            virial = -from_voigt(np.asarray(calculator.get_stress(atoms), float)) * atoms.get_volume()
    return local, forces, virial


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
