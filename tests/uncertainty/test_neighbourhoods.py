from __future__ import annotations

import numpy as np
import pytest

from gapkit.uncertainty.neighbourhoods import NO_FRAME, nearest, nearest_others


@pytest.mark.parametrize("own_kind", ["own", "nobody", "mixed"])
@pytest.mark.parametrize(
    ("n", "n_frames", "spread", "k"), [(400, 6, 0.01, 9), (400, 40, 1.0, 1), (30, 1, 1.0, 3), (3, 3, 1.0, 5)]
)
def test_nearest_points_of_other_frames(n, n_frames, spread, k, own_kind):
    # with a small spread all the nearest points are of the query's own frame
    rng = np.random.default_rng(0)
    frames = np.sort(rng.integers(0, n_frames, n))
    points = spread * rng.normal(size=(n, 4)) + rng.normal(size=(n_frames, 4))[frames]
    own = {"own": frames, "nobody": np.full(n, NO_FRAME), "mixed": np.where(rng.random(n) < 0.5, frames, NO_FRAME)}
    distances, indices = nearest_others(points, frames, points, own[own_kind], k)
    for i in range(n):
        others = np.flatnonzero(frames != own[own_kind][i])
        all_distances = np.linalg.norm(points[others] - points[i], axis=1)
        closest = others[np.argsort(all_distances, kind="stable")][:k]
        expected = np.full(k, n)
        expected[: len(closest)] = closest
        np.testing.assert_array_equal(indices[i], expected)
        np.testing.assert_allclose(distances[i, : len(closest)], np.sort(all_distances)[:k], atol=1e-12)
        assert np.isinf(distances[i, len(closest) :]).all()


def test_nearest_equals_a_search_through_all() -> None:
    rng = np.random.default_rng(1)
    points, queries = rng.normal(size=(70, 5)), rng.normal(size=(45, 5))
    queries[:3] = points[:3]
    found, which = nearest(points, (points**2).sum(axis=1), queries)
    distances = np.linalg.norm(points[:, None] - queries, axis=2)
    np.testing.assert_array_equal(which, distances.argmin(axis=0))
    np.testing.assert_allclose(found, distances.min(axis=0), rtol=1e-12, atol=0)
    assert (found[:3] == 0).all()
