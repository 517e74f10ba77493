"""Which frames of many to label, or to train on.

Every frame is a block X_f of descriptor vectors: their mean by species (`per="frame"`), or the vectors of all its atoms
(`per="atom"`).  All methods add one frame after another, that of the highest gain:

- "farthest_point": the largest distance of any of its vectors from all vectors taken (Eldar et al., IEEE Trans. Image
  Process. 6, 1305 (1997));
- "cur": the largest leverage on the leading singular vector, after which all vectors are made orthogonal to the
  frame's (Imbalzano et al., J. Chem. Phys. 148, 241730 (2018), section II C);
- "leverage": drawn with probabilities in proportion to leverage scores (Mahoney and Drineas, PNAS 106, 697 (2009));
- "d_optimal": the largest growth of log det(X^T X + ridge), log det(1 + X_f A^-1 X_f^T);
- "v_optimal": the largest decrease of the mean squared error that is expected over all frames (see `v_optimal`);
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
from sklearn.utils import check_random_state

from gapkit.descriptors import SOAP, Descriptor
from gapkit.exceptions import InputError
from gapkit.gp.chunks import frame_chunks
from gapkit.neighbours import build_neighbour_list
from gapkit.potential import GAP
from gapkit.selection.gains import Cur, Distance, DOptimal, Gains, Static
from gapkit.selection.v_optimal import Information, VOptimal
from gapkit.sparse import allocate
from gapkit.sparse.cur import leverage_scores
from gapkit.structures import LabelKeys, to_batch
from gapkit.typing import FloatArray, IntArray

Method = Literal["farthest_point", "cur", "leverage", "d_optimal", "v_optimal", "uncertainty", "diverse", "random"]
METHODS: tuple[str, ...] = get_args(Method)
# Principal components of the vectors that are kept, and atoms whose vectors are made together.
N_COMPONENTS = 40
ATOMS_AT_ONCE = 2000
# Rank that "leverage" looks at.
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
    frames: Sequence[Atoms], n: int, method: Method = "v_optimal", *, model: GAP | None = None,
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
        Compare the means of frames, or all their atoms: what a single atom shows counts then.  "v_optimal" takes the
        forces of all atoms in any case.
    known : list of Atoms
        Frames that are there already; the selection keeps away from them ("farthest_point", "diverse", "d_optimal",
        "v_optimal").
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
        return _greedy(n, free, Static(rng.random(len(frames))))
    if method == "uncertainty":
        assert model is not None
        return _greedy(n, free, Static(_uncertainty(model, frames)))
    if method == "v_optimal":
        every = Information.of([*frames, *known], descriptor, rng)
        return _greedy(n, free, VOptimal(every[: len(frames)], every[len(frames) :], rng))
    blocks = frame_vectors([*frames, *known], descriptor, per)
    own, others = blocks[: len(frames)], blocks[len(frames) :]
    if method == "leverage":
        X = np.concatenate(own)
        scores = leverage_scores(X, min(RANK, *X.shape), rng)
        total = np.array([part.sum() for part in np.split(scores, np.cumsum([len(b) for b in own])[:-1])])
        draws = rng.exponential(size=len(own))
        return _greedy(n, free, Static(-draws / np.maximum(total, 1e-300)))  # Efraimidis and Spirakis (2006)
    if method == "cur":
        return _greedy(n, free, Cur(own))
    if method == "d_optimal":
        return _greedy(n, free, DOptimal(own, others))
    weights = None
    if method == "diverse":
        assert model is not None
        weights = _uncertainty(model, frames)
    return _greedy(n, free, Distance(own, others, weights, rng))


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
    for span in frame_chunks(batch, ATOMS_AT_ONCE):
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


def _greedy(n: int, free: _Quotas, gains: Gains) -> Selected:
    """Take the frame of the highest gain, again and again; the first of those that are equal."""
    chosen, worth = np.empty(n, dtype=np.int64), np.empty(n)
    taken = np.zeros(len(free.group), bool)
    left = free.left.copy()
    for step in range(n):
        still = ~taken & (left[free.group] > 0)
        now = np.where(still, gains.now(still), -np.inf)
        i = int(np.argmax(now))
        chosen[step], worth[step], taken[i] = i, now[i], True
        left[free.group[i]] -= 1
        gains.add(i)
    return Selected(chosen, worth)
