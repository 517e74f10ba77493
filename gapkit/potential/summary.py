"""A fitted model in words and units."""

from __future__ import annotations

from ase.data import chemical_symbols

from gapkit.gp.basis import BasisTerm
from gapkit.potential.state import FittedState
from gapkit.targets import TARGETS

UNKNOWN = dict.fromkeys(("n_frames", "n_atoms"), "an unknown number of")


def summarise(state: FittedState) -> str:
    """The fitted model in words and units."""
    training, sparse = state.metadata.get("training_set", UNKNOWN), state.sparse
    lines = [
        f"GAP for {', '.join(chemical_symbols[z] for z in state.species)}, fitted to {training['n_frames']} frames, "
        f"{training['n_atoms']} atoms",
        f"  sparse points: {sparse.basis.n_columns}",
    ]
    for term, basis, delta in zip(state.terms, sparse.basis.terms, state.scales, strict=True):
        number = sum(len(block.points) for block in basis.blocks)
        lines.append(f"  {term.descriptor!r}".replace("\n", " "))
        lines.append(f"    {term.resolved_kernel().__class__.__name__} kernel, delta {delta:.4g} eV, {number} points")
        lines.extend(_features(basis))
    noise = [f"{k} {state.noise[k]:.3g} {target.noise_unit}" for k, target in TARGETS.items() if k in state.noise]
    lines.append(f"  noise: {', '.join(noise)}")
    reference = sorted(state.known.reference.items())
    lines.append("  e0: " + ", ".join(f"{chemical_symbols[z]} {energy:.4f} eV" for z, energy in reference))
    lines.extend(f"  energy term: {term!r}" for term in state.known.terms)
    if state.calibration is not None:
        lines.extend("  " + line for line in state.calibration.summary().splitlines())
    seconds = state.metadata.get("seconds", {})
    lines.append("  seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    return "\n".join(lines)


def _features(basis: BasisTerm) -> list[str]:
    """How many features are used of those that the descriptor has, where they are fewer."""
    if not basis.engine.is_atomic or not basis.blocks:
        return []
    whole, used = basis.engine.whole.n_features, basis.engine.n_features
    products = [block.scaled.shape[1] for block in basis.blocks]
    if max(products) == whole:
        return []
    line = f"    features: {used} of {whole} kept (truncation)"
    if min(products) < used:
        line += f"; projected on {', '.join(map(str, products))} directions"
    return [line]
