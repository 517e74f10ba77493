"""Small synthetic problems whose dense solution is easy to write down."""

from dataclasses import dataclass

import numpy as np

from gapkit.gp.cholesky import cholesky
from gapkit.gp.factors import TriangularFactor
from gapkit.gp.solver import PriorBlock
from gapkit.kernels import DotProduct, SquaredExponential

NOISE = {"energy": 0.07, "forces": 0.2}
SCALES = [0.5, 1.4, 0.8]


@dataclass
class Problem:
    """Rows, targets and relative sigmas by kind, and the prior; `dense` gives what the definitions give."""

    rows: dict
    targets: dict
    sigmas: dict
    prior: list

    @property
    def factors(self):
        n_columns = self.prior[-1].columns.stop
        return {
            kind: TriangularFactor(n_columns).update(self.rows[kind], self.targets[kind], self.sigmas[kind])
            for kind in self.rows
        }

    def prior_precision(self, scales):
        P = np.zeros((self.prior[-1].columns.stop,) * 2)
        for block, delta in zip(self.prior, scales, strict=True):
            P[block.columns, block.columns] = block.L @ block.L.T / delta**2
        return P

    def stacked(self, noise):
        K = np.vstack(list(self.rows.values()))
        y = np.concatenate(list(self.targets.values()))
        sigma = np.concatenate([noise[kind] * self.sigmas[kind] for kind in self.rows])
        return K, y, sigma

    def log_p(self, noise, scales):
        """The definition: a Gaussian density with covariance K P^-1 K^T + Lambda."""
        K, y, sigma = self.stacked(noise)
        C = K @ np.linalg.solve(self.prior_precision(scales), K.T) + np.diag(sigma**2)
        return -0.5 * (y @ np.linalg.solve(C, y) + np.linalg.slogdet(C)[1] + len(y) * np.log(2 * np.pi))


def make_problem(sizes=(6, 9, 5), n_rows=(20, 60), seed=0, jitter=1e-6, smooth=1.0):
    """Three prior blocks, two kinds, targets drawn from the model itself (scales SCALES, noise NOISE).

    `smooth` multiplies the length scales.
    """
    rng = np.random.default_rng(seed)
    kernels = [SquaredExponential(1.0, 1.5 * smooth), DotProduct(1.0, 3), SquaredExponential(1.0, smooth)]
    points = [rng.normal(size=(size, 4)) for size in sizes]
    points[1] /= np.linalg.norm(points[1], axis=1)[:, None]
    prior, stop = [], 0
    for kernel, point in zip(kernels, points, strict=True):
        prior.append(PriorBlock(slice(stop, stop + len(point)), cholesky(kernel(point), jitter=jitter).L))
        stop += len(point)
    weights = np.concatenate(
        [d * np.linalg.solve(b.L.T, rng.standard_normal(len(b.L))) for b, d in zip(prior, SCALES, strict=True)]
    )
    rows, targets, sigmas = {}, {}, {}
    for kind, n in zip(NOISE, n_rows, strict=True):
        X = rng.normal(size=(n, 4))
        rows[kind] = np.hstack([kernel(X, point) for kernel, point in zip(kernels, points, strict=True)])
        sigmas[kind] = rng.uniform(0.5, 2.0, size=n)
        targets[kind] = rows[kind] @ weights + NOISE[kind] * sigmas[kind] * rng.standard_normal(n)
    return Problem(rows, targets, sigmas, prior)
