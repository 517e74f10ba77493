"""Checks of a potential's arguments, before an hour of work is lost."""

from __future__ import annotations

from collections.abc import Sequence

from gapkit.descriptors import Descriptor
from gapkit.exceptions import InputError
from gapkit.gp.noise import Noise
from gapkit.potential.term import Term, TermPlan
from gapkit.structures import LabelKeys


def check_arguments(
    terms: object, n_sparse: object, truncation: object, memory_limit: object, noise: object, label_keys: object
) -> None:
    """Raise InputError for an argument of `GAP` of the wrong kind."""
    if terms is not None:
        if not isinstance(terms, Sequence) or isinstance(terms, str) or len(terms) == 0:
            raise InputError(f"`terms` must be a list with at least one Term or descriptor, or None, got {terms!r}")
        for item in terms:
            if not isinstance(item, Term | Descriptor):
                raise InputError(f"`terms` must hold Terms or descriptors such as SOAP(), got {item!r}")
    if n_sparse is not None and (isinstance(n_sparse, bool) or not isinstance(n_sparse, int) or n_sparse < 1):
        raise InputError(f"`n_sparse` must be an integer >= 1 or None, got {n_sparse!r}")
    if isinstance(truncation, bool) or not isinstance(truncation, int | float) or not 0.0 <= truncation <= 0.01:
        raise InputError(
            f"`truncation` must be between 0 (nothing left out) and 0.01, got {truncation!r}; 1e-7 is usual"
        )
    if memory_limit is not None and (
        isinstance(memory_limit, bool) or not isinstance(memory_limit, int | float) or not memory_limit > 0
    ):
        raise InputError(f"`memory_limit` must be a number of GB > 0 or None, got {memory_limit!r}")
    if noise is not None and not isinstance(noise, Noise):
        raise InputError(f"`noise` must be a Noise such as Noise(energy=0.001, forces=0.05), or None, got {noise!r}")
    if label_keys is not None and not isinstance(label_keys, LabelKeys):
        raise InputError(f'`label_keys` must be LabelKeys such as LabelKeys(energy="dft_energy"), got {label_keys!r}')


def check_reach(plans: Sequence[TermPlan], nearest: float | None) -> None:
    """Raise InputError where a term would see no neighbour at all; `nearest` is the data's shortest distance in Å."""
    for plan in plans:
        if nearest is not None and plan.engine.reach <= nearest:
            raise InputError(
                f"`cutoff` of the {type(plan.term.descriptor).__name__} term must exceed the shortest distance of the "
                f"training set, {nearest:.3g} Å, got {plan.engine.reach:g} Å; two to three bond lengths are usual"
            )
