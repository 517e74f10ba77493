"""Greedy selection of frames to label, or to train on.

Every frame is a block X_f of descriptor vectors, see `FrameVectors`.  All methods add one frame after another, that of
the highest gain:

- "farthest_point": the largest distance of any of its vectors from all vectors taken (Eldar et al., IEEE Trans. Image
  Process. 6, 1305 (1997));
- "cur": the largest leverage on the leading singular vector, after which all vectors are made orthogonal to the
  frame's (Imbalzano et al., J. Chem. Phys. 148, 241730 (2018), section II C);
- "leverage": drawn with probabilities in proportion to leverage scores (Mahoney and Drineas, PNAS 106, 697 (2009));
- "d_optimal": the largest growth of log det(X^T X + ridge), log det(1 + X_f A^-1 X_f^T);
- "v_optimal": the largest expected decrease of the mean squared error over all frames (see `v_optimal`);
- "uncertainty": the largest standard deviation of any local energy of a model;
- "diverse": that times the distance from all frames taken, for batches that do not say one thing many times;
- "random".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from ase import Atoms
from scipy.linalg import block_diag
from sklearn.utils import check_random_state

from gapkit.descriptors import Descriptor
from gapkit.exceptions import InputError
from gapkit.gp.chunks import frame_chunks
from gapkit.options.checked import Checked, checked
from gapkit.options.kinds import Count, Seed, Whole
from gapkit.potential import GAP
from gapkit.selection.fingerprints import atomic_engine, vectors_by_species
from gapkit.selection.gains import Cur, Distance, DOptimal, Gains, Static
from gapkit.selection.v_optimal import Information, VOptimal
from gapkit.sparse import allocate
from gapkit.sparse.rows import leverage_scores
from gapkit.structures import to_batch
from gapkit.typing import FloatArray, IntArray

Method = Literal["farthest_point", "cur", "leverage", "d_optimal", "v_optimal", "uncertainty", "diverse", "random"]
METHODS: tuple[str, ...] = get_args(Method)
Rule = Mapping[str, Whole] | Literal["sqrt", "proportional"]
N_COMPONENTS = 40  # principal components of the vectors that are kept
ATOMS_AT_ONCE = 2000
RANK = 20  # of "leverage"


@dataclass(frozen=True)
class Selected:
    """Frames chosen: `indices` (n,) in the order of their selection, so that the first m are a selection of m.

    `gains` (n,) are those at their selection, in the units of the method.
    """

    indices: IntArray
    gains: FloatArray


@dataclass(frozen=True)
class FrameVectors(Checked):
    """Blocks of vectors of frames by an atomic descriptor; None: SOAP with a cutoff of 5 Å.

    `per` is "frame", means by species, or "atom", vectors of all atoms, so that a single atom counts; else InputError.
    """

    descriptor: Descriptor | None = None
    per: Literal["frame", "atom"] = "frame"

    def __call__(self, frames: Sequence[Atoms]) -> list[FloatArray]:
        """Leading principal components (m_f, r), m_f = 1 or the number of atoms; species stand side by side."""
        batch = to_batch(frames, labels=False)
        engine = atomic_engine(self.descriptor, batch.species)
        of_species: dict[int, list[tuple[IntArray, FloatArray]]] = {}
        d, n_species = engine.n_features, len(engine.blocks)
        means = np.zeros((batch.n_frames, n_species, d))
        for span in frame_chunks(batch, ATOMS_AT_ONCE):
            part = batch.select(np.arange(span.start, span.stop))
            for i, (centres, x) in enumerate(vectors_by_species(engine, part).values()):
                frame = span.start + part.frame_of_atom[centres]
                if self.per == "frame":
                    np.add.at(means[:, i], frame, x / batch.n_atoms_per_frame[frame, None])
                else:
                    of_species.setdefault(i, []).append((frame, x))
        if self.per == "frame":
            return list(_components(means.reshape(batch.n_frames, -1))[:, None, :])
        # atoms of different species are not compared: orthogonal coordinates
        owner = np.concatenate([frame for parts in of_species.values() for frame, _ in parts])
        X = block_diag(*(_components(np.concatenate([x for _, x in parts])) for parts in of_species.values()))
        order = np.argsort(owner, kind="stable")
        return np.split(X[order], np.cumsum(np.bincount(owner, minlength=batch.n_frames))[:-1])


@dataclass(frozen=True)
class Quotas(Checked):
    """Frames of each configuration type, which is `key` of `info`.

    The rule maps types to numbers, the other types sharing the rest; "sqrt" shares by the root of the frames of each
    type, "proportional" by their number.
    """

    rule: Rule
    key: str = "config_type"


@checked
def select(
    frames: Sequence[Atoms], n: Count, method: Method = "v_optimal", *, model: GAP | None = None,
    descriptor: Descriptor | FrameVectors | None = None, known: Sequence[Atoms] = (),
    quotas: Rule | Quotas | None = None, random_state: Seed = 0,
) -> Selected:  # fmt: skip
    """Choose `n` of the frames.

    Parameters
    ----------
    frames : list of Atoms
        Labels are not needed.
    model : GAP or None
        Fitted; for "uncertainty" and "diverse".
    descriptor : Descriptor, FrameVectors or None
        An atomic one, or vectors of frames; None: SOAP with a cutoff of 5 Å, means of frames.  "v_optimal" takes the
        forces of all atoms in any case.
    known : list of Atoms
        Frames already taken ("farthest_point", "diverse", "d_optimal", "v_optimal").
    quotas : Quotas, its rule, or None
        None: types do not count.
    random_state : int, RandomState or None

    Raises
    ------
    InputError
        If an option is unusable, or there are fewer than `n` frames, or quotas allow for fewer.
    """
    if n > len(frames):
        raise InputError(f"`n` must be a whole number from 1 to the {len(frames)} frames, got {n!r}")
    if method in ("uncertainty", "diverse") and model is None:
        raise InputError(f"`method` = {method!r} needs a fitted `model`")
    rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
    free = _open(frames, n, quotas)
    vectors = descriptor if isinstance(descriptor, FrameVectors) else FrameVectors(descriptor)
    if method == "random":
        return _greedy(n, *free, Static(rng.random(len(frames))))
    if method == "v_optimal":
        every = Information.of([*frames, *known], vectors.descriptor, rng)
        return _greedy(n, *free, VOptimal(every[: len(frames)], every[len(frames) :], rng))
    weights = _uncertainty(model, frames) if model is not None and method in ("uncertainty", "diverse") else None
    if weights is not None and method == "uncertainty":
        return _greedy(n, *free, Static(weights))
    blocks = vectors([*frames, *known])
    own, others = blocks[: len(frames)], blocks[len(frames) :]
    if method == "leverage":
        X = np.concatenate(own)
        scores = leverage_scores(X, min(RANK, *X.shape), rng)
        total = np.add.reduceat(scores, np.cumsum([0, *map(len, own)])[:-1])
        draws = rng.exponential(size=len(own))
        return _greedy(n, *free, Static(-draws / np.maximum(total, 1e-300)))  # Efraimidis and Spirakis (2006)
    if method == "cur":
        return _greedy(n, *free, Cur(own))
    if method == "d_optimal":
        return _greedy(n, *free, DOptimal(own, others))
    return _greedy(n, *free, Distance(own, others, weights, rng))


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


def _open(frames: Sequence[Atoms], n: int, quotas: Rule | Quotas | None) -> tuple[IntArray, IntArray]:
    """Group of every frame (n_frames,), and number still open of each group."""
    if quotas is None:
        return np.zeros(len(frames), int), np.array([n])
    quotas = quotas if isinstance(quotas, Quotas) else Quotas(quotas)
    types, rule = [str(atoms.info.get(quotas.key, "default")) for atoms in frames], quotas.rule
    names, group = np.unique(types, return_inverse=True)
    counts = dict(zip(names.tolist(), np.bincount(group).tolist(), strict=True))
    shares = allocate(counts, n, rule=rule) if isinstance(rule, str) else allocate(counts, n, rule)
    if sum(shares.values()) != n:
        raise InputError(f"`quotas` allow for {sum(shares.values())} frames, {shares}, but `n` is {n}; make them agree")
    return group.ravel(), np.array([shares[name] for name in counts])


def _greedy(n: int, group: IntArray, left: IntArray, gains: Gains) -> Selected:
    """Take the frame of the highest gain, again and again; the first of equal ones."""
    chosen, worth = np.empty(n, dtype=np.int64), np.empty(n)
    taken = np.zeros(len(group), bool)
    for step in range(n):
        still = ~taken & (left[group] > 0)
        now = np.where(still, gains.now(still), -np.inf)
        i = int(np.argmax(now))
        chosen[step], worth[step], taken[i] = i, now[i], True
        left[group[i]] -= 1
        gains.add(i)
    return Selected(chosen, worth)
