"""A term of the energy: a descriptor, a kernel over it and the choice of its sparse points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gapkit.descriptors import Descriptor
from gapkit.descriptors.base import Engine
from gapkit.exceptions import InputError
from gapkit.io.registry import registered
from gapkit.kernels import GapKernel
from gapkit.options.checked import Checked
from gapkit.options.kinds import Count
from gapkit.sparse import SparseSelector


@registered("Term")
@dataclass(frozen=True)
class Term(Checked):
    """One term of the energy.

    Parameters
    ----------
    descriptor : Descriptor
    kernel : GapKernel or None
        None: the descriptor's default.  Its `delta` (eV) is chosen by evidence unless ``delta_bounds="fixed"``.
    n_sparse : int, mapping of str to int, or None
        Sparse points over all blocks of species, or for each of them by its symbols, such as ``{"C": 500, "H": 300}``
        or ``{"O-Si": 20}``; None: a share of the model's `n_sparse`, or chosen from the data.
    selector : SparseSelector or None
        None: the descriptor's default.
    n_sparse_per_config_type : mapping of str to int, or None
        How many of the points come from the environments of a configuration type; the others share the rest.
    """

    descriptor: Descriptor
    kernel: GapKernel | None = None
    n_sparse: Count | Mapping[str, Count] | None = None
    selector: SparseSelector | None = None
    n_sparse_per_config_type: Mapping[str, Count] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_sparse", "n_sparse_per_config_type"):
            if getattr(self, name) == {}:
                raise InputError(f"`{name}` must name a number of points or be None, got {{}}")
        if self.n_sparse_per_config_type is not None and not isinstance(self.n_sparse, int | None):
            raise InputError("`n_sparse` must be one number or None beside `n_sparse_per_config_type`, got a mapping")

    @property
    def n_sparse_total(self) -> int | None:
        """Sparse points over all blocks, None if not given."""
        if isinstance(self.n_sparse, Mapping):
            return sum(self.n_sparse.values())
        if self.n_sparse is None and self.n_sparse_per_config_type is not None:
            return sum(self.n_sparse_per_config_type.values())
        return self.n_sparse

    def resolved_kernel(self) -> GapKernel:
        """The kernel, or the default one of the descriptor."""
        return self.descriptor.default_kernel() if self.kernel is None else self.kernel

    def resolved_selector(self) -> SparseSelector:
        """The selector, or the default one of the descriptor."""
        return self.descriptor.default_selector() if self.selector is None else self.selector


@dataclass(frozen=True, eq=False)
class TermPlan:
    """A term, its engine, how many sparse points it gets, and whether the user gave that number."""

    term: Term
    engine: Engine
    n_sparse: int
    is_given: bool


def as_term(item: Term | Descriptor) -> Term:
    """Wrap a bare descriptor."""
    return item if isinstance(item, Term) else Term(item)
