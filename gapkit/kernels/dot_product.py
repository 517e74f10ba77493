"""The dot-product kernel k = delta^2 (x.x' + sigma0^2)^zeta, the usual one for SOAP."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from gapkit._core.power import contract_power, integer_power, real_power_and_slope
from gapkit.exceptions import InputError
from gapkit.io.registry import registered
from gapkit.kernels.base import Bounds, GapKernel, QuadraticForm, SecondSlopes
from gapkit.options.kinds import NotNegative, Positive
from gapkit.typing import FloatArray

_LARGEST_INTEGER = 16
_NO_VALUES = np.empty((0, 0))


@registered("GapKernel")
@dataclass(eq=False, repr=False)
class DotProduct(GapKernel):
    """Polynomial kernel of the inner product: kappa(q) = delta^2 (q + sigma0^2)^zeta.

    Source: Bartok, Kondor, Csanyi, Phys. Rev. B 87, 184115 (2013), eq. 36.

    Parameters
    ----------
    delta : float, default=1.0
        Prior standard deviation of a local energy with |x| = 1, eV.
    zeta : float, default=4.0
        Exponent, > 0. For an integer the power is formed by multiplication and q may be negative; for any other value
        q + sigma0^2 is clipped at zero.
    sigma0 : float, default=0.0
        Constant added to the inner product, as sigma0^2. Must be > 0 for it to be optimised.
    delta_bounds, zeta_bounds, sigma0_bounds : pair of floats or "fixed"
        Bounds of the search for hyperparameters, as in scikit-learn.
    """

    delta: Positive = 1.0
    zeta: Positive = 4.0
    sigma0: NotNegative = 0.0
    _: KW_ONLY
    delta_bounds: Bounds = (1e-3, 1e3)
    zeta_bounds: Bounds = "fixed"
    sigma0_bounds: Bounds = "fixed"

    uses_norms: ClassVar[bool] = False

    def is_stationary(self) -> bool:
        return False  # not a function of x - x'

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.sigma0 == 0 and str(self.sigma0_bounds) != "fixed":
            raise InputError("`sigma0` must be > 0 to be optimised, got 0; give a value or sigma0_bounds='fixed'")

    def integer_zeta(self) -> int | None:
        """Zeta as an integer where repeated multiplication serves, else None."""
        return int(self.zeta) if float(self.zeta).is_integer() and self.zeta <= _LARGEST_INTEGER else None

    def scale_features(self, X: FloatArray) -> FloatArray:
        return X

    def value(self, q: FloatArray, n: FloatArray, n_s: FloatArray, *, overwrite_q: bool = False) -> FloatArray:
        zeta = self.integer_zeta()
        if zeta is None:
            base = np.add(q, self.sigma0**2, out=q if overwrite_q else None)
            if not float(self.zeta).is_integer():
                np.maximum(base, 0.0, out=base)
            np.power(base, self.zeta, out=base)
            return np.multiply(base, self.delta**2, out=base)
        out = q if overwrite_q else np.empty_like(q)
        integer_power(q, float(self.sigma0) ** 2, float(self.delta) ** 2, zeta, out, _NO_VALUES)
        return out

    def value_and_slopes(
        self, q: FloatArray, n: FloatArray, n_s: FloatArray, *, overwrite_q: bool = False
    ) -> tuple[FloatArray, FloatArray, FloatArray | None]:
        k = np.empty_like(q)
        k_q = q if overwrite_q else np.empty_like(q)
        offset, scale, zeta = float(self.sigma0) ** 2, float(self.delta) ** 2, self.integer_zeta()
        if zeta is not None:
            integer_power(q, offset, scale, zeta, k, k_q)
        elif float(self.zeta).is_integer():
            base = q + offset
            np.multiply(scale, base**self.zeta, out=k)
            np.multiply(scale * self.zeta, base ** (self.zeta - 1), out=k_q)
        else:
            real_power_and_slope(q, offset, scale, float(self.zeta), k, k_q)
        return k, k_q, None

    def contract(
        self, q: FloatArray, n: FloatArray, n_s: FloatArray, weights: FloatArray, values: FloatArray | None = None,
        column: int = 0,
    ) -> tuple[FloatArray, FloatArray, FloatArray | None]:  # fmt: skip
        zeta = self.integer_zeta()
        if zeta is None:
            return super().contract(q, n, n_s, weights, values, column)
        energies, out = np.zeros(len(q)), _NO_VALUES if values is None else values
        contract_power(q, float(self.sigma0) ** 2, float(self.delta) ** 2, zeta, weights, energies, out, column)
        return energies, q, None

    def second_slopes(self, q: FloatArray, n: FloatArray, n_s: FloatArray) -> SecondSlopes:
        base, power = q + self.sigma0**2, self.zeta - 2.0
        known = base > 0.0 if not float(self.zeta).is_integer() else base != 0.0 if power < 0.0 else True
        out = np.zeros_like(base)
        np.power(base, power, out=out, where=known)
        out *= self.delta**2 * self.zeta * (self.zeta - 1.0)
        return SecondSlopes(out)

    def quadratic_form(self, points: FloatArray, weights: FloatArray) -> QuadraticForm | None:
        if self.integer_zeta() != 2:
            return None
        weights, offset = self.delta**2 * weights, self.sigma0**2
        weighted = points.T * weights
        return QuadraticForm(weighted @ points, offset * weighted.sum(axis=1), float(offset**2 * weights.sum()))

    def diag_value(self, n: FloatArray) -> FloatArray:
        return self.delta**2 * (n + self.sigma0**2) ** self.zeta

    def _log_gradients(self, X: FloatArray, K: FloatArray) -> dict[str, FloatArray]:
        q = X @ X.T
        base = np.abs(q + self.sigma0**2) if self.integer_zeta() else np.maximum(q + self.sigma0**2, 0.0)
        log_base = np.log(base, out=np.zeros_like(base), where=base > 0)
        _, k_q, _ = self.value_and_slopes(q, q, q)
        return {"delta": 2.0 * K, "zeta": self.zeta * K * log_base, "sigma0": 2.0 * self.sigma0**2 * k_q}
