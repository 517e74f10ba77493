"""`gapkit lammps`: an input script of LAMMPS with a fitted potential, on one rank or under mpirun."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from gapkit.cli.console import EXIT_BAD_INPUT, EXIT_INTERRUPTED
from gapkit.cli.inputs import is_model, read_model
from gapkit.exceptions import GapkitError, InputError
from gapkit.inputs import read_input
from gapkit.interop.lammps import Attachment, attach, require_lammps, run_script, split_script
from gapkit.interop.lammps.library import world
from gapkit.potential import GAP


def run(script: Path, model: Path, arguments: Sequence[str], types: str | None, options: Mapping[str, Any]) -> None:
    """Run `script`, a LAMMPS input without a potential, with `model`; `arguments` are LAMMPS', `options` of `attach`.

    An input that cannot be used is an error on the first rank only; the others end without a word.
    """
    lammps = require_lammps()
    comm = world()
    text, potential = _read_together(script, model, comm)
    lmp = lammps.lammps(cmdargs=list(arguments))
    attached: list[Attachment] = []
    names = None if types is None else [name.strip() for name in types.split(",")]
    try:
        run_script(lmp, text, lambda: attached.append(attach(lmp, potential, names, **options)))
    except GapkitError:
        _first_rank_only(comm)
        raise
    except Exception as error:
        # Errors of LAMMPS, printed by it, come as plain exceptions; those of the model too, printed by `Attachment`.
        own = attached[0].error if attached else None
        if own is None and type(error) is not Exception and type(error).__module__ != "lammps.core":
            if comm is not None:
                traceback.print_exc()
                comm.Abort(1)  # the others would wait for this rank
            raise
        code = EXIT_INTERRUPTED if isinstance(own, KeyboardInterrupt) else EXIT_BAD_INPUT
        if comm is not None and type(error) is not Exception:
            comm.Abort(code)  # an error of this rank alone
        raise typer.Exit(code) from error
    lmp.close()


def _read_together(script: Path, model: Path, comm: Any | None) -> tuple[str, GAP]:
    """Script and model; if one rank cannot read them, all end."""
    error: Exception | None = None
    try:
        text, potential = _text_of(script), read_model(model)
        split_script(text)
    except (GapkitError, OSError) as found:
        error = found
    if comm is not None:
        error = next((item for item in comm.allgather(error) if item is not None), None)
    if error is not None:
        _first_rank_only(comm)
        raise error
    return text, potential


def _text_of(script: Path) -> str:
    content = read_input(script, "the input script of LAMMPS")
    try:
        return content.decode()
    except UnicodeDecodeError:
        also = ", it is a model, which follows --model" if is_model(script) else ""
        raise InputError(f"{script} must be an input script of LAMMPS, but it is no text{also}") from None


def _first_rank_only(comm: Any | None) -> None:
    """End all ranks but the first without a message, which would be the same."""
    if comm is not None and comm.rank > 0:
        raise typer.Exit(EXIT_BAD_INPUT)
