"""Models and structures that a command line names, in their places."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zipfile import is_zipfile

from ase import Atoms

from gapkit.cli.console import say
from gapkit.exceptions import InputError
from gapkit.inputs import check_input
from gapkit.options import check_value
from gapkit.options.fit import FitConfig
from gapkit.options.values import slice_of_frames
from gapkit.potential import GAP, load
from gapkit.structures import read_frames


def files_of(names: Sequence[Path]) -> list[Path]:
    """The files of structures that are named, without ASE's @ and which frames."""
    return [_split(name)[0] for name in names]


def read_structures(names: Sequence[Path], *, quiet: bool = False) -> list[Atoms]:
    """The frames of all files one after another; of `file@::10` every tenth one.

    Of several files it is said which frames are of which, since messages count through all of them.
    """
    frames: list[Atoms] = []
    places = []
    for name in names:
        file, index = _split(name)
        if is_model(check_input(file, "the file of structures")):
            raise InputError(f"structures were expected, but {file} is a model; the model comes first, then structures")
        begin = len(frames)
        frames += read_frames(file, index)
        places.append(f"{begin} to {len(frames) - 1} of {name}")
    if len(names) > 1 and not quiet:
        say(f"Frames, counted from 0: {', '.join(places)}")
    return frames


def read_model(path: Path, structures: Sequence[Path] = (), n_jobs: int | None = None) -> GAP:
    """A model, with a number of threads for it; `structures` are what the user named after it."""
    if n_jobs is not None:
        n_jobs = check_value(FitConfig, "n_jobs", n_jobs, "`--n-jobs`")
    named = files_of([path])[0]
    if (
        named.is_file()
        and not is_model(named)
        and any(each.is_file() and is_model(each) for each in files_of(structures))
    ):
        raise InputError(f"the model comes first, then structures, but {path} is no model; swap them")
    file = check_input(path, "the model file")
    if file.suffix == ".xml":
        raise InputError(f"{path} is a model of QUIP; convert it first: gapkit convert {path} {path.stem}.gapkit")
    model = load(file)
    return model if n_jobs is None else model.set_params(n_jobs=n_jobs)


def is_model(file: Path) -> bool:
    """Whether a file is a model, damaged or not."""
    return file.suffix == ".gapkit" or (file.is_file() and is_zipfile(file))


def _split(name: Path) -> tuple[Path, slice]:
    """File and frames of a name with ASE's @; a file that is there is taken by its whole name."""
    file, at, which = str(name).rpartition("@")
    if not at or not file or name.exists():
        return name, slice(None)
    try:
        return Path(file), slice_of_frames(which)
    except ValueError as error:
        if Path(file).exists():
            raise InputError(f"what follows the @ of {name} must be {error}") from None
        return name, slice(None)
