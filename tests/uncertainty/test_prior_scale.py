"""Scale of the prior residual: planted factors, ceilings, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest

from gapkit.typing import FloatArray
from gapkit.uncertainty.prior_scale import LEAST_SHARE, LIMITS, OfKind, PriorScale, share_of_prior, widening
from gapkit.uncertainty.scale import LEVEL, Z


def kind_of(
    rng: np.random.Generator, c: float, *, n: int = 4000, ceiling: float = np.inf, known: float = 0.3
) -> OfKind:
    """Normal errors of variance `known`, on average, and c^2 g P under the ceiling; P over a factor of a hundred."""
    share = rng.uniform(0.2, 1.0, n)
    prior, of_data = share * np.exp(rng.uniform(-2.3, 2.3, n)), known * rng.exponential(size=n)
    variances = of_data + PriorScale(c, ceiling).of_share(prior)
    return np.sqrt(variances) * rng.standard_normal(n), of_data, prior, share


def covered(scale: PriorScale, kind: OfKind) -> float:
    errors, known, prior, _ = kind
    return float(np.mean(np.abs(errors) <= Z * np.sqrt(known + scale.of_share(prior)) * (1.0 + 1e-12)))


def unwidened(scale: PriorScale) -> PriorScale:
    return PriorScale(scale.factor / widening(scale.n_kinds), scale.ceiling, scale.n_kinds)


@pytest.mark.parametrize("ceiling", [np.inf, 20.0])
@pytest.mark.parametrize("c", [1.5, 3.0])
def test_a_planted_factor_is_found(c: float, ceiling: float) -> None:
    rng = np.random.default_rng(0)
    kinds = [kind_of(rng, c, ceiling=ceiling) for _ in range(8)]
    found = PriorScale.fit(kinds, ceiling)
    assert (found.n_kinds, found.ceiling) == (8, ceiling)
    assert found.factor == pytest.approx(c * widening(8), rel=0.1)
    assert found.factor >= 0.98 * c * widening(8)  # the largest of eight
    new = kind_of(rng, c, ceiling=ceiling)
    # of a ceiling that all variances reach, the factor changes little
    assert covered(unwidened(found), new) == pytest.approx(LEVEL, abs=0.02)


@pytest.mark.parametrize("ceiling", [np.inf, 20.0])
def test_one_kind_has_ninety_per_cent_within(ceiling: float) -> None:
    """By construction, whatever the shape of the errors."""
    rng = np.random.default_rng(1)
    errors, known, prior, share = kind_of(rng, 1.5)
    errors = errors * np.abs(rng.standard_t(5, len(errors)))
    kind = (np.clip(errors, -6.0, 6.0), known, prior, share)
    found = PriorScale.fit([kind], ceiling)
    assert LIMITS[0] < found.factor < LIMITS[1]
    assert covered(unwidened(found), kind) == pytest.approx(LEVEL, abs=2.0 / len(errors))


def test_the_largest_kind_decides() -> None:
    rng = np.random.default_rng(2)
    small, large = kind_of(rng, 1.0), kind_of(rng, 2.0)
    alone = unwidened(PriorScale.fit([large], np.inf)).factor
    for kinds in ([small, large], [large, small], [small, large, small]):
        found = PriorScale.fit(kinds, np.inf)
        assert unwidened(found).factor == pytest.approx(alone)
        assert found.n_kinds == len(kinds)
    # a kind counts whole, however few targets it has
    few = tuple(part[:40] for part in large)
    assert PriorScale.fit([small, few], np.inf).factor > PriorScale.fit([small, small], np.inf).factor


def test_the_factor_has_limits() -> None:
    errors, known, prior, share = kind_of(np.random.default_rng(3), 1.0)
    assert PriorScale.fit([(0.0 * errors, known, prior, share)] * 3, np.inf).factor == LIMITS[0]
    assert PriorScale.fit([(1e3 * errors, known, prior, share)] * 3, np.inf).factor == LIMITS[1]
    # errors that no variance under the ceiling explains
    ones = np.ones(100)
    assert PriorScale.fit([(4.0 * ones, 0.0 * ones, 10.0 * ones, ones)], (4.0 / Z) ** 2 - 0.1).factor == LIMITS[1]


@pytest.mark.parametrize("why", ["no kinds", "nothing novel", "two targets", "no prior"])
def test_without_a_novel_kind_the_prior_stays_as_it_is(why: str) -> None:
    errors, known, prior, share = kind_of(np.random.default_rng(4), 5.0)
    kinds = {
        "no kinds": [],
        "nothing novel": [(errors, known, prior, np.full(len(share), LEAST_SHARE))],
        "two targets": [(errors[:2], known[:2], prior[:2], share[:2])],
        "no prior": [(errors, known, 0.0 * prior, share)],
    }[why]
    found = PriorScale.fit(kinds, 4.0)
    assert found == PriorScale(1.0, 4.0, 0)
    assert found.in_words(1.0, "eV") == "c = 1 (no kind was novel when it was left out), at most 2 eV"


def test_targets_that_are_not_novel_say_nothing() -> None:
    rng = np.random.default_rng(5)
    errors, known, prior, share = kind_of(rng, 2.0, n=400)
    others = [1e3 * errors, known, prior, np.full(len(share), 0.5 * LEAST_SHARE)]
    joined = tuple(np.concatenate(pair) for pair in zip((errors, known, prior, share), others, strict=True))
    assert len(joined) == 4
    assert PriorScale.fit([joined], np.inf) == PriorScale.fit([(errors, known, prior, share)], np.inf)


# ---------------------------------------------------------------------- the variance


GRID: FloatArray = np.geomspace(1e-6, 1e6, 60)


@pytest.mark.parametrize("ceiling", [np.inf, 3.0])
def test_variances_rise_with_the_prior_and_the_novelty(ceiling: float) -> None:
    scale, novelty = PriorScale(2.0, ceiling), np.linspace(0.0, 6.0, 50)
    found = scale(np.tile(GRID, (50, 1)), novelty)
    assert found.shape == (50, 60)
    assert (found >= 0.0).all()
    assert (found[0] == 0.0).all()  # no novelty, no prior
    assert (np.diff(found[1:], axis=1) > 0.0).all()
    assert (np.diff(found, axis=0) > 0.0).all()


def test_no_variance_is_above_the_ceiling() -> None:
    scale = PriorScale(10.0, 3.0)
    found = scale.of_share(np.append(GRID, 1e300))
    assert (found <= 3.0).all()
    assert found[-1] == 3.0
    np.testing.assert_allclose(found[:5], 100.0 * GRID[:5], rtol=1e-3)  # far below it nothing is held back
    assert scale.of_share(np.array(0.03)) == pytest.approx(1.5)  # x = V: half of it


def test_the_variance_by_hand() -> None:
    prior, novelty = np.array([[1.0, 4.0], [1.0, 4.0]]), np.array([1.0, np.nan])
    np.testing.assert_allclose(PriorScale(2.0)(prior, novelty), [[2.0, 8.0], [4.0, 16.0]])
    np.testing.assert_allclose(PriorScale()(prior, novelty), [[0.5, 2.0], [1.0, 4.0]])
    np.testing.assert_allclose(PriorScale(2.0, 4.0)(prior, novelty), [[8 / 6, 32 / 12], [2.0, 64 / 20]])


@pytest.mark.parametrize("novelty", [0.0, 0.1, 0.5, 1.0, 2.0, np.inf, np.nan])
def test_the_share_is_its_formula(novelty: float) -> None:
    t4 = novelty**8
    expected = t4 / (1.0 + t4) if np.isfinite(novelty) else 1.0
    assert share_of_prior(np.array([novelty]))[0] == pytest.approx(expected)


# ---------------------------------------------------------------------- words


@pytest.mark.parametrize(("n_kinds", "quantile"), [(1, 6.3138), (2, 2.9200), (5, 2.0150), (30, 1.6973)])
def test_few_kinds_are_wider_by_students_quantile(n_kinds: int, quantile: float) -> None:
    """Tables of the one-sided 95 % quantile."""
    assert widening(n_kinds) == pytest.approx(quantile / Z, rel=1e-4)
    kind = kind_of(np.random.default_rng(6), 1.5)
    one = PriorScale.fit([kind], np.inf).factor / widening(1)
    assert PriorScale.fit([kind] * n_kinds, np.inf).factor == pytest.approx(one * quantile / Z, rel=1e-4)


def test_in_words() -> None:
    words = PriorScale(2.5, 4e-6, 5).in_words(1e3, "meV/atom")
    assert words == "c = 2.5 (from 5 kinds left out, 1.23 times wider for their small number), at most 2 meV/atom"
    one = PriorScale(2.5, np.inf, 1).in_words(1e3, "meV/atom")
    assert one == "c = 2.5 (from 1 kind left out, 3.84 times wider for their small number)"
    assert PriorScale().in_words(1.0, "eV/Å") == "c = 1 (no kind was novel when it was left out)"
