"""Gains of frames in a greedy selection, given those already taken."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from gapkit.typing import BoolArray, FloatArray

RIDGE = 1e-3  # of "d_optimal", of the mean squared length of the vectors


class Gains(Protocol):
    """Gains (n_frames,) of the frames that are `free`, given those added so far; -inf: not considered."""

    def now(self, free: BoolArray) -> FloatArray: ...

    def add(self, i: int) -> None: ...


class Static:
    """Gains that do not change."""

    def __init__(self, gains: FloatArray) -> None:
        self._gains = gains

    def now(self, free: BoolArray) -> FloatArray:
        return self._gains

    def add(self, i: int) -> None:
        pass


class Distance:
    """Largest distance of any vector of a frame from all vectors taken, times the frame's weight."""

    def __init__(
        self, own: list[FloatArray], others: list[FloatArray], weights: FloatArray | None, rng: np.random.Generator
    ) -> None:
        self._blocks = own
        self._X = np.concatenate(own)
        self._starts = np.concatenate([[0], np.cumsum([len(block) for block in own])[:-1]])
        self._nearest = np.full(len(self._X), np.inf)
        self._weights = weights
        self._first = rng.random(len(own)) if weights is None else weights
        for block in others:
            self._near(block)

    def _near(self, block: FloatArray) -> None:
        squares = np.einsum("nd,nd->n", self._X, self._X)[:, None] + np.einsum("nd,nd->n", block, block)
        np.minimum(self._nearest, (squares - 2.0 * (self._X @ block.T)).min(axis=1), out=self._nearest)

    def now(self, free: BoolArray) -> FloatArray:
        farthest = np.maximum.reduceat(self._nearest, self._starts)
        if np.isinf(farthest).all():
            return self._first
        distances = np.sqrt(np.maximum(farthest, 0.0))
        return distances if self._weights is None else distances * self._weights

    def add(self, i: int) -> None:
        self._near(self._blocks[i])


class Cur:
    """Leverage on the leading singular vector of the complement of the frames taken."""

    def __init__(self, blocks: list[FloatArray]) -> None:
        self._starts = np.concatenate([[0], np.cumsum([len(block) for block in blocks])])
        self._whole = np.concatenate(blocks)
        self._X = self._whole.copy()

    def now(self, free: BoolArray) -> FloatArray:
        values, vectors = np.linalg.eigh(self._X.T @ self._X)
        return np.add.reduceat((self._X @ vectors[:, -1]) ** 2 / max(values[-1], 1e-300), self._starts[:-1])

    def add(self, i: int) -> None:
        block = self._X[self._starts[i] : self._starts[i + 1]]
        direction = np.linalg.svd(block, full_matrices=False)[2][0]
        self._X -= np.outer(self._X @ direction, direction)
        if np.linalg.norm(self._X) < 1e-5 * np.linalg.norm(self._whole):  # they span everything: begin again
            self._X = self._whole.copy()


class DOptimal:
    """Growth of the log determinant of the information matrix."""

    def __init__(self, own: list[FloatArray], others: list[FloatArray]) -> None:
        self._blocks = own
        self._single = all(len(block) == 1 for block in own)
        X = np.concatenate(own)
        ridge = RIDGE * float(np.einsum("nd,nd->", X, X)) / len(X)
        self._A = ridge * np.eye(X.shape[1]) + sum((block.T @ block for block in others), np.zeros((X.shape[1],) * 2))
        self._X = X
        self._grams = None if self._single else np.stack([block.T @ block for block in own])

    def now(self, free: BoolArray) -> FloatArray:
        if self._grams is None:
            return np.log1p(np.einsum("nd,dn->n", self._X, np.linalg.solve(self._A, self._X.T)))
        return np.asarray(np.linalg.slogdet(self._A + self._grams)[1] - np.linalg.slogdet(self._A)[1])

    def add(self, i: int) -> None:
        self._A += self._blocks[i].T @ self._blocks[i]
