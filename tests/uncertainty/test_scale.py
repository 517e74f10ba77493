"""sigma_cal^2 = a^2 + b^2 sigma^2 from errors that were drawn from known a and b."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from gapkit.exceptions import InputError
from gapkit.typing import FloatArray
from gapkit.uncertainty.scale import LEVEL, TAIL_LEVEL, TAIL_Z, Scale, Z, fit_scale, level_factor

N = 20_000


def draw(a: float, b: float, *, n: int = N, freedom: float | None = None, seed: int = 1) -> tuple[FloatArray, ...]:
    """Errors (n, 1) with stds sqrt(a^2 + b^2 sigma^2), sigma over a factor of a thousand, and the variances sigma^2."""
    rng = np.random.default_rng(seed)
    variances = np.exp(rng.uniform(-7.0, 0.0, (n, 1))) ** 2
    shape = rng.standard_normal((n, 1)) if freedom is None else rng.standard_t(freedom, (n, 1))
    return np.sqrt(a**2 + b**2 * variances) * shape, variances


def covered(scale: Scale, errors: FloatArray, variances: FloatArray, width: float = Z) -> float:
    return float(np.mean(np.abs(errors) <= width * np.sqrt(scale(variances)) * (1.0 + 1e-12)))


def test_level_and_quantile_belong_together() -> None:
    assert norm.ppf(0.5 + LEVEL / 2) == pytest.approx(Z, rel=1e-12)


@pytest.mark.parametrize(("a", "b"), [(0.03, 2.0), (0.1, 0.4), (0.02, 6.0)])
def test_normal_errors_give_back_a_and_b(a: float, b: float) -> None:
    errors, variances = draw(a, b)
    scale = fit_scale(errors, variances)
    assert (scale.a, scale.b) == pytest.approx((a, b), rel=0.04)
    assert covered(scale, errors, variances) == pytest.approx(LEVEL, abs=1.5 / N)  # by construction
    assert covered(scale, *draw(a, b, seed=2)) == pytest.approx(LEVEL, abs=0.01)  # four binomial errors


@pytest.mark.parametrize(("a", "b"), [(0.0, 3.0), (0.5, 0.0)])
def test_either_part_alone(a: float, b: float) -> None:
    scale = fit_scale(*draw(a, b))
    if a:
        assert scale.a == pytest.approx(a, rel=0.03)
        assert scale.b < 0.1 * a
    else:
        assert scale.b == pytest.approx(b, rel=0.03)
        assert scale.a < 2e-3


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_units_of_errors_and_variances_do_not_matter(unit: float) -> None:
    errors, variances = draw(0.03, 2.0, n=2000)
    plain = fit_scale(errors, variances)
    scaled = fit_scale(unit * errors, variances)
    assert (scaled.a, scaled.b) == pytest.approx((unit * plain.a, unit * plain.b), rel=1e-4)
    stretched = fit_scale(errors, unit**2 * variances)
    assert (stretched.a, unit * stretched.b) == pytest.approx((plain.a, plain.b), rel=1e-4)


@pytest.mark.parametrize("freedom", [4.0, 6.0])
def test_heavy_tails_still_give_ninety_per_cent(freedom: float) -> None:
    errors, variances = draw(0.03, 2.0, freedom=freedom)
    scale = fit_scale(errors, variances)
    assert covered(scale, errors, variances) == pytest.approx(LEVEL, abs=1.5 / N)
    assert covered(scale, *draw(0.03, 2.0, freedom=freedom, seed=2)) == pytest.approx(LEVEL, abs=0.01)
    assert scale.b / scale.a == pytest.approx(2.0 / 0.03, rel=0.1)


@pytest.mark.parametrize("freedom", [2.2, 2.5])
def test_heavier_tails_give_ninety_eight_per_cent_within_three(freedom: float) -> None:
    """Where Student's 99 % quantile is over 3 / 1.645 times that at 95 %: below 3.6 degrees of freedom."""
    errors, variances = draw(0.03, 2.0, freedom=freedom)
    scale = fit_scale(errors, variances)
    assert covered(scale, errors, variances, TAIL_Z) == pytest.approx(TAIL_LEVEL, abs=1.5 / N)  # by construction
    new = draw(0.03, 2.0, freedom=freedom, seed=2)
    assert covered(scale, *new, TAIL_Z) == pytest.approx(TAIL_LEVEL, abs=4e-3)  # four binomial errors
    assert covered(scale, errors, variances) > LEVEL + 0.01
    assert scale.b / scale.a == pytest.approx(2.0 / 0.03, rel=0.1)


def test_the_wider_of_both_levels_decides() -> None:
    """A hundred scores 0.01, 0.02, ... 1, of which a few are replaced by larger ones."""
    scores = np.arange(1.0, 101.0) / 100.0
    assert level_factor(scores, np.ones(100)) == pytest.approx(0.91 / Z)
    odd = scores.copy()
    for n, outer in ((1, 0.99), (2, 9.0), (3, 9.0)):  # 0.98 x 99 = 97.02: the next, the second largest
        odd[-n:] = 9.0
        assert level_factor(odd, np.ones(100)) == pytest.approx(max(0.91 / Z, outer / TAIL_Z))
        assert np.mean(odd <= TAIL_Z * level_factor(odd, np.ones(100))) >= TAIL_LEVEL
    # a level above 98 % is asked of both
    assert level_factor(scores, np.ones(100), 1.0) == pytest.approx(1.0 / Z)
    odd[:] = [0.1] * 99 + [9.0]
    assert level_factor(odd, np.ones(100), 1.0) == pytest.approx(9.0 / Z)
    assert level_factor(odd, np.ones(100)) == pytest.approx(0.1 / Z)


def test_a_few_gross_errors_do_not_decide() -> None:
    errors, variances = draw(0.03, 2.0)
    errors[:40] *= 100.0
    assert (lambda s: (s.a, s.b))(fit_scale(errors, variances)) == pytest.approx((0.03, 2.0), rel=0.05)


def test_several_components() -> None:
    errors, variances = draw(0.03, 2.0)
    one, three = (
        fit_scale(errors[:1200], variances[:1200]),
        fit_scale(errors[:1200].reshape(-1, 3), variances[:1200].reshape(-1, 3)),
    )
    assert (one.a, one.b) == pytest.approx((three.a, three.b), rel=1e-12)


def test_without_variances_a_is_all_there_is() -> None:
    errors, _ = draw(0.1, 0.0)
    scale = fit_scale(errors, np.zeros_like(errors))
    assert scale.a == pytest.approx(0.1, rel=0.03)
    assert np.isfinite(scale.b)
    np.testing.assert_allclose(scale(np.zeros(3)), scale.a**2)


def test_without_errors_nothing_is_scaled() -> None:
    assert fit_scale(np.zeros((20, 3)), np.ones((20, 3))) == Scale(0.0, 1.0)
    assert level_factor(np.zeros(20), np.zeros(20)) == 1.0


def test_zero_errors_among_others_are_within_everything() -> None:
    """Components that vanish by symmetry, label and variance alike."""
    errors, variances = draw(0.03, 2.0)
    errors[::2], variances[::2] = 0.0, 0.0
    scale = fit_scale(errors, variances)
    assert np.isfinite([scale.a, scale.b]).all()
    assert covered(scale, errors, variances) >= LEVEL


def test_the_factor_by_hand() -> None:
    errors = np.arange(1.0, 11.0)
    assert level_factor(errors, np.ones(10)) == pytest.approx(10.0 / Z)  # 0.9 x 9 = 8.1: the next, the tenth
    assert level_factor(errors, np.full(10, 4.0)) == pytest.approx(5.0 / Z)
    assert level_factor(np.array([0.0] * 8 + [1.0, 2.0]), np.array([0.0] * 8 + [1.0, 1.0])) == pytest.approx(2.0 / Z)
    assert level_factor(errors, np.zeros(10)) == 1.0  # no factor does it


def test_scale_is_its_formula() -> None:
    scale = Scale(0.3, 2.0)
    np.testing.assert_allclose(scale(np.array([0.0, 1.0, 4.0])), [0.09, 4.09, 16.09])
    assert scale.times(10.0) == Scale(3.0, 20.0)


@pytest.mark.parametrize(("errors", "variances"), [((3, 1), (3, 3)), ((0, 3), (0, 3)), ((3,), (2,))])
def test_unusable_input_is_refused(errors: tuple[int, ...], variances: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="as many errors as variances, at least one"):
        fit_scale(np.ones(errors), np.ones(variances))
