"""Attach a fitted potential to a running LAMMPS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gapkit.descriptors.species import atomic_numbers, check_species
from gapkit.exceptions import InputError, NotFittedModelError
from gapkit.interop.lammps.attachment import FIX, NOVELTY, Attachment, Settings
from gapkit.interop.lammps.library import communicator
from gapkit.options.checked import checked
from gapkit.options.kinds import Jobs, PathLike, Positive, Whole
from gapkit.potential import GAP, load
from gapkit.potential.state import FittedState, state_of
from gapkit.typing import IntArray

ATOMS, HALT = f"{FIX}_atoms", f"{FIX}_halt"


@checked
def attach(
    lmp: Any, model: GAP | PathLike, types: Sequence[str | int] | None = None, *, per_atom: bool = True,
    halt_on_novelty: Positive | None = None, novelty_every: Whole | None = None, n_jobs: Jobs | None = 1,
) -> Attachment:  # fmt: skip
    """Make a fitted potential the pair style of a LAMMPS instance.

    Call it once the box exists, on all ranks, and before fixes that change forces, such as ``fix setforce``.  It makes
    a ``pair_style zero`` with the reach of the model and a ``fix gapkit all external`` with its energy, forces and
    virial.  A rank computes the local energies of its own atoms; forces on atoms of other ranks are sent to these.

    Parameters
    ----------
    lmp : lammps.lammps
        With ``units metal``, from `require_lammps`, which also loads MPI.
    model : GAP or path
        Fitted, or the file of one.
    types : sequence of str or int, or None
        Chemical symbol or atomic number of each atom type; None: the one species of the model.
    per_atom : bool
        Energies of atoms for ``compute pe/atom``, and for dumps ``d_novelty`` (over the threshold of the model: above 1
        is unlike the training set; NaN where it has none).
    halt_on_novelty : float or None
        Novelty of any atom above which the run ends, by ``fix halt error soft``: later run commands of the
        script are left out.
    novelty_every : int or None
        Steps between looks at the novelty, which make a step a third longer; 0: none.  None: 10 with `per_atom` or
        `halt_on_novelty`, otherwise 0.  The first step of a run is looked at too.
    n_jobs : int or None
        Threads of each rank; None: all cores, which suits a single rank.

    Returns
    -------
    Attachment
        Results and counters.  In scripts ``f_gapkit`` is the energy, ``f_gapkit[1]`` the largest novelty, and
        ``f_gapkit[2]`` the number of atoms where it is above 1.

    Raises
    ------
    InputError
        If there is no box, units are not metal, a pair style or bonds are there, types do not match those of LAMMPS, an
        energy term is of long range, or mpi4py is missing with several ranks.
    UnknownSpeciesError
        If the model was not fitted to a species among the types.
    NotFittedModelError
        If the model is not fitted, or has no thresholds to halt on.

    Notes
    -----
    An error inside a step is printed; a single rank raises after it, several ranks are all ended.  Virials of single
    atoms are not computed: ``compute stress/atom`` and ``compute heat/flux`` lack those of the model.
    """
    fitted = model if isinstance(model, GAP) else load(model)
    state = state_of(fitted)
    if not state.known.is_local:
        raise InputError("LAMMPS cannot have energy terms of long range; fit without them, or run with GAPCalculator")
    every = _check_novelty(state, per_atom, halt_on_novelty, novelty_every)
    _check_instance(lmp)
    settings = Settings(_numbers_of_type(lmp, state.species, types), per_atom, every, n_jobs)
    comm = communicator(lmp)
    check_layers(state.sparse.basis.n_layers, 1 if comm is None else comm.size)
    attachment = Attachment(lmp, state, comm, settings)
    lmp.command(f"pair_style zero {state.reach:.17g} full")
    lmp.command("pair_coeff * *")
    lmp.command(f"fix {FIX} all external pf/callback 1 1")
    lmp.set_fix_external_callback(FIX, attachment, None)
    lmp.fix_external_set_vector_length(FIX, 2)
    if per_atom and every:
        lmp.command(f"fix {ATOMS} all property/atom {NOVELTY} writedata no")
    if halt_on_novelty is not None:
        lmp.command(f"variable {HALT} equal f_{FIX}[1]")
        lmp.command(f"fix {HALT} all halt {every} v_{HALT} > {halt_on_novelty:.17g} error soft message yes")
    return attachment


def check_layers(n_layers: int, n_ranks: int) -> None:
    """Raise InputError where vectors of a rank's atoms depend on edges that it does not know."""
    if n_layers > 1 and n_ranks > 1:
        remedy = f"run on one rank instead of {n_ranks}, with more threads"
        raise InputError(f"ranks know one hop of neighbours, and the model looks {n_layers} hops far; {remedy}")


def _check_novelty(state: FittedState, per_atom: bool, limit: float | None, every: int | None) -> int:
    """Steps between looks at the novelty."""
    if every is None:
        every = 10 if per_atom or limit is not None else 0
    if limit is None:
        return every
    if every == 0:
        raise InputError("`halt_on_novelty` needs `novelty_every` > 0, got 0; 10 is usual")
    if state.detector is None or not state.detector.species:
        remedy = 'fit the model with a SOAP term and `calibration="leave-one-out"` (the default)'
        raise NotFittedModelError(f"`halt_on_novelty` needs thresholds of novelty; {remedy}")
    return every


def _check_instance(lmp: Any) -> None:
    if not lmp.extract_setting("box_exist"):
        raise InputError("`attach` needs a simulation box, there is none yet; call it after create_box or read_data")
    units, pair = lmp.extract_global("units"), lmp.extract_global("pair_style")
    if units != "metal":
        raise InputError(f"`lmp` must have units metal (eV, Å, ps), got {units}; begin the script with `units metal`")
    if lmp.has_id("fix", FIX):
        raise InputError("`lmp` has a model already; attach the other one to a new instance, or after `clear`")
    if pair != "none":
        raise InputError(f"`lmp` must have no pair style, got {pair}; leave out pair_style and pair_coeff")
    if bonds := lmp.extract_global("nbonds"):
        raise InputError(
            f"LAMMPS leaves bonded pairs out of its list, got {bonds} bonds; use atom_style atomic or charge"
        )


def _numbers_of_type(lmp: Any, species: Sequence[int], types: Sequence[str | int] | None) -> IntArray:
    """Atomic numbers by type, (n_types + 1,)."""
    n_types = lmp.extract_setting("ntypes")
    if types is None:
        if len(species) != 1:
            raise InputError(f"`types` must name the species of the {n_types} atom types, as the model knows several")
        types = [species[0]] * n_types
    if len(types) != n_types:
        raise InputError(f"`types` must name the species of each of the {n_types} atom types, got {types!r}")
    numbers = atomic_numbers(types)
    check_species(numbers, species)
    return np.array([0, *numbers])
