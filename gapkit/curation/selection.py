"""Which frames of many to label, or to train on.

Every frame is a block X_f of descriptor vectors: their mean by species (`per="frame"`), or the vectors of all its atoms
(`per="atom"`).  All methods add one frame after another, that of the highest gain:

- "farthest_point": the largest distance of any of its vectors from all vectors taken (Eldar et al., IEEE Trans. Image
  Process. 6, 1305 (1997));
- "cur": the largest leverage on the leading singular vector, after which all vectors are made orthogonal to the
  frame's (Imbalzano et al., J. Chem. Phys. 148, 241730 (2018), section II C);
- "leverage": drawn with probabilities in proportion to leverage scores (Mahoney and Drineas, PNAS 106, 697 (2009));
- "d_optimal": the largest growth of log det(X^T X + ridge), log det(1 + X_f A^-1 X_f^T);
- "uncertainty": the largest standard deviation of any local energy of a model;
- "diverse": that times the distance from all frames taken, for batches that do not say one thing many times;
- "random".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
from ase import Atoms
from sklearn.utils import check_random_state

from gapkit.descriptors import SOAP, Descriptor
from gapkit.exceptions import InputError
from gapkit.gp.parts import waves
from gapkit.neighbours import build_neighbour_list
from gapkit.potential import GAP
from gapkit.sparse import allocate
from gapkit.sparse.cur import leverage_scores
from gapkit.structures import LabelKeys, to_batch
from gapkit.typing import FloatArray, IntArray

Method = Literal["farthest_point", "cur", "leverage", "d_optimal", "uncertainty", "diverse", "random"]
METHODS: tuple[str, ...] = get_args(Method)
# Principal components of the vectors that are kept, and atoms whose vectors are made together.
N_COMPONENTS = 40
ATOMS_AT_ONCE = 2000
# Of the mean squared length of the vectors: the ridge of "d_optimal", and the rank that "leverage" looks at.
RIDGE = 1e-3
RANK = 20


@dataclass(frozen=True)
class Selected:
    """Frames chosen.

    Attributes
    ----------
    indices : ndarray (n,) of int
        In the order in which they were taken: the first m are a selection of m.
    gains : ndarray (n,)
        What each was worth when it was taken, in the units of the method.
    """

    indices: IntArray
    gains: FloatArray


def select(
    frames: Sequence[Atoms], n: int, method: Method = "farthest_point", *, model: GAP | None = None,
    descriptor: Descriptor | None = None, per: Literal["frame", "atom"] = "frame", known: Sequence[Atoms] = (),
    quotas: Mapping[str, int] | Literal["sqrt", "proportional"] | None = None, keys: LabelKeys | None = None,
    random_state: int | np.random.RandomState | None = 0,
) -> Selected:  # fmt: skip
    """Choose `n` of the frames.

    Parameters
    ----------
    frames : list of Atoms
        Labels are not needed.
    model : GAP or None
        Fitted; for "uncertainty" and "diverse".
    descriptor : Descriptor or None
        An atomic one; None: SOAP with a cutoff of 5 Å.
    per : {"frame", "atom"}
        Compare the means of frames, or all their atoms: what a single atom shows counts then.
    known : list of Atoms
        Frames that are there already; the selection keeps away from them ("farthest_point", "diverse", "d_optimal").
    quotas : mapping, {"sqrt", "proportional"} or None
        Frames of each configuration type; types without a number share the rest.  A name: by the square root of the
        frames of each type, or in proportion to them.  None: types do not count.
    random_state : int, RandomState or None
        The same seed gives the same frames.

    Raises
    ------
    InputError
        If an option is unusable, or there are fewer than `n` frames, or quotas allow for fewer.
    """
    if method not in METHODS or per not in ("frame", "atom"):
        raise InputError(
            f'`method` must be one of {", ".join(METHODS)}, `per` "frame" or "atom", got {method!r}, {per!r}'
        )
    if int(n) != n or not 1 <= n <= len(frames):
        raise InputError(f"`n` must be an integer from 1 to the {len(frames)} frames, got {n!r}")
    if method in ("uncertainty", "diverse") and model is None:
        raise InputError(f"`method` = {method!r} needs a fitted `model`")
    rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
    free = _open(frames, n, quotas, (keys or LabelKeys()).config_type)
    if method == "random":
        return _greedy(n, free, _Static(rng.random(len(frames))))
    if method == "uncertainty":
        assert model is not None
        return _greedy(n, free, _Static(_uncertainty(model, frames)))
    blocks = frame_vectors([*frames, *known], descriptor, per)
    own, others = blocks[: len(frames)], blocks[len(frames) :]
    if method == "leverage":
        X = np.concatenate(own)
        scores = leverage_scores(X, min(RANK, *X.shape), rng)
        total = np.array([part.sum() for part in np.split(scores, np.cumsum([len(b) for b in own])[:-1])])
        draws = rng.exponential(size=len(own))
        return _greedy(n, free, _Static(-draws / np.maximum(total, 1e-300)))  # Efraimidis and Spirakis (2006)
    if method == "cur":
        return _greedy(n, free, _Cur(own))
    if method == "d_optimal":
        return _greedy(n, free, _DOptimal(own, others))
    weights = None
    if method == "diverse":
        assert model is not None
        weights = _uncertainty(model, frames)
    return _greedy(n, free, _Distance(own, others, weights, rng))


def frame_vectors(
    frames: Sequence[Atoms], descriptor: Descriptor | None = None, per: Literal["frame", "atom"] = "frame"
) -> list[FloatArray]:
    """Blocks (m_f, r) of leading principal components, m_f = 1 or the number of atoms; species stand side by side."""
    batch = to_batch(frames, labels=False)
    engine = (descriptor or SOAP(5.0, 6, 4, 0.5)).engine(batch.species)
    if not engine.is_atomic:
        raise InputError("`descriptor` must be one of atoms, such as SOAP")
    d, n_species = engine.n_features, len(engine.blocks)
    means = np.zeros((batch.n_frames, n_species * d))
    atoms: list[tuple[IntArray, int, FloatArray]] = []
    for span in waves(batch, ATOMS_AT_ONCE):
        part = batch.select(np.arange(span.start, span.stop))
        view = engine.view(part.numbers, build_neighbour_list(part, engine.reach))
        for i, block in enumerate(engine.blocks):
            centres = view.centres(block)
            for start in range(0, len(centres), view.centres_per_chunk):
                features = view.features(block, centres[start : start + view.centres_per_chunk])
                frame = span.start + part.frame_of_atom[features.centres]
                share = features.x / batch.n_atoms_per_frame[frame, None]
                np.add.at(means[:, i * d : (i + 1) * d], frame, share)
                if per == "atom":
                    atoms.append((frame, i, features.x.copy()))
    if per == "frame":
        return list(_components(means)[:, None, :])
    reduced = []
    for i in range(n_species):  # atoms of different species are not compared: orthogonal coordinates
        own = [(frame, x) for frame, species, x in atoms if species == i]
        x = _components(np.concatenate([x for _, x in own])) if own else np.zeros((0, 0))
        reduced.append((np.concatenate([frame for frame, _ in own]) if own else np.zeros(0, int), x))
    width = sum(x.shape[1] for _, x in reduced)
    rows, owners, start = [], [], 0
    for frame, x in reduced:
        rows.append(np.pad(x, ((0, 0), (start, width - start - x.shape[1]))))
        owners.append(frame)
        start += x.shape[1]
    X, owner = np.concatenate(rows), np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return np.split(X[order], np.cumsum(np.bincount(owner, minlength=batch.n_frames))[:-1])


def _components(x: FloatArray) -> FloatArray:
    """Coordinates along the leading right singular vectors; nothing is centred, as kernels see it."""
    if len(x) < x.shape[1]:
        x = np.asarray(np.linalg.qr(x.T, mode="r")).T  # the same inner products in fewer columns
    values, vectors = np.linalg.eigh(x.T @ x)
    keep = values[::-1][:N_COMPONENTS] > 1e-12 * max(values[-1], 1e-300)
    return np.asarray(x @ vectors[:, ::-1][:, :N_COMPONENTS][:, keep])


def _uncertainty(model: GAP, frames: Sequence[Atoms]) -> FloatArray:
    """Largest standard deviation of a local energy, eV, (n_frames,)."""
    p = model.predict(frames, return_std="local")
    assert p.local_energies_std is not None
    return np.maximum.reduceat(p.local_energies_std, p.offsets[:-1])


@dataclass(frozen=True)
class _Quotas:
    """What may still be taken: the group of every frame, and how many of each."""

    group: IntArray
    left: IntArray


def _open(
    frames: Sequence[Atoms], n: int, quotas: Mapping[str, int] | Literal["sqrt", "proportional"] | None, key: str | None
) -> _Quotas:
    if quotas is None:
        return _Quotas(np.zeros(len(frames), int), np.array([n]))
    types = ["default" if key is None else str(atoms.info.get(key, "default")) for atoms in frames]
    names, group = np.unique(types, return_inverse=True)
    counts = dict(zip(names.tolist(), np.bincount(group).tolist(), strict=True))
    if isinstance(quotas, str):
        shares = allocate(counts, n, rule=quotas)
    else:
        shares = allocate(counts, n, quotas)
    if sum(shares.values()) != n:
        raise InputError(f"`quotas` allow for {sum(shares.values())} frames, {shares}, but `n` is {n}; make them agree")
    return _Quotas(group.ravel(), np.array([shares[name] for name in counts]))


class _Gains(Protocol):
    """What every frame is worth now, (n_frames,), given those added so far."""

    def now(self) -> FloatArray: ...

    def add(self, i: int) -> None: ...


def _greedy(n: int, free: _Quotas, gains: _Gains) -> Selected:
    """Take the frame of the highest gain, again and again; the first of those that are equal."""
    chosen, worth = np.empty(n, dtype=np.int64), np.empty(n)
    taken = np.zeros(len(free.group), bool)
    left = free.left.copy()
    for step in range(n):
        now = np.where(taken | (left[free.group] == 0), -np.inf, gains.now())
        i = int(np.argmax(now))
        chosen[step], worth[step], taken[i] = i, now[i], True
        left[free.group[i]] -= 1
        gains.add(i)
    return Selected(chosen, worth)


class _Static:
    """Gains that do not change."""

    def __init__(self, gains: FloatArray) -> None:
        self._gains = gains

    def now(self) -> FloatArray:
        return self._gains

    def add(self, i: int) -> None:
        pass


class _Distance:
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

    def now(self) -> FloatArray:
        farthest = np.maximum.reduceat(self._nearest, self._starts)
        if np.isinf(farthest).all():
            return self._first
        distances = np.sqrt(np.maximum(farthest, 0.0))
        return distances if self._weights is None else distances * self._weights

    def add(self, i: int) -> None:
        self._near(self._blocks[i])


class _Cur:
    """Leverage on the leading singular vector of what is orthogonal to the frames taken."""

    def __init__(self, blocks: list[FloatArray]) -> None:
        self._starts = np.concatenate([[0], np.cumsum([len(block) for block in blocks])])
        self._whole = np.concatenate(blocks)
        self._X = self._whole.copy()

    def now(self) -> FloatArray:
        values, vectors = np.linalg.eigh(self._X.T @ self._X)
        return np.add.reduceat((self._X @ vectors[:, -1]) ** 2 / max(values[-1], 1e-300), self._starts[:-1])

    def add(self, i: int) -> None:
        block = self._X[self._starts[i] : self._starts[i + 1]]
        direction = np.linalg.svd(block, full_matrices=False)[2][0]
        self._X -= np.outer(self._X @ direction, direction)
        if np.linalg.norm(self._X) < 1e-5 * np.linalg.norm(self._whole):  # they span everything: begin again
            self._X = self._whole.copy()


class _DOptimal:
    """Growth of the log determinant of the information matrix."""

    def __init__(self, own: list[FloatArray], others: list[FloatArray]) -> None:
        self._blocks = own
        self._single = all(len(block) == 1 for block in own)
        X = np.concatenate(own)
        ridge = RIDGE * float(np.einsum("nd,nd->", X, X)) / len(X)
        self._A = ridge * np.eye(X.shape[1]) + sum((block.T @ block for block in others), np.zeros((X.shape[1],) * 2))
        self._X = X
        self._grams = None if self._single else np.stack([block.T @ block for block in own])

    def now(self) -> FloatArray:
        if self._grams is None:
            return np.log1p(np.einsum("nd,dn->n", self._X, np.linalg.solve(self._A, self._X.T)))
        return np.asarray(np.linalg.slogdet(self._A + self._grams)[1] - np.linalg.slogdet(self._A)[1])

    def add(self, i: int) -> None:
        self._A += self._blocks[i].T @ self._blocks[i]
