"""Whether the noise and scales that a fit ends with can be believed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from gapkit.exceptions import HyperparameterWarning
from gapkit.gp.evidence.maximise import EvidenceResult
from gapkit.gp.factors import TriangularFactor
from gapkit.targets import TARGETS

# Part of the labels' spread that is left as noise where the model explains less than half of their variance; fits of
# sound data left up to 0.15.
ABSURD = 0.7
# Rows below which nothing can be said.
LEAST = 20

CAUSES = {
    "energy": "check that all are total energies of one method, in eV and with one zero (`reference_energies`)",
    "forces": "check their sign and unit (eV/Å), that they belong to these positions, and that they do not vary more "
    "within the cutoff than the descriptors can tell; or give `noise`",
    "virial": "check the sign of the stresses (ASE's is negative under compression) and their unit (eV/Å^3: GPa over "
    "160.2); or leave them out, or give `noise`",
}
AT_BOUND = {
    "lower": "labels that a model fits exactly are too few for it, or not independent: remove copies, or give `noise`",
    "upper": "check units and zeros of the labels, or set it yourself",
}


def warn_of_hyperparameters(
    found: EvidenceResult, factors: Mapping[str, TriangularFactor], terms: Sequence[str], free: Sequence[str]
) -> None:
    """Warn of noise and scales at a bound of the search, and of noise as large as the labels.

    `terms` are the names of the terms with sparse points, `free` the kinds whose noise was not given.
    """
    for text in [*_noise(found, factors, free), *_scales(found, terms)]:
        warnings.warn(text, HyperparameterWarning, stacklevel=2)


def _noise(found: EvidenceResult, factors: Mapping[str, TriangularFactor], free: Sequence[str]) -> Iterator[str]:
    spreads = {kind: spread(factor) for kind, factor in factors.items()}
    for kind, sigma in found.noise.items():
        labels, unit = spreads[kind], TARGETS[kind].unit + ("/atom" if TARGETS[kind].grows else "")
        what = f"the noise that evidence found for the {kind} labels, {sigma:.3g} {unit}, "
        beside = f"without what is not learned these are {labels:.3g} {unit} in the root mean square"
        limit = next((limit for name, limit in found.at_bound.items() if name == f"noise of {kind}"), None)
        if kind in free and factors[kind].n_rows >= LEAST and sigma > ABSURD * labels > 0.0:
            cause = CAUSES.get(kind, "check their sign and unit")
            yield f"{what}is as large as the labels ({beside}): the model explains little of them; {cause}"
        elif limit is not None:
            yield f"{what}ended at the {limit} bound of the search ({beside}); {AT_BOUND[limit]}"


def _scales(found: EvidenceResult, terms: Sequence[str]) -> Iterator[str]:
    for group, name in enumerate(terms):
        if (limit := found.at_bound.get(f"scale {group}")) is not None:
            yield (
                f"the scale `delta` of the {name} term ended at the {limit} bound of the search; "
                + ("the data give this term nothing to do: leave it out" if limit == "lower" else AT_BOUND["upper"])
                + ', or set it with `delta_bounds="fixed"`'
            )


def spread(factor: TriangularFactor) -> float:
    """Root mean square of the targets over their relative sigmas, in the unit of the noise."""
    return float(np.linalg.norm(factor.R[:, -1]) / np.sqrt(max(factor.n_rows, 1)))
