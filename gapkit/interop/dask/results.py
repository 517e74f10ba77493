"""Predictions and errors on the workers of a cluster."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Literal

import numpy as np
from ase import Atoms
from distributed import Client

from gapkit.exceptions import DataError
from gapkit.gp.variance.targets import TargetVariances
from gapkit.interop.dask.connect import as_paths, given, submit
from gapkit.options.checked import checked
from gapkit.options.kinds import Fraction, PathLike
from gapkit.potential import GAP, Predictions
from gapkit.potential.error_bars.standard_deviations import Std
from gapkit.potential.state import state_of
from gapkit.structures import LabelKeys, read_frames, to_batch
from gapkit.targets import TARGETS, Target
from gapkit.validation import Comparison, ErrorTable, Pairs, compare

# Atoms of a task: seconds of work.
ATOMS_PER_TASK = 2000


@checked
def predict(
    model: GAP, frames: Sequence[Atoms] | Sequence[PathLike], client: Client,
    return_std: bool | Literal["local"] = False, *, std: Std | None = None, interval: Fraction | None = None,
) -> Predictions:  # fmt: skip
    """What ``model.predict`` gives for frames, or for all frames of files that the workers read, computed on these.

    Options are those of `GAP.predict`.
    """
    options = {"return_std": return_std, "std": std, "interval": interval}
    return join_predictions(_run(model, frames, client, predict_part, options))


@checked
def evaluate(
    model: GAP, frames: Sequence[Atoms] | Sequence[PathLike], client: Client, keys: LabelKeys | None = None
) -> ErrorTable:
    """What `gapkit.validation.evaluate` gives for labelled frames or files, computed on the workers.

    Labels are under `keys`; None: where the model found those that it was fitted to.

    Raises
    ------
    DataError
        If a label is unusable, or no frame has any.
    """
    found = join_comparisons(_run(model, frames, client, compare_part, {"keys": keys}))
    if not found.labelled:
        raise DataError(f"none of the {len(found.n_atoms)} frames has a label to compare with; name them in `keys`")
    return found.errors()


def _run(model: GAP, frames: Any, client: Client, task: Any, options: dict[str, Any]) -> list[Any]:
    """Results of a task for all parts of the frames, in order."""
    state_of(model)
    parts: list[Any] = as_paths(frames) or _chunks(frames)
    sent = submit(client, given, _light(model))
    tasks = [submit(client, task, sent, part, options) for part in parts]
    results: list[Any] = client.gather(tasks)
    return results


def _light(model: GAP) -> GAP:
    """A copy without factors and cached plans, which prediction does not need."""
    state = model.state_
    light = model.with_state(replace(state, sparse=replace(state.sparse), factors=None, rows=None))
    light.n_jobs, light.progress, light.report_ = 1, False, None
    return light


def _chunks(frames: Sequence[Atoms]) -> list[list[Atoms]]:
    batch = to_batch(frames, labels=False)  # also checks them
    listed = [frames] if batch.n_frames == 1 and not isinstance(frames, Sequence) else list(frames)
    parts: list[list[Atoms]] = []
    for atoms in listed:
        if not parts or sum(map(len, parts[-1])) >= ATOMS_PER_TASK:
            parts.append([])
        parts[-1].append(atoms)
    return parts


def predict_part(model: GAP, frames: list[Atoms] | str, options: dict[str, Any]) -> Predictions:
    """One task of `predict`."""
    return model.predict(read_frames(frames) if isinstance(frames, str) else frames, **options)


def compare_part(model: GAP, frames: list[Atoms] | str, options: dict[str, Any]) -> Comparison:
    """One task of `evaluate`; there may be no label in it."""
    listed = read_frames(frames) if isinstance(frames, str) else frames
    keys = options["keys"] or model.label_keys
    batch = to_batch(listed, keys=keys, strict=False)
    if any(mask.any() for mask in batch.comparable.values()):
        model = copy.copy(model)
        model.label_keys = keys  # not as `keys`: a part may lack labels that others have
        return compare(model, listed)
    none = np.empty(0, np.int64)
    pairs = {}
    for target in TARGETS.values():
        values = np.empty((0, target.components))
        pairs[target.shown.name] = Pairs(none, values, values, atoms=none if target.per_atom else None)
    return Comparison(batch.all_labels.config_type, batch.n_atoms_per_frame, batch.numbers, pairs)


def join_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Predictions for frames one part after another."""

    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if name == "offsets":
            return np.cumsum(np.concatenate([[0], *map(np.diff, values)])).astype(np.int64)
        if name == "std" or any(value is None for value in values):
            return values[0] if name == "std" else None
        return TargetVariances.join(values) if name == "variances" else np.concatenate(values)

    return Predictions(**{field.name: joined(field.name) for field in fields(Predictions)})


def join_comparisons(parts: Sequence[Comparison]) -> Comparison:
    """Comparisons of frames one part after another."""
    config_type = tuple(name for part in parts for name in part.config_type)
    n_atoms, numbers = (np.concatenate([getattr(part, name) for part in parts]) for name in ("n_atoms", "numbers"))
    frames = np.cumsum([0, *(len(part.n_atoms) for part in parts)])
    atoms = np.cumsum([0, *(int(part.n_atoms.sum()) for part in parts)])

    def pairs(target: Target) -> Pairs:
        found = [part.pairs[target.shown.name] for part in parts]
        reference, predicted = (
            np.concatenate([getattr(p, name) for p in found]) for name in ("reference", "predicted")
        )
        of_frames = np.concatenate([start + pair.frames for start, pair in zip(frames, found, strict=False)])
        if not target.per_atom:
            return Pairs(of_frames, reference, predicted, atoms=None)
        of_atoms = np.concatenate([start + pair.atoms for start, pair in zip(atoms, found, strict=False)])
        return Pairs(of_frames, reference, predicted, atoms=of_atoms)

    return Comparison(config_type, n_atoms, numbers, {target.shown.name: pairs(target) for target in TARGETS.values()})
