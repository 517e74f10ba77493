"""A term of the energy: a descriptor, a kernel over it and the choice of its sparse points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gapkit.descriptors import Descriptor
from gapkit.descriptors.base import Engine
from gapkit.exceptions import InputError
from gapkit.io.registry import registered
from gapkit.kernels import GapKernel
from gapkit.sparse import SparseSelector


@registered("Term")
@dataclass(frozen=True)
class Term:
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
    n_sparse: int | Mapping[str, int] | None = None
    selector: SparseSelector | None = None
    n_sparse_per_config_type: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.descriptor, Descriptor):
            raise InputError(
                f"`descriptor` of a Term must be a Descriptor such as SOAP(), got {type(self.descriptor).__name__}"
            )
        for name, given in (
            ("n_sparse", self.n_sparse), ("n_sparse_per_config_type", self.n_sparse_per_config_type),
        ):  # fmt: skip
            numbers = list(given.values()) if isinstance(given, Mapping) else [given]
            if given is not None and (not numbers or any(isinstance(n, bool) or n is None or n < 1 for n in numbers)):
                raise InputError(f"`{name}` must be >= 1, got {given!r}")
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
