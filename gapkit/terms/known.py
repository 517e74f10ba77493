"""The energy that is not learned: reference energies of the atoms and any number of energy terms."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from ase.data import chemical_symbols

from gapkit.exceptions import InputError
from gapkit.gp.chunks import frame_chunks
from gapkit.io.values import ELEMENTS, Number
from gapkit.neighbours import NeighbourList, build_neighbour_list
from gapkit.structures import AtomsBatch
from gapkit.targets import TARGETS
from gapkit.terms.base import EnergyTerm, TermValues
from gapkit.typing import BoolArray, FloatArray

# No atom of any code has a larger one, eV.
REFERENCE_ENERGY = Number(-1e9, 1e9)
NUMBER_OF_ATOM = Number(1, ELEMENTS, whole=True)
# Atoms whose neighbours are listed together.
_ATOMS_AT_ONCE = 2000


@dataclass(frozen=True, eq=False)
class KnownEnergy:
    """E = sum_i e0[Z_i] + sum over terms; subtracted from the labels before the fit, added back in prediction.

    Attributes
    ----------
    reference : mapping of int to float
        Reference energies e0 in eV by atomic number.
    terms : tuple of EnergyTerm
        A term may need quantities of atoms that terms before it provide.

    Raises
    ------
    InputError
        If two terms provide the same quantity.
    """

    reference: Mapping[int, float] = field(default_factory=dict)
    terms: tuple[EnergyTerm, ...] = ()
    _of_batches: MutableMapping[Any, dict[str, FloatArray]] = field(default_factory=WeakKeyDictionary, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reference, self.terms)

    def __post_init__(self) -> None:
        for z, energy in self.reference.items():
            NUMBER_OF_ATOM.check(z, "atomic number of a reference energy")
            REFERENCE_ENERGY.check(energy, f"reference energy of {chemical_symbols[z]}")
        names = [term.provides for term in self.terms if term.provides is not None]
        if len(set(names)) < len(names):
            raise InputError(f"`terms` must provide each quantity once, got {', '.join(names)}")

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers that have a reference energy, ascending."""
        return tuple(sorted(self.reference))

    @property
    def reach(self) -> float:
        """Longest finite reach of the terms, Å; 0 without any."""
        return max((term.reach for term in self.terms if term.reach is not None), default=0.0)

    @property
    def is_local(self) -> bool:
        """Whether the local energy of an atom follows from its neighbours alone."""
        return all(term.is_local for term in self.terms)

    def reference_energies(self, batch: AtomsBatch) -> FloatArray:
        """e0 (n_atoms,) of the atoms, eV."""
        table = np.zeros(max(self.reference, default=0) + 1)
        table[list(self.reference)] = list(self.reference.values())
        return table[batch.numbers]

    def evaluate(
        self, batch: AtomsBatch, neighbours: NeighbourList | None, *, centres: BoolArray | None = None,
        upstream: FloatArray | None = None, inputs: Mapping[str, FloatArray] | None = None,
    ) -> TermValues:  # fmt: skip
        """Sum of reference energies and terms; parameters are those of `EnergyTerm.evaluate`.

        Gradients with respect to a quantity that a term provides go through that term (chain rule); those with respect
        to `inputs` are returned.

        Raises
        ------
        InputError
            If a quantity is missing, or `centres` or `upstream` asks for local energies that a term does not have.
        """
        local = self.reference_energies(batch)
        if centres is not None:
            local[~centres] = 0.0
        forces, virials = np.zeros((batch.n_atoms, 3)), np.zeros((batch.n_frames, 3, 3))
        quantities: dict[str, FloatArray] = dict(inputs or {})
        gradients: dict[str, FloatArray] = {}
        providers = [term for term in self.terms if term.provides is not None]
        for term in providers:
            found = term.evaluate(batch, neighbours, inputs=_needed(term, quantities))
            quantities[str(term.provides)] = found.local_energies

        def add(term: EnergyTerm, centres: BoolArray | None, upstream: FloatArray | None) -> FloatArray:
            needed = _needed(term, quantities)
            found = term.evaluate(batch, neighbours, centres=centres, upstream=upstream, inputs=needed)
            forces[:] += found.forces
            virials[:] += found.virials
            for name, gradient in found.input_gradients.items():
                gradients[name] = gradients[name] + gradient if name in gradients else gradient
            return found.local_energies

        for term in self.terms:
            if term.provides is None:
                local += add(term, centres, upstream)
        for term in reversed(providers):
            gradient = gradients.pop(str(term.provides), None)
            if gradient is not None:
                add(term, None, gradient)
        return TermValues(local, forces, virials, gradients)

    def targets(self, batch: AtomsBatch) -> dict[str, FloatArray]:
        """The known part of the labels: energy (n_frames,), forces (n_atoms, 3), virial (n_frames, 3, 3).

        Raises
        ------
        InputError
            If a frame has a virial label and a term has no virial for it.
        """
        energy = np.bincount(batch.frame_of_atom, self.reference_energies(batch), batch.n_frames).astype(np.float64)
        found = self._of_terms(batch)
        if batch.labels is not None and np.isnan(found["virial"][batch.labels.has_virial]).any():
            lacks = "a calculator among `energy_terms` has no stress, which some frames have"
            raise InputError(f"{lacks}; leave the stresses out, or use a calculator with stress")
        return {name: found[name] + (energy if name == "energy" else 0.0) for name in TARGETS if name in found}

    def energies_of_potentials(self, batch: AtomsBatch) -> FloatArray:
        """Energies (n_frames,) in eV of the terms that have a zero of energy of their own."""
        if not any(term.is_potential for term in self.terms):
            return np.zeros(batch.n_frames)
        return self._of_terms(batch)["potentials"]

    def _of_terms(self, batch: AtomsBatch) -> dict[str, FloatArray]:
        """`targets` of the terms alone; kept as long as the batch, as a term may be expensive."""
        if batch in self._of_batches:
            return self._of_batches[batch]
        zeros = dict.fromkeys(batch.species, 0.0)
        potentials, others = (tuple(t for t in self.terms if t.is_potential is which) for which in (True, False))
        energies = np.zeros((2, batch.n_frames))
        forces, virial = np.zeros((batch.n_atoms, 3)), np.zeros((batch.n_frames, 3, 3))
        for frames in frame_chunks(batch, _ATOMS_AT_ONCE) if self.terms else ():
            part, which = batch.select(np.asarray(frames)), slice(frames.start, frames.stop)
            neighbours = build_neighbour_list(part, self.reach) if self.reach else None
            for energy, terms in zip(energies, (potentials, others), strict=True):
                found = KnownEnergy(zeros, terms).evaluate(part, neighbours)
                energy[which] = np.bincount(part.frame_of_atom, found.local_energies, part.n_frames)
                forces[batch.offsets[frames.start] : batch.offsets[frames.stop]] += found.forces
                virial[which] += 0.5 * (found.virials + found.virials.transpose(0, 2, 1))
        values = {"energy": energies.sum(axis=0), "forces": forces, "virial": virial, "potentials": energies[0]}
        self._of_batches[batch] = values
        return values


def as_energy_terms(given: EnergyTerm | Sequence[EnergyTerm]) -> tuple[EnergyTerm, ...]:
    """One term or several; InputError if one is no EnergyTerm."""
    terms = tuple(given) if isinstance(given, Sequence) else (given,)
    for term in terms:
        if not isinstance(term, EnergyTerm) or isinstance(term, type):
            raise InputError(f"`energy_terms` must be of the class EnergyTerm, such as ZBL(), got {term!r}")
    return terms


def _needed(term: EnergyTerm, quantities: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    missing = [name for name in term.needs if name not in quantities]
    if missing:
        needed = f"{type(term).__name__} needs {' and '.join(missing)} of the atoms"
        raise InputError(f"{needed}, which no term before it provides; add one to `energy_terms`, or give `inputs`")
    return {name: quantities[name] for name in term.needs}
