"""Coverage of 90 % where it may differ: by configuration type, species, size of the force, novelty and flags."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from ase.data import chemical_symbols
from scipy.special import ndtri

from gapkit.errors.comparison import INTERVAL, Comparison, Pairs
from gapkit.options.checked import checked
from gapkit.typing import BoolArray, FloatArray, IntArray
from gapkit.uncertainty.conditional import GroupCoverage, coverage_by_group
from gapkit.uncertainty.metrics import covered

Groups: TypeAlias = dict[str, dict[str, GroupCoverage]]  # by grouping, then by name of the group
_Named: TypeAlias = tuple[list[str], list[str]]  # name of the group of each row, and all names in their order

GROUPINGS = ("all", "config_type", "species", "force_magnitude", "novelty", "flagged")  # in the order of tables
Z90 = float(ndtri(0.5 + INTERVAL / 2))
NOVELTY_EDGES = (0.1, 0.3, 1.0)  # of bins of novelty over its threshold
N_FORCE_BINS = 4
FLAGS = ["not flagged", "flagged"]
FAR = 3.0  # standard deviations


@checked
def conditional_coverage(comparison: Comparison, *, intervals: bool = False) -> dict[str, Groups]:
    """Return the coverage of groups for each labelled quantity that has standard deviations.

    Groupings are "all", "config_type", "species" and "force_magnitude" (of forces only; about equally many atoms by the
    norm of the reference force, eV/Å), "novelty" (over its threshold; a frame has that of its largest atom; "unknown"
    is NaN) and "flagged" (as extrapolation, a frame with any of its atoms).  The last two are left out where the model
    cannot tell.  Groups without components are left out.

    Parameters
    ----------
    comparison : Comparison
        Of ``compare(..., uncertainty=True)``.
    intervals : bool
        Within the 90 % intervals instead of 1.645 standard deviations; quantities without intervals are left out.
    """
    found = {}
    for name, pairs in comparison.labelled.items():
        widths = pairs.half_width if intervals else None if pairs.std is None else Z90 * pairs.std
        if widths is not None:
            errors = pairs.errors
            found[name] = {
                grouping: _ordered(coverage_by_group(errors, widths, rows, pairs.frames), names)
                for grouping, (rows, names) in _groupings(comparison, name, pairs).items()
            }
    return found


@checked
def beyond_3_std_unflagged(comparison: Comparison) -> dict[str, float]:
    """Return the part of components, without those that are flagged as extrapolation, with |error| > 3 std.

    For each labelled quantity with standard deviations; 0.0027 if errors were normal.  Nothing where the model cannot
    tell of extrapolation, or all is flagged.
    """
    found = {}
    for name, pairs in comparison.labelled.items():
        flagged = _flagged(comparison, pairs)
        if pairs.std is not None and flagged is not None and not flagged.all():
            near = covered(pairs.errors[~flagged], FAR * pairs.std[~flagged])
            found[name] = float(np.mean(~near))
    return found


def names_of_groups(found: dict[str, Groups]) -> dict[str, list[str]]:
    """Names by grouping that any quantity has; of groupings into one group only "all", the first."""
    names = {}
    for grouping in GROUPINGS:
        own = dict.fromkeys(name for groups in found.values() for name in groups.get(grouping, {}))
        if len(own) > 1 or grouping == "all":
            order = {"novelty": _bin_names(NOVELTY_EDGES), "flagged": FLAGS, "config_type": sorted(own)}
            names[grouping] = [name for name in order.get(grouping, list(own)) if name in own]
    return names


def group_label(grouping: str, name: str) -> str:
    """Words for a group of `conditional_coverage`."""
    if grouping == "force_magnitude":
        return f"force {name} eV/Å"
    return f"novelty {name}" if grouping == "novelty" else name


def _ordered(found: dict[str, GroupCoverage], names: list[str]) -> dict[str, GroupCoverage]:
    return {name: found[name] for name in names if name in found}


def _groupings(comparison: Comparison, kind: str, pairs: Pairs) -> dict[str, _Named]:
    types = np.array(comparison.config_type)[pairs.frames].tolist()
    found: dict[str, _Named] = {"all": (["all"] * len(types), ["all"]), "config_type": (types, sorted(set(types)))}
    if kind == "forces":
        species = np.array(chemical_symbols)[comparison.numbers[pairs.atoms]].tolist()
        found["species"] = (species, sorted(set(species)))
        size = np.linalg.norm(pairs.reference, axis=1)
        found["force_magnitude"] = _bins(size, _quantiles(size, N_FORCE_BINS))
    novelty = _novelty(comparison, pairs)
    if novelty is not None and not np.isnan(novelty).all():
        found["novelty"] = _bins(novelty, NOVELTY_EDGES)
    flagged = _flagged(comparison, pairs)
    if flagged is not None:
        found["flagged"] = _chosen(flagged.astype(int), FLAGS)
    return found


def _novelty(comparison: Comparison, pairs: Pairs) -> FloatArray | None:
    """Of each row; of frames that of the largest atom whose novelty is known."""
    if comparison.novelty is None:
        return None
    if pairs.atoms is not None:
        return comparison.novelty[pairs.atoms]
    first = np.cumsum(comparison.n_atoms) - comparison.n_atoms
    return np.fmax.reduceat(comparison.novelty, first)[pairs.frames]


def _flagged(comparison: Comparison, pairs: Pairs) -> BoolArray | None:
    flags = comparison.extrapolating if pairs.atoms is not None else comparison.extrapolating_frames
    return None if flags is None else flags[pairs.frames if pairs.atoms is None else pairs.atoms]


def _quantiles(values: FloatArray, n_bins: int) -> list[float]:
    """Edges between bins of about equally many values, of two digits: what is printed is what is meant."""
    edges = np.quantile(values, np.arange(1, n_bins) / n_bins)
    return sorted({float(f"{edge:.2g}") for edge in edges})


def _bins(values: FloatArray, edges: Sequence[float]) -> _Named:
    """Bins whose upper edges belong to them; NaN is "unknown"."""
    which = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values))
    return _chosen(which, _bin_names(edges))


def _bin_names(edges: Sequence[float]) -> list[str]:
    words = [f"{edge:g}" for edge in edges]
    between = (f"{low}-{high}" for low, high in pairwise(words))
    return [f"up to {words[0]}", *between, f"above {words[-1]}", "unknown"]


def _chosen(which: IntArray, names: list[str]) -> _Named:
    return np.array(names)[which].tolist(), names
