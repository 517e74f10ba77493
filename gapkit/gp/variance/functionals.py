"""Energies, forces and virials as linear functionals of the function of a block, and their prior covariances.

A term's function f of one block of like instances (all silicon atoms, all O-H pairs) has the prior covariance
k(x, x') = kappa(q, n, n').  An energy is a sum of values of f; a force or a virial also holds derivatives along
directions g in feature space, so that with the chain rule of `kernels.base`, x~ scaled features,

    Cov(g.df(x), f(x'))     = kappa_q g.x' + 2 kappa_n g.x
    Cov(g.df(x), g'.df(x')) = kappa_q g.g' + kappa_qq (g.x')(x.g') + 2 kappa_qn' (g.x')(x'.g')
                              + 2 kappa_qn (g.x)(x.g') + 4 kappa_nn' (g.x)(x'.g').

Source: Rasmussen and Williams (2006), section 9.4; the sums are those of the outputs' definitions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gapkit.gp.instances import Chunk
from gapkit.kernels.base import GapKernel
from gapkit.neighbours import NeighbourList
from gapkit.typing import FloatArray, IntArray

# Numbers in the largest array that a covariance needs.
NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True, eq=False)
class Functional:
    """T functionals sum_n values[t, n] f(x_n) + gradients[t, n] . df/dx~(x_n) of the function of one block."""

    x: FloatArray  # (n, d), scaled features
    values: FloatArray | None  # (T, n), none: zero
    gradients: FloatArray | None = None  # (T, n, d)

    @property
    def n_targets(self) -> int:
        """T."""
        return next(len(part) for part in (self.values, self.gradients) if part is not None)

    @classmethod
    def join(cls, parts: Sequence[Functional]) -> Functional:
        """The sum of functionals of different instances."""
        if len(parts) == 1:
            return parts[0]
        columns = zip(*((part.values, part.gradients) for part in parts), strict=True)
        joined = (None if of_parts[0] is None else np.concatenate(of_parts, axis=1) for of_parts in columns)
        return cls(np.concatenate([part.x for part in parts]), *joined)

    def part(self, rows: slice) -> Functional:
        """Those of some of the instances."""
        parts = (None if part is None else part[:, rows] for part in (self.values, self.gradients))
        return Functional(self.x[rows], *parts)


def prior_covariance(kernel: GapKernel, a: Functional, b: Functional) -> FloatArray:
    """Covariance (T_a, T_b) of two sets of functionals a priori, in units of the kernel."""
    total = np.zeros((a.n_targets, b.n_targets))
    width = max(len(b.x), 0 if b.gradients is None else b.gradients.shape[2])
    step = max(8, NUMBERS_AT_ONCE // max(1, width * (1 if b.gradients is None else b.n_targets)))
    for start in range(0, len(a.x), step):
        total += _covariance(kernel, a.part(slice(start, start + step)), b)
    return total


def _covariance(kernel: GapKernel, a: Functional, b: Functional) -> FloatArray:
    n_a, n_b = (np.einsum("nd,nd->n", part.x, part.x) for part in (a, b))
    q = a.x @ b.x.T
    if a.gradients is None and b.gradients is None:
        assert a.values is not None
        assert b.values is not None
        return a.values @ kernel.value(q, n_a, n_b, overwrite_q=True) @ b.values.T
    k, k_q, k_n = kernel.value_and_slopes(q, n_a, n_b)
    total = np.zeros((a.n_targets, b.n_targets))
    if a.values is not None and b.values is not None:
        total += a.values @ k @ b.values.T
    if a.gradients is not None:
        across_a = a.gradients @ b.x.T  # (T_a, n_a, n_b): g.x'
        own_a = np.einsum("tnd,nd->tn", a.gradients, a.x)
        if b.values is not None:
            total += _slopes(k_q, k_n, across_a, own_a) @ b.values.T
    if b.gradients is not None:
        across_b = b.gradients @ a.x.T  # (T_b, n_b, n_a): x.g'
        own_b = np.einsum("tnd,nd->tn", b.gradients, b.x)
        if a.values is not None:
            k_m = None if k_n is None else kernel.value_and_slopes(q.T, n_b, n_a)[2]
            total += a.values @ _slopes(k_q.T, k_m, across_b, own_b).T
    if a.gradients is not None and b.gradients is not None:
        second = kernel.second_slopes(q, n_a, n_b)
        turned = np.matmul(k_q, b.gradients)  # (T_b, n_a, d)
        total += a.gradients.reshape(a.n_targets, -1) @ turned.reshape(b.n_targets, -1).T
        turned_b = across_b.transpose(0, 2, 1)  # (T_b, n_a, n_b)
        weighted = second.qq * turned_b
        if second.qm is not None and second.qn is not None and second.nm is not None:
            weighted = weighted + 2.0 * second.qm * own_b[:, None, :]
            along = 2.0 * second.qn * turned_b + 4.0 * second.nm * own_b[:, None, :]
            total += np.einsum("tn,snm->ts", own_a, along)
        total += across_a.reshape(a.n_targets, -1) @ weighted.reshape(b.n_targets, -1).T
    return total


def _slopes(k_q: FloatArray, k_n: FloatArray | None, across: FloatArray, own: FloatArray) -> FloatArray:
    """Cov(g.df(x), f(x')) (T, n') summed over x, from g.x' (T, n, n') and g.x (T, n)."""
    slopes = k_q * across
    if k_n is not None:
        slopes += 2.0 * k_n * own[:, :, None]
    return slopes.sum(axis=1)


@dataclass(frozen=True, eq=False)
class InstanceDerivatives:
    """Instances of one block with their derivatives, from which functionals are made."""

    x: FloatArray  # (n, d), scaled features
    factors: FloatArray  # (n,)
    owner: IntArray  # (n_entries,), instance and edge of every derivative
    edges: IntArray
    dx: FloatArray  # (n_entries, 3, d), derivative of the scaled features by the edge vector
    dfactors: FloatArray | None  # (n_entries, 3)

    @classmethod
    def of(cls, instances: Iterable[Chunk]) -> InstanceDerivatives | None:
        """Chunks of one block together; None: there are none."""
        parts, count = [], 0
        for chunk in instances:
            jacobian = chunk.view.jacobian(chunk.features)
            of_chunk, shape = jacobian.edges, jacobian.dx.shape
            dx = chunk.block.kernel.scale_features(jacobian.dx.reshape(-1, shape[2])).reshape(shape)
            owner = count + np.repeat(np.arange(len(chunk.x)), np.diff(of_chunk.offsets))
            parts.append((chunk.x, chunk.features.factors, owner, of_chunk.indices, dx, jacobian.dfactors))
            count += len(chunk.x)
        if not parts:
            return None
        x, factors, owner, edges, dx = (np.concatenate([part[i] for part in parts]) for i in range(5))
        dfactors = None if parts[0][5] is None else np.concatenate([part[5] for part in parts])
        return cls(x, factors, owner, edges, dx, dfactors)

    def forces(self, atoms: IntArray, neighbours: NeighbourList) -> Iterator[tuple[int, Functional]]:
        """For those of `atoms` on which instances depend, the three components of the force."""
        tail, head = neighbours.centres[self.edges], neighbours.indices[self.edges]
        apart = np.flatnonzero(tail != head)  # an atom's own image moves with it
        leaving = apart[np.lexsort((self.owner[apart], tail[apart]))]
        coming = apart[np.argsort(head[apart], kind="stable")]
        one = np.ones((1, 1))
        for a in atoms:
            out = leaving[slice(*np.searchsorted(tail[leaving], (a, a + 1)))]
            into = coming[slice(*np.searchsorted(head[coming], (a, a + 1)))]
            if len(out) + len(into):
                starts = np.flatnonzero(np.diff(self.owner[out], prepend=-1))
                parts = self._derivatives(out, one, starts), self._derivatives(into, -one)
                yield int(a), Functional.join([part for part in parts if len(part.x)])

    def virial(self, neighbours: NeighbourList) -> Functional | None:
        """The sum over all instances; T = 6, order xx, yy, zz, yz, xz, xy; None: no instance has any edge."""
        entries = np.arange(len(self.edges))
        if len(entries) == 0:
            return None
        starts = np.flatnonzero(np.diff(self.owner, prepend=-1))
        vectors = -neighbours.vectors[self.edges]
        # each shear through its larger axis
        parts = [
            self._derivatives(entries, vectors[:, b, None], starts, component=a)
            for a, b in ((0, 0), (1, 1), (2, 2), (2, 1), (2, 0), (1, 0))
        ]
        values = None if self.dfactors is None else np.concatenate([part.values for part in parts])
        return Functional(parts[0].x, values, np.concatenate([part.gradients for part in parts]))

    def _derivatives(
        self, entries: IntArray, signs: FloatArray, starts: IntArray | None = None, component: int | None = None
    ) -> Functional:
        """Derivatives along the three components of edge vectors (or one), times signs (n_entries or 1, 3 or 1).

        Summed over the entries of each owner, which begin at `starts`; None: every entry by itself.
        """
        which = slice(None) if component is None else slice(component, component + 1)
        owner = self.owner[entries] if starts is None else self.owner[entries[starts]]

        def summed(terms: FloatArray) -> FloatArray:
            return terms if starts is None or not len(entries) else np.add.reduceat(terms, starts, axis=0)

        dx, values = summed(signs[..., None] * self.dx[entries, which]).transpose(1, 0, 2), None
        if self.dfactors is not None:
            values = summed(signs * self.dfactors[entries, which]).T
            dx = self.factors[owner][:, None] * dx
        return Functional(self.x[owner], values, np.ascontiguousarray(dx))
