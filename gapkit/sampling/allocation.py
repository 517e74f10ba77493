"""Allocation of a number of structures to samplers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.options.kinds import NotNegative, Positive, Whole
from gapkit.typing import IntArray


@dataclass(frozen=True)
class Allocation:
    """Number of structures for one sampler, at one temperature (K) where it has several."""

    sampler: str
    temperature: float | None
    n: int


@checked
def plan(
    budget: Whole, weights: Mapping[str, Positive], *, temperatures: Mapping[str, Sequence[Positive]] | None = None,
    exponent: NotNegative = 1.0, at_least: Whole = 1,
) -> list[Allocation]:  # fmt: skip
    """Allocate a number of structures to samplers, and within a sampler more to higher temperatures.

    Every entry first gets `at_least`; the rest goes to samplers in proportion to their weights, and within a sampler in
    proportion to T^exponent, by largest remainder.

    Parameters
    ----------
    budget : int
        Number of all structures.
    weights : {name: float}
        Weight of each sampler, > 0; the names are the caller's own.
    temperatures : {name: sequence of float}, optional, K
        Temperatures of samplers. The volume explored by a hot system grows with T, and so does the number of structures
        to fill it.
    exponent : float
        0 treats all temperatures alike.
    at_least : int
        Structures for every sampler and temperature.

    Returns
    -------
    allocations : list of Allocation
        In the order of `weights`, temperatures ascending; sums to `budget` exactly.

    Raises
    ------
    InputError
        If the budget does not pay for `at_least` each, a weight is not > 0, or `temperatures` names another sampler.
    """
    if not weights:
        raise InputError("`weights` must name at least one sampler, got none")
    sizes = list(weights.values())
    ladders = _ladders(weights, temperatures or {})
    minimum = at_least * sum(len(ladder) for ladder in ladders.values())
    if budget < minimum:
        raise InputError(
            f"`budget` must pay for {at_least} structure(s) of every sampler and temperature, {minimum}, got {budget}; "
            "increase it, leave some out, or reduce `at_least`"
        )
    allocations = []
    for (name, ladder), share in zip(ladders.items(), largest_remainder(budget - minimum, sizes).tolist(), strict=True):
        # From the hottest down, so that ties go to the hotter one.
        hot_first = ladder[::-1]
        relative = [1.0 if t is None else (t / max(x for x in ladder if x is not None)) ** exponent for t in hot_first]
        counts = largest_remainder(share, relative)[::-1].tolist()
        allocations += [Allocation(name, t, at_least + count) for t, count in zip(ladder, counts, strict=True)]
    return allocations


def largest_remainder(total: int, weights: Sequence[float]) -> IntArray:
    """Whole numbers (n,) in proportion to weights that sum to `total`, by the method of largest remainders.

    A larger weight never gets less than a smaller one; of equal ones the first is served first.
    """
    shares = total * np.asarray(weights, dtype=float) / float(np.sum(weights))
    counts = np.floor(shares).astype(np.int64)
    # Rounded, so that equal weights are ties; a share of 0.9999... that was cut to zero is the first to be served.
    lost = np.round(shares - counts, 9)
    counts[np.argsort(-lost, kind="stable")[: total - int(counts.sum())]] += 1
    return counts


def _ladders(
    weights: Mapping[str, float], temperatures: Mapping[str, Sequence[float]]
) -> dict[str, list[float | None]]:
    """Temperatures of every sampler, ascending; [None] for one without."""
    unknown = sorted(set(temperatures) - set(weights))
    if unknown:
        raise InputError(f"`temperatures` must name samplers of `weights`, {sorted(weights)}, got {unknown}")
    ladders: dict[str, list[float | None]] = {name: [None] for name in weights}
    for name, given in temperatures.items():
        ladder = sorted(given)
        if not ladder or len(set(ladder)) < len(ladder):
            raise InputError(f"`temperatures[{name!r}]` must hold at least one, each once, got {given}")
        ladders[name] = [*ladder]
    return ladders
