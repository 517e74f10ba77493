"""`gapkit fit`: everything that can go wrong cheaply is tried before the fit."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from ase import Atoms

from gapkit.cli.build import build_estimator
from gapkit.cli.console import say, show, show_json
from gapkit.cli.inputs import files_of, read_structures
from gapkit.exceptions import ConfigError, DataError, OutputError, UnknownSpeciesError
from gapkit.inputs import files_named
from gapkit.io.atomic import check_output
from gapkit.options.fit import FitConfig
from gapkit.potential import GAP
from gapkit.potential.defaults import default_terms
from gapkit.structures import LabelKeys, to_batch
from gapkit.validation import evaluate


def run(train: Sequence[Path], config: FitConfig, file: Path | None = None) -> None:
    """Fit, save, then print what was fitted and its errors on the test structures; `file` is that of the options.

    What the data hold is told before the fit, with its progress.
    """
    if config.output is None:
        raise ConfigError("no file to write the model to; give --output FILE")
    output = Path(config.output)
    test = [Path(config.test)] if config.test is not None else []
    model = build_estimator(config)
    inputs = [*files_of([*train, *test]), file, *files_named((config.terms or (), config.energy_terms or ()))]
    check_output(output, *inputs)
    if config.checkpoint is not None:
        check_output(config.checkpoint, *inputs, output)
    frames = read_structures(train, quiet=config.quiet)
    if config.terms is None and config.cutoff is not None:
        model.set_params(terms=default_terms(to_batch(frames, labels=False), config.cutoff))
    test_frames = read_structures(test) if test else None
    if test_frames is not None:
        _check_test(test_frames, frames, model.label_keys, config.test)
    check_output(output)  # again, for now all inputs are known
    with _cluster(config.scheduler) as client:
        model.fit(frames, client=client, checkpoint=config.checkpoint)
    model.metadata_["config"] = config.to_dict()
    _save(model, output)
    errors = evaluate(model, test_frames, model.label_keys) if test_frames is not None else None
    if config.json:
        show_json({"model": str(output), "n_train": len(frames), "test": errors.to_dict() if errors else None})
    elif not config.quiet:
        show(model.summary())
        if errors is not None:
            show(f"Errors on {config.test}:")
            show(errors)
    if not config.quiet:
        say(f"Wrote {output}")


def _save(model: GAP, output: Path) -> None:
    """Save the model, in one step: an older file stays until the new one is complete.

    Where the system refuses that by now, such as a full disk, the model goes to the folder for temporary files.
    """
    try:
        model.save(output)
    except OutputError as error:
        elsewhere = _save_elsewhere(model)
        if elsewhere is None:
            raise
        raise OutputError(f"{error}; the model is not lost: it is in {elsewhere}, copy it from there") from error


def _save_elsewhere(model: GAP) -> Path | None:
    """A new file of the model in the folder for temporary files, None if there is no place either."""
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix="gapkit-"))
        model.save(folder / "model.gapkit")
    except OSError:
        if folder is not None:
            folder.rmdir()
        return None
    return folder / "model.gapkit"


def _cluster(scheduler: str | None) -> AbstractContextManager[Any]:
    """A client of a Dask scheduler; None where there is no address."""
    if scheduler is None:
        return nullcontext()
    try:
        from gapkit.interop.dask import connect
    except ImportError as error:
        raise ConfigError(f"--scheduler needs dask.distributed ({error}); pip install 'gapkit[dask]'") from error
    client: AbstractContextManager[Any] = connect(scheduler)
    return client


def _check_test(test_frames: list[Atoms], frames: list[Atoms], keys: LabelKeys | None, path: str | None) -> None:
    if not any(has.any() for has in to_batch(test_frames, keys=keys).all_labels.has.values()):
        found = f"none of the {len(test_frames)} frames of {path} has a label to test on"
        raise DataError(f"{found}; name the keys (--energy-key, --forces-key, --stress-key) or leave out --test")
    known = {symbol for atoms in frames for symbol in atoms.get_chemical_symbols()}
    for number, atoms in enumerate(test_frames):
        unknown = sorted(set(atoms.get_chemical_symbols()) - known)
        if unknown:
            found = f"frame {number} of {path} holds {', '.join(unknown)}, which no training frame does"
            raise UnknownSpeciesError(f"{found}; remove it, or add it to the training structures")
