"""Selections against what they are defined to be, by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

from gapkit import SOAP, TwoBody
from gapkit.exceptions import InputError
from gapkit.selection import v_optimal
from gapkit.selection.select import METHODS, FrameVectors, Quotas, select
from gapkit.selection.v_optimal import Information, VOptimal
from tests.potential.models import make_frames, small_model

OWN = SOAP(4.0, 4, 3, 0.5)


@pytest.fixture(scope="module")
def frames():
    """20 alike, 6 unlike, with types."""
    out = make_frames(20, size=0.02) + make_frames(6, n_gold=3, seed=7, size=0.3)
    for i, atoms in enumerate(out):
        atoms.info["config_type"] = "alike" if i < 20 else "unlike"
    return out


@pytest.fixture(scope="module")
def model():
    return small_model().fit(make_frames(8, n_gold=1, size=0.02))


@pytest.mark.parametrize("per", ["frame", "atom"])
@pytest.mark.parametrize("method", METHODS)
def test_distinct_deterministic_and_nested(frames, model, method, per):
    found = select(frames, 12, method, model=model, descriptor=FrameVectors(OWN, per))
    assert len(set(found.indices.tolist())) == 12
    again = select(frames, 12, method, model=model, descriptor=FrameVectors(OWN, per))
    np.testing.assert_array_equal(found.indices, again.indices)
    few = select(frames, 5, method, model=model, descriptor=FrameVectors(OWN, per))
    np.testing.assert_array_equal(found.indices[:5], few.indices)
    if method in ("random", "leverage", "v_optimal"):
        other = select(frames, 12, method, model=model, descriptor=FrameVectors(OWN, per), random_state=1)
        assert not np.array_equal(other.indices, found.indices)


@pytest.mark.parametrize("method", ["farthest_point", "cur", "d_optimal", "uncertainty", "diverse"])
def test_the_unlike_come_early(frames, model, method):
    chosen = select(frames, 8, method, model=model, descriptor=OWN).indices
    assert np.count_nonzero(chosen >= 20) >= 4  # by chance, two


def test_leverage_favours_the_unlike(frames):
    draws = [select(frames, 6, "leverage", descriptor=OWN, random_state=seed).indices for seed in range(20)]
    assert np.mean([np.count_nonzero(chosen >= 20) for chosen in draws]) > 1.9  # uniform draws: 1.4 +- 0.2
    first = [chosen[0] >= 20 for chosen in draws]
    assert np.mean(first) > 6 / 26


def brute_means(frames):
    means = []
    species = sorted({z for atoms in frames for z in atoms.numbers.tolist()})
    of = SOAP(4.0, 4, 3, 0.5, species=species).fit(frames)
    for atoms in frames:
        x = of.transform(atoms)
        means.append(np.concatenate([x[atoms.numbers == z].sum(axis=0) / len(atoms) for z in species]))
    return np.array(means)


def test_vectors_keep_distances(frames):
    mine, X = np.concatenate(FrameVectors(OWN)(frames)), brute_means(frames)
    np.testing.assert_allclose(mine @ mine.T, X @ X.T, atol=1e-9)
    atoms = FrameVectors(OWN, "atom")(frames)
    assert [len(block) for block in atoms] == [4] * 26
    x = SOAP(4.0, 4, 3, 0.5, species=[29, 79]).fit(frames).transform(frames[-1])
    same = frames[-1].numbers[:, None] == frames[-1].numbers
    by_species = atoms[-1] @ atoms[-1].T
    order = np.lexsort((np.arange(4), frames[-1].numbers))  # blocks of a frame stand by species
    np.testing.assert_allclose(by_species, (same * (x @ x.T))[np.ix_(order, order)], atol=1e-3)


def test_farthest_point_by_brute_force(frames):
    X = brute_means(frames)
    known = list(range(3))
    found = select(frames[3:], 6, "farthest_point", descriptor=OWN, known=frames[:3]).indices + 3
    taken = list(known)
    for i in found:
        nearest = np.linalg.norm(X[:, None] - X[taken], axis=2).min(axis=1)
        assert i == np.argmax(nearest)
        taken.append(int(i))


def test_d_optimal_by_brute_force(frames):
    blocks = FrameVectors(OWN, "atom")(frames)
    X = np.concatenate(blocks)
    A = 1e-3 * (X**2).sum() / len(X) * np.eye(X.shape[1])
    for i, gain in zip(
        *vars(select(frames, 6, "d_optimal", descriptor=FrameVectors(OWN, "atom"))).values(), strict=True
    ):
        gains = [np.linalg.slogdet(np.eye(len(b)) + b @ np.linalg.solve(A, b.T))[1] for b in blocks]
        assert gain == pytest.approx(max(gains))
        assert gains[i] == pytest.approx(max(gains))
        A += blocks[i].T @ blocks[i]


def test_a_batch_of_doubles_is_diverse_only_with_distance(frames, model):
    twice = frames[:20] + [frames[20]] * 5 + frames[21:]
    by_std = select(twice, 3, "uncertainty", model=model).indices
    std = model.predict(twice, return_std="local")
    worst = np.maximum.reduceat(std.local_energies_std, std.offsets[:-1])
    np.testing.assert_allclose(worst[by_std], np.sort(worst)[::-1][:3])
    diverse = select(twice, 5, "diverse", model=model, descriptor=OWN).indices
    assert np.count_nonzero((diverse >= 20) & (diverse < 25)) <= 1


def test_diverse_is_uncertainty_times_distance(frames, model):
    X, p = brute_means(frames), model.predict(frames, return_std="local")
    std = np.maximum.reduceat(p.local_energies_std, p.offsets[:-1])
    taken = []
    for i in select(frames, 8, "diverse", model=model, descriptor=OWN).indices:
        distance = np.linalg.norm(X[:, None] - X[taken], axis=2).min(axis=1) if taken else 1.0
        assert i == np.argmax(std * distance)
        taken.append(int(i))


def test_information_by_finite_differences(frames):
    """Force rows are the slopes of energy rows, which differ by nothing else between frames of one composition."""
    atoms, h = frames[-1], 1e-4
    moved = []
    for i, c, sign in np.ndindex(len(atoms), 3, 2):
        moved.append(atoms.copy())
        moved[-1].positions[i, c] += h * (1 - 2 * sign)
    found = Information.of([atoms, *frames[:3], *moved], OWN, np.random.default_rng(0))
    energies = found.energy[4:].reshape(-1, 2, found.energy.shape[1]) * 0.1 * np.sqrt(len(atoms))
    rows = -(energies[:, 0] - energies[:, 1]) / (2 * h)
    np.testing.assert_allclose(found.forces[0], rows.T @ rows, atol=1e-5 * np.trace(found.forces[0]))
    assert found.n_rows.tolist() == [12] * len(found.n_rows)
    share = np.array([np.bincount(a.numbers == 79, minlength=2) for a in [atoms, *frames[:3], *moved]])
    np.testing.assert_allclose(share.T @ found.energy, 0.0, atol=1e-7 * np.abs(found.energy).max())


def test_information_with_all_atoms_for_sparse_points_is_the_prior(frames, monkeypatch):
    monkeypatch.setattr(v_optimal, "RANK", 1000)
    few = frames[::3]
    found = Information.of(few, OWN, np.random.default_rng(0)).energy
    numbers = np.concatenate([atoms.numbers for atoms in few])
    x = SOAP(4.0, 4, 3, 0.5, species=[29, 79]).fit(few).transform(few)
    K = (x @ x.T) ** 4 * (numbers[:, None] == numbers)
    total = K.reshape(len(few), 4, len(few), 4).sum(axis=(1, 3))
    counts = np.array([np.bincount(atoms.numbers == 79, minlength=2) for atoms in few])
    without = np.eye(len(few)) - counts @ np.linalg.pinv(counts)
    expected = without @ total @ without / (4 * 0.1**2)
    np.testing.assert_allclose(found @ found.T, expected, atol=1e-4 * np.trace(expected))


def test_information_of_large_frames_in_parts(frames, monkeypatch):
    large = [atoms.repeat((2, 2, 1)) for atoms in frames[:3]]
    whole = Information.of(large, OWN, np.random.default_rng(0))
    monkeypatch.setattr(v_optimal, "ATOMS_AT_ONCE", 5)
    parts = Information.of(large, OWN, np.random.default_rng(0))
    np.testing.assert_allclose(
        np.trace(parts.forces, axis1=1, axis2=2), np.trace(whole.forces, axis1=1, axis2=2), rtol=1e-8
    )
    np.testing.assert_allclose(parts.energy @ parts.energy.T, whole.energy @ whole.energy.T, rtol=1e-6)


def expected_errors(pool, chosen, known=None):
    """J of frames chosen, from its definition."""
    outer = lambda of: of.forces + np.einsum("ni,nj->nij", of.energy, of.energy)  # noqa: E731
    noise = np.trace(pool.forces.sum(axis=0)) / pool.n_rows.sum() / 100.0
    H, rows = outer(pool) / noise, pool.n_rows
    mean = H.sum(axis=0) / rows.sum()
    values, vectors = np.linalg.eigh(mean)
    root = (vectors / np.sqrt(np.maximum(values, 1e-4 * values.max()))) @ vectors.T
    apart = lambda of: np.sum((root @ (of - mean) @ root) ** 2)  # noqa: E731
    total, n = H[chosen].sum(axis=0), rows[chosen].sum()
    if known is not None:
        total, n = total + outer(known).sum(axis=0) / noise, n + known.n_rows.sum()
    alone = np.mean([apart(h / n_h) for h, n_h in zip(H, rows, strict=True)])
    return np.trace(np.linalg.inv(np.eye(len(mean)) + total) @ mean) + 0.1 * apart(total / n) / alone


@pytest.mark.parametrize("n_known", [0, 5])
def test_v_optimal_by_brute_force(frames, monkeypatch, n_known):
    monkeypatch.setattr(v_optimal, "PART", 1.0)
    every = frames[::-1]
    own, known = every[n_known:], every[:n_known]
    found = select(own, 6, "v_optimal", descriptor=OWN, known=known, random_state=3)
    rng = np.random.default_rng(np.random.RandomState(3).randint(2**31 - 1))
    info = Information.of([*own, *known], OWN, rng)
    pool, there = info[: len(own)], info[len(own) :] if n_known else None
    taken = []
    before = expected_errors(pool, taken, there) if n_known else None
    for i, gain in zip(found.indices, found.gains, strict=True):
        left = [j for j in range(len(own)) if j not in taken]
        after = {j: expected_errors(pool, [*taken, j], there) for j in left}
        assert after[i] == pytest.approx(min(after.values()), rel=1e-7)
        if before is not None:
            assert gain == pytest.approx(before - after[i], rel=1e-5, abs=1e-9)
        before, taken = after[i], [*taken, int(i)]


def test_v_optimal_beats_random_in_what_is_left(frames):
    info = Information.of(frames, OWN, np.random.default_rng(0))
    for n in (4, 8, 13):
        mine = [expected_errors(info, select(frames, n, "v_optimal", descriptor=OWN, random_state=s).indices)
                for s in range(4)]  # fmt: skip
        others = [expected_errors(info, np.random.default_rng(s).permutation(26)[:n]) for s in range(40)]
        assert max(mine) < np.quantile(others, 0.1)


def test_v_optimal_adds_to_what_is_known(frames):
    """Unlike frames are needed, unless they are there."""
    chosen = lambda known: select(frames[:24], 6, "v_optimal", descriptor=OWN, known=known).indices  # noqa: E731
    with_them, without = chosen(frames[20:24] * 3), chosen(())
    assert np.count_nonzero(with_them >= 20) < np.count_nonzero(without >= 20)


def test_v_optimal_looks_at_no_labels(frames):
    bare = [atoms.copy() for atoms in frames]
    for atoms in bare:
        atoms.calc = None
    pick = lambda of: select(of, 8, "v_optimal", descriptor=OWN).indices  # noqa: E731
    np.testing.assert_array_equal(pick(frames), pick(bare))


def test_v_optimal_looks_at_a_part(frames):
    info = Information.of(frames, OWN, np.random.default_rng(0))
    gains = VOptimal(info, info[:0], np.random.default_rng(0))
    free = np.arange(26) % 3 > 0
    seen = np.isfinite(gains.now(free))
    assert seen.sum() == 9  # of 17
    assert not seen[~free].any()
    assert np.isfinite(gains.now(np.arange(26) == 4)).sum() == 1


def test_v_optimal_of_lone_atoms():
    """Nothing to learn: no failure."""
    lone = [Atoms("Cu", cell=[20.0] * 3, pbc=True)] * 3
    assert sorted(select(lone, 3, "v_optimal", descriptor=OWN).indices) == [0, 1, 2]


@pytest.mark.parametrize("method", ["random", "farthest_point", "cur", "v_optimal"])
def test_quotas(frames, method):
    unlike = lambda chosen: int(np.count_nonzero(chosen.indices >= 20))  # noqa: E731
    assert unlike(select(frames, 10, method, quotas={"unlike": 2}, descriptor=OWN)) == 2
    assert unlike(select(frames, 13, method, quotas="proportional", descriptor=OWN)) == 3
    assert unlike(select(frames, 9, method, quotas="sqrt", descriptor=OWN)) == 3
    for atoms in frames:
        atoms.info["kind"] = atoms.info["config_type"]
    assert unlike(select(frames, 10, method, quotas=Quotas({"unlike": 2}, key="kind"), descriptor=OWN)) == 2
    with pytest.raises(InputError, match="quotas"):
        select(frames, 10, method, quotas={"unlike": 2, "alike": 3})


def test_refusals(frames):
    for arguments, words in (
        ({"method": "best"}, "method"), ({"n": 0}, "`n`"), ({"n": 27}, "`n`"), ({"method": "uncertainty"}, "model"),
        ({"descriptor": TwoBody(4.0)}, "SOAP"),
        ({"descriptor": TwoBody(4.0), "method": "v_optimal"}, "SOAP"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            select(frames, **{"n": 3, **arguments})
    with pytest.raises(InputError, match="`per`"):
        FrameVectors(per="pair")
