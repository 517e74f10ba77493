"""Triangular factors of the training rows, updated a chunk at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gapkit.exceptions import DataError, InputError
from gapkit.gp.lapack import fold_rows
from gapkit.io.arrays import Array, Arrays, Schema, Triangle
from gapkit.io.npy import PackedTriangle
from gapkit.typing import FloatArray

_PIECE_ROWS = 4  # rows folded at once, in units of the width of the triangle

FACTOR: Schema = {"R": Triangle("order"), "n_rows": Array((1,), 0, 1e15, whole=True), "log_weights": Array((1,))}


def check_finite(factors: Mapping[str, TriangularFactor]) -> None:
    """Raise DataError where what was folded overflowed."""
    for kind, factor in factors.items():
        if not np.isfinite(factor.R.sum()):
            raise DataError(
                f"the fit has no finite solution: squares of the labels ({kind}) or of their rows, over their sigmas, "
                "are beyond double precision; look for labels or sigmas that are far too large or small"
            )


class TriangularFactor:
    """Everything that a least-squares problem with M columns needs to know of its rows, in one triangle.

    After any number of `update`s with rows K and targets y, the upper triangular `R` of order M + 1 satisfies
    [K | y]^T [K | y] = R^T R, so for all weights a

        |y - K a|^2 = |R[:, :M] a - R[:, M]|^2.

    It is made by orthogonal transformations (LAPACK dtpqrt), never from K^T K, so it keeps the accuracy of the rows.
    """

    _name = "factor"

    def __init__(self, n_columns: int) -> None:
        if int(n_columns) != n_columns or n_columns < 0:
            raise InputError(f"`n_columns` must be an integer >= 0, got {n_columns!r}")
        # zero below the diagonal; the last column is Q^T y, the corner (up to sign) the norm of the residual
        self.R: FloatArray = np.zeros((int(n_columns) + 1, int(n_columns) + 1), order="F")
        self.n_rows = 0
        self.log_weights = 0.0  # sum over all rows of the log of their relative sigma, for the marginal likelihood

    @property
    def n_columns(self) -> int:
        """Number of weights M."""
        return self.R.shape[0] - 1

    def update(self, rows: FloatArray, targets: FloatArray, sigmas: FloatArray | None = None) -> TriangularFactor:
        """Fold in rows (B, M) and targets (B,), divided by sigmas (B,) relative to that of the kind; returns self.

        Nothing has been folded in where it raises: shapes do not fit, a sigma is not > 0, a row or target not finite.
        """
        rows, targets = np.asarray(rows, dtype=np.float64), np.asarray(targets, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != self.n_columns:
            raise InputError(f"`rows` must have shape (B, {self.n_columns}), got {rows.shape}")
        if targets.shape != rows.shape[:1]:
            raise InputError(f"`targets` must have shape ({rows.shape[0]},), got {targets.shape}")
        if not (np.isfinite(rows.sum()) and np.isfinite(targets.sum())):  # one pass with no temporary
            bad = ~(np.isfinite(rows).all(axis=1) & np.isfinite(targets))
            if bad.any():
                raise DataError(
                    f"rows and targets must be finite, but {int(bad.sum())} of {len(bad)} are not (first: row "
                    f"{int(np.argmax(bad))}); leave out labels that are absent instead of passing NaN"
                )
        log_weights = 0.0
        if sigmas is not None:
            sigmas = np.asarray(sigmas, dtype=np.float64)
            if sigmas.shape != targets.shape or not np.all(np.isfinite(sigmas)) or np.any(sigmas <= 0):
                raise InputError(f"`sigmas` must be {targets.shape[0]} finite numbers > 0, got {sigmas!r}")
            log_weights = float(np.log(sigmas).sum())
        step = _PIECE_ROWS * len(self.R)
        for start in range(0, len(rows), step):
            piece = slice(start, min(start + step, len(rows)))
            buffer = np.empty((piece.stop - start, len(self.R)), order="F")
            buffer[:, :-1], buffer[:, -1] = rows[piece], targets[piece]
            if sigmas is not None:
                buffer /= sigmas[piece, None]
            self._fold(buffer)
        self.n_rows += rows.shape[0]
        self.log_weights += log_weights
        return self

    def merge(self, other: TriangularFactor, *, overwrite_other: bool = False) -> TriangularFactor:
        """Fold in all rows of another factor, as though they had been given to `update` here; returns self.

        `overwrite_other` destroys it instead of a copy of its triangle, which for thousands of columns is gigabytes.
        """
        if other.n_columns != self.n_columns or not isinstance(other, type(self)):
            raise InputError(
                f"to be merged, factors need the same columns: expected a {self._name} of {self.n_columns} columns, "
                f"got {other!r}"
            )
        self._fold_triangle(other, other.R if overwrite_other else other.R.copy(order="F"))
        self.n_rows += other.n_rows
        self.log_weights += other.log_weights
        return self

    def rescale(self, ratio: float) -> TriangularFactor:
        """Multiply the relative sigmas of all rows so far by a number > 0; returns self."""
        if not 0.0 < ratio < np.inf:
            raise InputError(f"`ratio` must be finite and > 0, got {ratio!r}")
        if ratio != 1.0:
            self.R /= ratio
            self.log_weights += self.n_rows * float(np.log(ratio))
        return self

    def _fold(self, rows: FloatArray) -> None:
        """Fold rows (B, M + 1), targets last, in Fortran order; they are destroyed."""
        fold_rows(self.R, rows)

    def _fold_triangle(self, other: TriangularFactor, triangle: FloatArray) -> None:
        """Fold in the triangle of another factor, which is destroyed."""
        fold_rows(self.R, triangle, len(triangle))

    @classmethod
    def of(cls, R: FloatArray, n_rows: int, log_weights: float) -> TriangularFactor:
        """The factor with these attributes."""
        factor = TriangularFactor.__new__(TriangularFactor)
        factor.R, factor.n_rows, factor.log_weights = R, n_rows, log_weights
        return factor

    def copy(self) -> TriangularFactor:
        """An independent copy."""
        return TriangularFactor.of(self.R.copy(order="F"), self.n_rows, self.log_weights)

    def to_arrays(self) -> dict[str, np.ndarray | PackedTriangle]:
        """The state as arrays: "R" (M+1, M+1), which is not copied, "n_rows" (1,) and "log_weights" (1,)."""
        counts = {"n_rows": np.array([self.n_rows], np.int64), "log_weights": np.array([self.log_weights], float)}
        return {"R": PackedTriangle(self.R), **counts}

    @classmethod
    def from_arrays(cls, arrays: Arrays, n_columns: int) -> TriangularFactor:
        """The factor whose `to_arrays` gave these arrays."""
        own = arrays.of(FACTOR, order=n_columns + 1)
        R = np.asfortranarray(own["R"])
        return cls.of(R, own["n_rows"].item(), own["log_weights"].item())

    def __repr__(self) -> str:
        return f"TriangularFactor(n_columns={self.n_columns}, n_rows={self.n_rows})"
