"""The protocol of an energy term: what adds to the energy beside the Gaussian process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol, runtime_checkable

from gapkit.neighbours import NeighbourList
from gapkit.structures import AtomsBatch
from gapkit.typing import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class TermValues:
    """A term evaluated on a batch.

    Attributes
    ----------
    local_energies : ndarray (n_atoms,)
        eV, e_i; zero for atoms outside the mask.
    forces : ndarray (n_atoms, 3)
        eV/Å, -d(sum_i u_i e_i)/dr, u the upstream factors.
    virials : ndarray (n_frames, 3, 3)
        eV, of the same sum; NaN where the term has none.
    input_gradients : mapping of str to ndarray (n_atoms,)
        d(sum_i u_i e_i)/dx for each quantity x that the term needs.
    """

    local_energies: FloatArray
    forces: FloatArray
    virials: FloatArray
    input_gradients: Mapping[str, FloatArray] = field(default_factory=dict)


@runtime_checkable
class EnergyTerm(Protocol):
    """A part of the energy with its derivatives; subclasses are frozen dataclasses of plain parameters.

    Attributes
    ----------
    needs : tuple of str
        Quantities of atoms, such as "charges", that another term provides or the caller gives as `inputs`.
    provides : str or None
        The quantity that the term predicts in place of an energy: its `local_energies` are then values of it, in its
        own unit, and add nothing to the energy.
    is_potential : bool
        Whether it is a potential with a zero of energy of its own: reference energies are found from what it leaves.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    provides: ClassVar[str | None] = None
    is_potential: ClassVar[bool] = False

    @property
    def reach(self) -> float | None:
        """Longest edge that the term needs, Å; None for long range, which needs no neighbour list."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether the local energy of an atom follows from its neighbours alone."""
        return self.reach is not None and not self.needs

    def evaluate(
        self, batch: AtomsBatch, neighbours: NeighbourList | None, *, centres: BoolArray | None = None,
        upstream: FloatArray | None = None, inputs: Mapping[str, FloatArray] | None = None,
    ) -> TermValues:  # fmt: skip
        """Energies, forces and virials of a batch.

        Parameters
        ----------
        neighbours : NeighbourList or None
            Reaches at least as far as the term; longer edges are skipped.  None for a term of long range.
        centres : ndarray (n_atoms,) of bool, or None
            Atoms whose local energies are wanted; forces and virials are derivatives of the sum of these.
        upstream : ndarray (n_atoms,) or None
            Factors u_i of the local energies in forces, virials and gradients; None: 1.
        inputs : mapping of str to ndarray (n_atoms,) or None
            Values of the quantities that the term `needs`.

        Raises
        ------
        InputError
            If the term has no local energies and `centres` or `upstream` asks for some of them.
        """
        ...

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Arguments that make it again."""
        return {item.name: getattr(self, item.name) for item in fields(self)}  # type: ignore[arg-type]
