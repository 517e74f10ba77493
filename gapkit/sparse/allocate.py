"""How a number of sparse points is shared among species or configuration types."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Literal, TypeVar

import numpy as np

from gapkit.exceptions import InputError
from gapkit.options.checked import checked
from gapkit.options.kinds import Whole

Group = TypeVar("Group", bound=Hashable)


@checked
def allocate(
    counts: Mapping[Group, Whole],
    n_total: Whole,
    quotas: Mapping[Group, Whole] | None = None,
    *,
    rule: Literal["sqrt", "proportional"] = "sqrt",
) -> dict[Group, int]:
    """Share `n_total` points among groups: one at least to each, as far as they go, and never more than it has.

    The result has the order of `counts` and sums to min(n_total, what is available), unless quotas alone exceed that.

    Parameters
    ----------
    counts : mapping of group to int
        Candidates available in each group.
    n_total : int
        Points to share.
    quotas : mapping of group to int, optional
        Numbers that are given, as far as there are so many; the other groups share the rest.
    rule : {"sqrt", "proportional"}, default="sqrt"
        Share of a group: square root of its count, which keeps small groups alive, or the count.

    Raises
    ------
    InputError
        If a number is negative, `rule` is unknown, or a quota names an unknown group.
    """
    quotas = quotas or {}
    unknown = [group for group in quotas if group not in counts]
    if unknown:
        raise InputError(f"`quotas` names {unknown}, expected only {list(counts)}")

    shares = {group: min(quotas[group], counts[group]) for group in counts if group in quotas}
    free = [group for group in counts if group not in quotas and counts[group] > 0]
    left = max(n_total - sum(shares.values()), 0)
    available = np.array([counts[group] for group in free], dtype=np.int64)
    appetite = np.sqrt(available) if rule == "sqrt" else available.astype(np.float64)
    given = np.ones_like(available)
    if len(free) > left:  # not even one for all: the groups with the largest appetite come first
        given[np.argsort(-appetite, kind="stable")[left:]] = 0
    else:
        # One point at a time to the group that lags most behind its share (Sainte-Lague), so that rounding is fair.
        for _ in range(min(left, int(available.sum())) - int(given.sum())):
            need = np.where(given < available, appetite / (2.0 * given + 1.0), -1.0)
            given[int(np.argmax(need))] += 1
    shares.update({group: int(n) for group, n in zip(free, given, strict=True)})
    return {group: shares.get(group, 0) for group in counts}
