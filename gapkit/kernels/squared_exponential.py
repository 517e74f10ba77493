"""The squared-exponential kernel k = delta^2 exp(-|(x - x')/length_scale|^2 / 2), for low-dimensional features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, TypeAlias

import numpy as np

from gapkit.exceptions import InputError
from gapkit.io.registry import registered
from gapkit.kernels.base import Bounds, GapKernel, SecondSlopes
from gapkit.options.annotations import check_of
from gapkit.options.kinds import Positive
from gapkit.typing import FloatArray

Lengths: TypeAlias = Annotated[float | Sequence[float] | FloatArray, check_of(Positive | Sequence[Positive])]


@registered("GapKernel")
@dataclass(eq=False, repr=False)
class SquaredExponential(GapKernel):
    """Gaussian kernel with one or several length scales: kappa(q, n, n') = delta^2 exp(q - n/2 - n'/2).

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), eq. 4.9 and 5.1 (ARD).

    Parameters
    ----------
    delta : float, default=1.0
        Prior standard deviation of a local energy, eV.
    length_scale : float or sequence of d floats, default=1.0
        Length scale theta of all features, or of each (automatic relevance determination); units of the features. Named
        as in scikit-learn, where `theta` is the log of all free hyperparameters.
    delta_bounds, length_scale_bounds : pair of floats or "fixed"
        Bounds of the search for hyperparameters, as in scikit-learn.
    """

    delta: Positive = 1.0
    length_scale: Lengths = 1.0
    _: KW_ONLY
    delta_bounds: Bounds = (1e-3, 1e3)
    length_scale_bounds: Bounds = (1e-3, 1e3)

    def is_stationary(self) -> bool:
        return True

    def _centre(self, X: FloatArray) -> FloatArray | None:
        # q - n/2 - n'/2 loses digits when |x| is much larger than |x - x'|; a common shift changes nothing else.
        return X.mean(axis=0) if len(X) else None

    def scale_features(self, X: FloatArray) -> FloatArray:
        """X / length_scale, shape (n, d).

        Raises
        ------
        InputError
            If there are several length scales and their number is not d.
        """
        lengths = np.asarray(self.length_scale, dtype=np.float64)
        if lengths.size not in (1, X.shape[1]):
            expected = f"1 or {X.shape[1]} values for these features"
            raise InputError(f"`length_scale` must hold {expected}, got {lengths.size}")
        return X / lengths

    def value(self, q: FloatArray, n: FloatArray, n_s: FloatArray, *, overwrite_q: bool = False) -> FloatArray:
        k = np.subtract(q, 0.5 * n[:, None], out=q if overwrite_q else None)
        k -= 0.5 * n_s
        np.exp(k, out=k)
        return np.multiply(k, self.delta**2, out=k)

    def value_and_slopes(
        self, q: FloatArray, n: FloatArray, n_s: FloatArray, *, overwrite_q: bool = False
    ) -> tuple[FloatArray, FloatArray, FloatArray | None]:
        k = self.value(q, n, n_s, overwrite_q=overwrite_q)
        return k, k.copy(), -0.5 * k  # a copy: the caller may scale each array in place

    def second_slopes(self, q: FloatArray, n: FloatArray, n_s: FloatArray) -> SecondSlopes:
        k = self.value(q, n, n_s)
        return SecondSlopes(k, -0.5 * k, -0.5 * k, 0.25 * k)

    def diag_value(self, n: FloatArray) -> FloatArray:
        return np.full(np.shape(n), float(self.delta) ** 2)

    def _log_gradients(self, X: FloatArray, K: FloatArray) -> dict[str, FloatArray]:
        A = self.scale_features(X)
        squares = (A[:, None, :] - A[None, :, :]) ** 2
        if np.size(self.length_scale) == 1:
            squares = squares.sum(axis=2)
        return {"delta": 2.0 * K, "length_scale": squares * (K if squares.ndim == 2 else K[..., None])}
