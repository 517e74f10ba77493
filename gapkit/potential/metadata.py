"""What a model file says of its own making, and the summary in words."""

from __future__ import annotations

import datetime
import hashlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from gapkit.structures import AtomsBatch, DataReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gapkit.gp.basis import BasisTerm
    from gapkit.potential.gap import GAP
    from gapkit.potential.term import Term


def training_digest(batch: AtomsBatch) -> str:
    """SHA-256 of structures and labels: two training sets are the same if and only if it is."""
    digest = hashlib.sha256()
    labels = batch.labels
    arrays: list[np.ndarray] = [batch.offsets, batch.numbers, batch.positions, batch.cells, batch.pbc]
    if labels is not None:
        arrays += [labels.energy, labels.forces, labels.virial]
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


def _features(term: Term, basis: BasisTerm, species: Sequence[int]) -> list[str]:
    """How many features are used of those that the descriptor has, where they are fewer."""
    if not basis.engine.is_atomic or not basis.blocks:
        return []
    whole = term.descriptor.engine(term.descriptor.resolve_species(species)).n_features
    used = basis.engine.n_features
    products = [block.scaled.shape[1] for block in basis.blocks]
    if max(products) == whole:
        return []
    line = f"    features: {used} of {whole} kept (truncation)"
    if min(products) < used:
        line += f"; projected on {', '.join(map(str, products))} directions"
    return [line]


def summarise(model: GAP) -> str:
    """The fitted model in words and units."""
    training = model.metadata_["training_set"]
    lines = [
        f"GAP for {', '.join(model.species_)}, fitted to {training['n_frames']} frames, {training['n_atoms']} atoms",
        f"  sparse points: {model.n_sparse_}",
    ]
    for term, basis, delta in zip(model.terms_, model.model_.basis.terms, model.scales_, strict=True):
        number = sum(len(block.points) for block in basis.blocks)
        lines.append(f"  {term.descriptor!r}".replace("\n", " "))
        lines.append(f"    {term.resolved_kernel().__class__.__name__} kernel, delta {delta:.4g} eV, {number} points")
        lines.extend(_features(term, basis, model.model_.species))
    noise = model.noise_
    units = {"energy": "eV/atom", "forces": "eV/Å", "virial": "eV/atom"}
    given = [
        f"{kind} {getattr(noise, kind):.3g} {unit}" for kind, unit in units.items() if getattr(noise, kind) is not None
    ]
    lines.append(f"  noise: {', '.join(given)}")
    lines.append("  e0: " + ", ".join(f"{symbol} {e:.4f} eV" for symbol, e in model.reference_energies_.items()))
    if model.baseline is not None:
        lines.append(f"  baseline: {model.baseline!r}")
    if model.calibration_ is not None:
        lines.extend("  " + line for line in model.calibration_.summary().splitlines())
    lines.append("  seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in model.metadata_["seconds"].items()))
    return "\n".join(lines)
