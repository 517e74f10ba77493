"""Triangular factors that keep their orthogonal transformations, so that columns can be appended later.

A factor [K | y] = Q R forgets Q.  New sparse points are new columns K' of the same rows: R grows by Q^T K' and by the
triangle of what K' has beyond the columns of [K | y].  R^-T K^T K' would lose half of the digits, and all of them where
R is singular (fewer energies than sparse points), so that Q itself is kept: the Householder reflectors of every fold,
as many numbers as the rows have.  To apply them costs 4 n M p for n rows and p new columns; a new fit costs 2 n M^2.

Source of the reflectors in blocks: Schreiber and Van Loan, SIAM J. Sci. Stat. Comput. 10, 53 (1989).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

import numpy as np
from scipy.linalg import qr

from gapkit.exceptions import InputError, OutputError
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.lapack import apply_reflectors, fold_rows
from gapkit.io.atomic import check_output, naming
from gapkit.typing import FloatArray, IntArray


class ArrayStore:
    """Matrices that are written once: in memory (path None), or one after another in a file, which is emptied.

    Raises
    ------
    OutputError
        If the file cannot be written, or holds anything else than such matrices.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path)
        if self.path is None:
            return
        check_output(self.path)
        if self.path.exists():
            with self.path.open("rb") as stream:
                start = stream.read(len(_MARK))
            if start not in (b"", _MARK):
                raise OutputError(
                    f"cannot write {self.path}: it would be emptied, and it holds something else than training rows; "
                    "name a new file"
                )
        self._head = _MARK + secrets.token_bytes(_TOKEN)  # by which a file that another store emptied is known
        self.path = self.path.absolute()
        with naming(self.path):
            self.path.write_bytes(self._head)

    def put(self, array: FloatArray) -> Stored:
        """Take over a matrix in Fortran order; OutputError if the disk is full."""
        if self.path is None:
            return array
        with _WRITING, naming(self.path), open(self.path, "ab") as stream:
            offset = stream.tell()
            stream.write(array.T.data)
        return array.shape, offset

    def get(self, stored: Stored) -> FloatArray:
        """The matrix, which must not be changed; InputError if the file is gone, cut short or another's."""
        if not isinstance(stored, tuple):
            return stored
        (rows, columns), offset = stored
        try:
            with open(self.path or "", "rb") as stream:
                if stream.read(len(self._head)) != self._head:
                    raise ValueError("another fit has written there")
                stream.seek(offset)
                flat = np.fromfile(stream, np.float64, rows * columns)
            return flat.reshape(columns, rows).T
        except (OSError, ValueError) as error:
            raise InputError(
                f"the training rows in {self.path} can't be read any more ({error}); fit again, or pass "
                "`training_frames` to have them made again"
            ) from error


# A matrix of an `ArrayStore`: its shape and its offset in the file, or itself.
Stored: TypeAlias = tuple[tuple[int, ...], int] | FloatArray


@dataclass(frozen=True, eq=False)
class Step:
    """Reflectors (n, width) and block factors of rows, of another triangle, or of what new columns have beyond ours."""

    reflectors: Stored
    factors: Stored
    n_rows: int = 0  # that were given to `update`
    steps: tuple[Step, ...] | None = None  # of another triangle
    width: int = 0  # columns with which it started
    turn: FloatArray | None = None  # (p + 1, p + 1), of p new columns: turn of the rows below the triangle


class RecordedFactor(TriangularFactor):
    """A triangular factor to which columns can be appended; `store` keeps 8 bytes for every row and column.

    Its columns stand in the order in which they were appended, of which `order` (n_columns,) gives the columns of the
    model (None: the same); rows are given to `update` in the order of the model.
    """

    _name = "recorded factor"

    def __init__(self, n_columns: int, store: ArrayStore, order: IntArray | None = None) -> None:
        super().__init__(n_columns)
        self.order = order
        self._store = store
        self._steps: list[Step] = []
        self._width = self.R.shape[0]

    def update(self, rows: FloatArray, targets: FloatArray, sigmas: FloatArray | None = None) -> RecordedFactor:
        """As that of `TriangularFactor`."""
        rows = np.asarray(rows, dtype=np.float64)
        if self.order is not None and rows.ndim == 2 and rows.shape[1] == self.n_columns:
            rows = rows[:, self.order]
        super().update(rows, targets, sigmas)
        return self

    def _fold(self, rows: FloatArray) -> None:
        self._keep(rows, fold_rows(self.R, rows), n_rows=len(rows))

    def _fold_triangle(self, other: TriangularFactor, triangle: FloatArray) -> None:
        """The other factor is recorded in the same store and order."""
        assert isinstance(other, RecordedFactor)
        factors = fold_rows(self.R, triangle, len(triangle))
        self._keep(triangle, factors, n_rows=other.n_rows, steps=tuple(other._steps), width=other._width)

    def _keep(self, reflectors: FloatArray, factors: FloatArray, **step: Any) -> None:
        self._steps.append(Step(self._store.put(reflectors), self._store.put(factors), **step))

    def append_columns(self, columns: FloatArray, order: IntArray) -> None:
        """Append columns (n_rows, p); `order` (n_columns + p,) has the column of the model for each of the factor.

        Rows stand in the order of the calls of `update` (those of merged factors where they were merged), divided by
        their relative sigmas.
        """
        columns, n_old = np.asarray(columns, dtype=np.float64), self.n_columns
        if columns.ndim != 2 or len(columns) != self.n_rows or len(order) != n_old + columns.shape[1]:
            raise InputError(
                f"columns for {self.n_rows} rows and the order of all columns were expected, got {columns.shape} and "
                f"{len(order)} for {n_old} old columns"
            )
        n_new = columns.shape[1]
        top, beyond = _replay(self._store, self._steps, self._width, columns)
        small: FloatArray = np.zeros((n_new + 1, n_new + 1), order="F")
        triangle: FloatArray = np.zeros((n_new, n_new), order="F")
        factors = fold_rows(triangle, beyond)
        small[0, :n_new], small[0, n_new], small[1:, :n_new] = top[-1], self.R[-1, -1], triangle
        turn, corner = qr(small)
        R: FloatArray = np.zeros((n_old + n_new + 1, n_old + n_new + 1), order="F")
        R[:n_old, :n_old], R[:n_old, n_old:-1], R[:n_old, -1] = self.R[:-1, :-1], top[:-1], self.R[:-1, -1]
        R[n_old:, n_old:] = corner
        self._keep(beyond, factors, turn=turn)
        self.R, self.order = R, np.asarray(order)

    def in_model_order(self) -> TriangularFactor:
        """The factor with its columns in the order of the model; it shares R where that is the order already."""
        R = self.R
        if self.order is not None:
            permuted: FloatArray = np.empty_like(R, order="F")
            permuted[:, self.order], permuted[:, -1] = R[:, :-1], R[:, -1]
            R = np.asfortranarray(np.triu(qr(permuted, mode="r", overwrite_a=True)[0]))
        return TriangularFactor.of(R, self.n_rows, self.log_weights)

    def copy(self) -> RecordedFactor:
        """An independent copy, in the same store."""
        new = object.__new__(RecordedFactor)
        new.__dict__.update(self.__dict__)
        new.R, new._steps = self.R.copy(order="F"), list(self._steps)
        return new


def _replay(store: ArrayStore, steps: Sequence[Step], width: int, columns: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Q^T applied to columns (n_rows, p): the rows (width, p) at the triangle, and all others."""
    p = columns.shape[1]
    top: FloatArray = np.zeros((width, p), order="F")
    others: list[FloatArray] = [np.zeros((0, p), order="F")]
    position = 0
    for step in steps:
        reflectors, factors = store.get(step.reflectors), store.get(step.factors)
        if step.turn is not None:
            beyond = np.asfortranarray(np.concatenate(others))
            own: FloatArray = np.zeros((reflectors.shape[1], p), order="F")
            apply_reflectors(reflectors, factors, 0, own, beyond)
            others = [beyond]
            top = np.asfortranarray(np.concatenate([top[:-1], step.turn.T @ np.concatenate([top[-1:], own])]))
            continue
        own_columns = columns[position : position + step.n_rows]
        position += step.n_rows
        if step.steps is None:
            below = np.array(own_columns, order="F")
        else:
            below, rest = _replay(store, step.steps, step.width, own_columns)
            others.append(rest)
        apply_reflectors(reflectors, factors, 0 if step.steps is None else len(reflectors), top, below)
        others.append(below)
    return top, np.asfortranarray(np.concatenate(others))


_WRITING = Lock()
# What a file of an `ArrayStore` begins with, and the length of the token that follows.
_MARK, _TOKEN = b"gapkit-rows-1\n\0\0", 16
