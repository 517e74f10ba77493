"""Selections against what they are defined to be, by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit import SOAP, TwoBody
from gapkit.curation.selection import METHODS, frame_vectors, select
from gapkit.exceptions import InputError
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
    found = select(frames, 12, method, model=model, per=per, descriptor=OWN)
    assert len(set(found.indices.tolist())) == 12
    again = select(frames, 12, method, model=model, per=per, descriptor=OWN)
    np.testing.assert_array_equal(found.indices, again.indices)
    few = select(frames, 5, method, model=model, per=per, descriptor=OWN)
    np.testing.assert_array_equal(found.indices[:5], few.indices)
    if method in ("random", "leverage"):
        other = select(frames, 12, method, model=model, per=per, descriptor=OWN, random_state=1)
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
    mine, X = np.concatenate(frame_vectors(frames, OWN)), brute_means(frames)
    np.testing.assert_allclose(mine @ mine.T, X @ X.T, atol=1e-9)
    atoms = frame_vectors(frames, OWN, "atom")
    assert [len(block) for block in atoms] == [4] * 26
    x = SOAP(4.0, 4, 3, 0.5, species=[29, 79]).fit(frames).transform(frames[-1])
    same = frames[-1].numbers[:, None] == frames[-1].numbers
    by_species = atoms[-1] @ atoms[-1].T
    order = np.lexsort((np.arange(4), frames[-1].numbers))  # blocks of a frame stand by species
    np.testing.assert_allclose(by_species, (same * (x @ x.T))[np.ix_(order, order)], atol=1e-3)


def test_farthest_point_by_brute_force(frames):
    X = brute_means(frames)
    known = list(range(3))
    found = select(frames[3:], 6, descriptor=OWN, known=frames[:3]).indices + 3
    taken = list(known)
    for i in found:
        nearest = np.linalg.norm(X[:, None] - X[taken], axis=2).min(axis=1)
        assert i == np.argmax(nearest)
        taken.append(int(i))


def test_d_optimal_by_brute_force(frames):
    blocks = frame_vectors(frames, OWN, "atom")
    X = np.concatenate(blocks)
    A = 1e-3 * (X**2).sum() / len(X) * np.eye(X.shape[1])
    for i, gain in zip(*vars(select(frames, 6, "d_optimal", descriptor=OWN, per="atom")).values(), strict=True):
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


@pytest.mark.parametrize("method", ["random", "farthest_point", "cur"])
def test_quotas(frames, method):
    unlike = lambda chosen: int(np.count_nonzero(chosen.indices >= 20))  # noqa: E731
    assert unlike(select(frames, 10, method, quotas={"unlike": 2}, descriptor=OWN)) == 2
    assert unlike(select(frames, 13, method, quotas="proportional", descriptor=OWN)) == 3
    assert unlike(select(frames, 9, method, quotas="sqrt", descriptor=OWN)) == 3
    with pytest.raises(InputError, match="quotas"):
        select(frames, 10, method, quotas={"unlike": 2, "alike": 3})


def test_refusals(frames):
    for arguments, words in (
        ({"method": "best"}, "method"), ({"n": 0}, "`n`"), ({"n": 27}, "`n`"), ({"method": "uncertainty"}, "model"),
        ({"per": "pair"}, "per"), ({"descriptor": TwoBody(4.0)}, "SOAP"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            select(frames, **{"n": 3, **arguments})
