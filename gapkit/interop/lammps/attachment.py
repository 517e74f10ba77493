"""The callback of LAMMPS: the model on the atoms of one rank."""

from __future__ import annotations

import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any

import numpy as np

from gapkit.exceptions import GapkitError
from gapkit.interop.lammps.halo import Halo
from gapkit.interop.lammps.library import mpi
from gapkit.potential.predictions import Predictions
from gapkit.potential.state import FittedState
from gapkit.typing import FloatArray, IntArray

FIX = "gapkit"
NOVELTY = "d_novelty"

# Kinds of errors in LAMMPS: of one rank, of all of them together.
_ERROR_ONE, _ERROR_ALL = 1, 2
# A formula that is none: its evaluation notes an error in LAMMPS, which quotes this name, and returns.
_NO_FORMULA = b"gapkit_failed_as_printed_above"


@dataclass(frozen=True, eq=False)
class Settings:
    """Options of `attach`; atomic numbers by type (n_types + 1,)."""

    numbers_of_type: IntArray
    per_atom: bool
    novelty_every: int
    n_jobs: int | None


@dataclass(eq=False)
class Work:
    """Work of one rank so far."""

    n_steps: int = 0  # evaluations
    n_builds: int = 0  # new neighbour lists
    n_local: int = 0  # local energies computed
    n_foreign: int = 0  # forces sent to other ranks
    seconds: float = 0.0  # wall time
    seconds_of_lists: float = 0.0
    seconds_of_exchange: float = 0.0  # sums over ranks, with the waiting for the slowest


class Attachment:
    """A model in a LAMMPS instance, made by `attach`.

    Attributes
    ----------
    energy : float
        Of all atoms at the last step, eV.
    virial : ndarray (3, 3)
        eV; the trace is positive under compression.
    novelty : float
        Largest of all atoms at the last look, over the threshold of the model; NaN before it.
    n_extrapolating : int
        Atoms with a novelty above 1 at the last look.
    work : Work
        Of this rank.
    error : BaseException or None
        Cause of the end of the last run.
    """

    def __init__(self, lmp: Any, state: FittedState, comm: Any | None, settings: Settings) -> None:
        self.energy = 0.0
        self.virial = np.zeros((3, 3))
        self.novelty = np.nan
        self.n_extrapolating = 0
        self.work = Work()
        self.error: BaseException | None = None
        self._lmp, self._state, self._comm, self._settings = lmp, state, comm, settings
        self._halo: Halo | None = None

    def __call__(self, caller: Any, step: int, n_local: int, tag: IntArray, x: FloatArray, forces: FloatArray) -> None:
        """The callback of ``fix external pf/callback``: fill `forces` (n_local, 3), eV/Å."""
        start = time.perf_counter()
        try:
            self._evaluate(step, forces)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  ctypes would print it and go on without forces
            self._end(step, error)
        self.work.seconds += time.perf_counter() - start

    def _evaluate(self, step: int, forces: FloatArray) -> None:
        lmp, work, every = self._lmp, self.work, self._settings.novelty_every
        if self._halo is None or lmp.extract_setting("neigh_ago") == 0:
            start = time.perf_counter()
            self._halo = Halo.of(lmp, self._settings.numbers_of_type, self._comm)
            work.n_builds += 1
            work.seconds_of_lists += time.perf_counter() - start
        halo = self._halo
        look = every > 0 and (step % every == 0 or lmp.get_thermo("elapsed") == 0)
        rows, local = np.zeros((len(halo.numbers), 3)), np.zeros(halo.n_owned)
        sums, largest = np.zeros(11), np.full(1, -np.inf)
        if halo.n_owned:
            found = self._predict(halo, look)
            rows, local = found.forces, found.local_energies[: halo.n_owned]
            sums[0], sums[1:10] = local.sum(), found.virial.ravel()
            if look:
                sums[10] = self._look(halo, found.novelty, largest)
        start = time.perf_counter()
        forces[: halo.n_owned] = halo.collect(rows)
        if self._comm is not None:
            self._comm.Allreduce(mpi().IN_PLACE, sums, mpi().SUM)
            if look:
                self._comm.Allreduce(mpi().IN_PLACE, largest, mpi().MAX)
        work.seconds_of_exchange += time.perf_counter() - start
        self.energy, self.virial = float(sums[0]), sums[1:10].reshape(3, 3)
        if not (np.isfinite(sums).all() and np.isfinite(forces).all()):
            raise GapkitError("energy or forces are not finite; look at the last positions, and at the time step")
        if look:
            self.novelty = float(largest[0]) if largest[0] > -np.inf else np.nan
            self.n_extrapolating = round(sums[10])
        self._tell(local, look)
        work.n_steps += 1
        work.n_local += halo.n_owned
        work.n_foreign += halo.n_foreign

    def _predict(self, halo: Halo, look: bool) -> Predictions:
        """The model on the rows of the rank, with the owned ones as centres."""
        batch, neighbours = halo.structure(self._lmp, self._state.reach)
        return self._state.predict(
            batch, neighbours, uncertainty="unseen" if look else "none",
            centres=np.arange(batch.n_atoms) < halo.n_owned, n_jobs=self._settings.n_jobs,
        )  # fmt: skip

    def _look(self, halo: Halo, found: FloatArray | None, largest: FloatArray) -> int:
        """Novelties (n_owned and more,) to LAMMPS, their largest, and the number of atoms beyond the threshold."""
        if found is None:  # `largest` stays: MPI's maximum of NaN and a number may be either
            novelty = np.full(halo.n_owned, np.nan)
        else:
            novelty = found[: halo.n_owned]
            largest[0] = np.max(novelty)
        if self._settings.per_atom:
            self._lmp.numpy.extract_atom(NOVELTY)[: halo.n_owned] = novelty
        return int(np.count_nonzero(novelty > 1.0))

    def _tell(self, local: FloatArray, look: bool) -> None:
        """Totals, the same on all ranks, and energies (n_owned,) of atoms to LAMMPS."""
        lmp, v = self._lmp, self.virial
        lmp.fix_external_set_energy_global(FIX, self.energy)
        lmp.fix_external_set_virial_global(FIX, [v[0, 0], v[1, 1], v[2, 2], v[0, 1], v[0, 2], v[1, 2]])
        if self._settings.per_atom:
            lmp.fix_external_set_energy_peratom(FIX, local)
        if look:
            for i, value in enumerate((self.novelty, self.n_extrapolating), start=1):
                lmp.fix_external_set_vector(FIX, i, value)

    def _end(self, step: int, error: BaseException) -> None:
        """End the run, and with several ranks all of them: no exception can go through the C++ code of LAMMPS."""
        self.error = error
        if not isinstance(error, (GapkitError, KeyboardInterrupt)):
            traceback.print_exception(error)
        kind = "interrupted" if isinstance(error, KeyboardInterrupt) else " ".join(str(error).split())
        text = f"gapkit at step {step}: {kind or type(error).__name__}"
        print(text, file=sys.stderr, flush=True)  # noqa: T201  LAMMPS may run without a screen
        lmp = self._lmp
        if self._comm is None and lmp.has_exceptions:
            # The run returns after this step, and the command that started it raises the error noted here.
            lmp.force_timeout()
            lmp.lib.lammps_eval(lmp.lmp, _NO_FORMULA)
        else:
            lmp.lib.lammps_error(lmp.lmp, _ERROR_ALL if self._comm is None else _ERROR_ONE, text.encode())
