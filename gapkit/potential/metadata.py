"""Origin of a model: digest of its training set, versions and times."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from gapkit.exceptions import InputError
from gapkit.structures import AtomsBatch, DataReport
from gapkit.targets import TARGETS


def training_digest(batch: AtomsBatch) -> str:
    """SHA-256 of structures and labels: two training sets are the same if and only if it is."""
    digest = hashlib.sha256()
    labels = batch.labels
    arrays: list[np.ndarray] = [batch.offsets, batch.numbers, batch.positions, batch.cells, batch.pbc]
    if labels is not None:
        # targets beyond energy, forces and virial where there are any: digests do not depend on the table
        arrays += [labels.values[name] for i, name in enumerate(TARGETS) if i < 3 or labels.has[name].any()]
        digest.update("\n".join(labels.config_type).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def training_set(batch: AtomsBatch) -> dict[str, Any]:
    """Digest and size of what a model was fitted to, or of what `partial_fit` added."""
    return {"sha256": training_digest(batch), "n_frames": batch.n_frames, "n_atoms": batch.n_atoms}


def describe_fit(batch: AtomsBatch, report: DataReport, seconds: dict[str, float]) -> dict[str, Any]:
    """Digest, counts, versions and times of a fit."""
    return {
        "training_set": training_set(batch),
        "report": str(report),
        "versions": {name: version(name) for name in ("numpy", "scipy", "numba", "ase", "scikit-learn")},
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def check_training_set(metadata: Mapping[str, Any], batch: AtomsBatch, purpose: str) -> None:
    """Raise InputError unless a batch is the training set that `metadata` tells of."""
    mine = metadata.get("training_set")
    if mine is None or mine["sha256"] != training_set(batch)["sha256"]:
        raise InputError(
            f"{purpose} needs the frames that the model was fitted to, in the same order, got other ones; for new "
            "frames compare `predict` with their labels"
        )
