"""What every kernel of gapkit is: a function of the inner product and the norms of scaled features.

A kernel is k(x, x') = kappa(q, n, n') with q = x~.x~', n = |x~|^2, n' = |x~'|^2 and x~ the scaled features. Everything
that needs derivatives (forces, virials) applies the chain rule to kappa alone, so that no kernel is ever written anew
for a combination of targets:

    dk/dx~ = k_q x~' + 2 k_n x~,    k_q = dkappa/dq,  k_n = dkappa/dn (at fixed q).

The classes are scikit-learn kernels (`theta`, `bounds`, `clone_with_theta`, `get_params`), and so also serve
`sklearn.gaussian_process.GaussianProcessRegressor`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias, overload

import numpy as np
from sklearn.base import clone
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from gapkit.exceptions import InputError
from gapkit.options.checked import Parameters, check_parameters
from gapkit.options.kinds import Positive
from gapkit.typing import FloatArray


@dataclass(frozen=True, eq=False)
class QuadraticForm:
    """x.A x + 2 b.x + c: matrix A (r, r), vector b (r,), constant c."""

    matrix: FloatArray
    vector: FloatArray
    constant: float


@dataclass(frozen=True, eq=False)
class SecondSlopes:
    """Second derivatives of kappa(q, n, n'), (N, M) each; the last three None where kappa depends on q alone."""

    qq: FloatArray
    qn: FloatArray | None = None
    qm: FloatArray | None = None  # by q and n'
    nm: FloatArray | None = None  # by n and n'


Bounds: TypeAlias = tuple[Positive, Positive] | Literal["fixed"]


class GapKernel(Parameters, Kernel):
    """Base class of kernels kappa(q, n, n').

    Subclasses have a parameter `delta`, the prior standard deviation in eV where k is the covariance of a local energy.
    """

    delta: float
    delta_bounds: Bounds
    uses_norms: ClassVar[bool] = True
    """Whether kappa depends on the norms and features are scaled; False: it is a function of inner products alone."""

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """Parameters that have bounds, by name, as in scikit-learn."""
        values = self.get_params()
        named = [(name, values.get(f"{name}_bounds"), np.size(values[name])) for name in sorted(values)]
        return [Hyperparameter(name, "numeric", bounds, size) for name, bounds, size in named if bounds is not None]

    # ------------------------------------------------------------------ the part a subclass writes

    @abstractmethod
    def scale_features(self, X: FloatArray) -> FloatArray:
        """Return the scaled features x~, shape (n, d); may be `X` itself."""

    @abstractmethod
    def value(self, q: FloatArray, n: FloatArray, n_s: FloatArray, *, overwrite_q: bool = False) -> FloatArray:
        """Kernel values (N, M), units delta^2, from inner products q (N, M) and squared norms n (N,) and n' (M,).

        With `overwrite_q` the result may be written into `q`, which saves an array.
        """

    @abstractmethod
    def value_and_slopes(
        self, q: FloatArray, n: FloatArray, n_s: FloatArray, *, overwrite_q: bool = False
    ) -> tuple[FloatArray, FloatArray, FloatArray | None]:
        """Kernel values and slopes k, k_q and k_n, (N, M) each, the last None where kappa does not depend on n."""

    @abstractmethod
    def second_slopes(self, q: FloatArray, n: FloatArray, n_s: FloatArray) -> SecondSlopes:
        """Second slopes, for covariances of derivatives; arguments as for `value`."""

    def contract(
        self, q: FloatArray, n: FloatArray, n_s: FloatArray, weights: FloatArray, values: FloatArray | None = None,
        column: int = 0,
    ) -> tuple[FloatArray, FloatArray, FloatArray | None]:  # fmt: skip
        """Sums with weights (m,), for predictions: sum_s w_s k (N,), w_s k_q (N, m) and sum_s w_s k_n (N,) or None.

        `q` is overwritten; kernel values are written into the columns of `values` (N, M) from `column` on.
        """
        k, k_q, k_n = self.value_and_slopes(q, n, n_s, overwrite_q=True)
        if values is not None:
            values[:, column : column + k.shape[1]] = k
        k_q *= weights
        return k @ weights, k_q, None if k_n is None else k_n @ weights

    def quadratic_form(self, points: FloatArray, weights: FloatArray) -> QuadraticForm | None:
        """sum_s w_s k(x, x_s) as a quadratic form in the scaled features, for points (m, r); None: it is none."""
        return None

    @abstractmethod
    def diag_value(self, n: FloatArray) -> FloatArray:
        """k(x, x), shape (N,), from the squared norms n = |x~|^2."""

    @abstractmethod
    def _log_gradients(self, X: FloatArray, K: FloatArray) -> dict[str, FloatArray]:
        """dK/d log(parameter) for each hyperparameter that is not fixed: (n, n), or (n, n, n_elements)."""

    def _centre(self, X: FloatArray) -> FloatArray | None:
        """A point that may be subtracted from all features to lessen rounding; None where the kernel forbids it."""
        return None

    # ------------------------------------------------------------------ the part they inherit

    def unit_scale(self) -> GapKernel:
        """A copy with delta = 1, the scale in which rows and K_MM of the linear model are kept."""
        check_parameters(self)
        return clone(self).set_params(delta=1.0)

    @overload
    def __call__(self, X: Any, Y: Any = None, eval_gradient: Literal[False] = False) -> FloatArray: ...

    @overload
    def __call__(self, X: Any, Y: Any = None, *, eval_gradient: Literal[True]) -> tuple[FloatArray, FloatArray]: ...

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """Kernel matrix k(X, Y) (n, m) of rows of X (n, d) and Y (m, d), or of X with itself.

        With `eval_gradient`, for `Y` None, also dK/dtheta (n, n, n_dims), theta the log of the free hyperparameters.

        Raises
        ------
        InputError
            If the shapes do not fit, a parameter is out of range, or a gradient is asked for with `Y`.
        """
        check_parameters(self)
        X = _as_matrix("X", X)
        if Y is not None and eval_gradient:
            raise InputError("`eval_gradient=True` needs `Y=None`: the gradient is defined for K(X, X) only")
        centre = self._centre(X)
        A = self.scale_features(X if centre is None else X - centre)
        n_a = np.einsum("ij,ij->i", A, A)
        if Y is not None:
            Y = _as_matrix("Y", Y)
            if Y.shape[1] != X.shape[1]:
                raise InputError(f"`Y` must have as many columns as `X`, expected {X.shape[1]}, got {Y.shape[1]}")
            B = self.scale_features(Y if centre is None else Y - centre)
            return self.value(A @ B.T, n_a, np.einsum("ij,ij->i", B, B), overwrite_q=True)
        K = self.value(A @ A.T, n_a, n_a, overwrite_q=True)
        np.fill_diagonal(K, self.diag_value(n_a))
        if not eval_gradient:
            return K
        gradients = self._log_gradients(X, K)
        columns = [gradients[h.name].reshape(*K.shape, -1) for h in self.hyperparameters if not h.fixed]
        return K, np.concatenate([np.empty((*K.shape, 0)), *columns], axis=2)

    def diag(self, X: Any) -> FloatArray:
        """k(x, x) for each row of `X`, shape (n,)."""
        check_parameters(self)
        A = self.scale_features(_as_matrix("X", X))
        return self.diag_value(np.einsum("ij,ij->i", A, A))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GapKernel) or type(self) is not type(other):
            return False
        return all(np.array_equal(value, getattr(other, name)) for name, value in self.get_params().items())


def _as_matrix(name: str, X: Any) -> FloatArray:
    matrix = np.asarray(X, dtype=np.float64)
    if matrix.ndim != 2:
        raise InputError(f"`{name}` must be a matrix of shape (n, d), got shape {matrix.shape}")
    return matrix
