"""Cutoff functions: smooth switches from 1 to 0 over a transition that ends at the cutoff radius."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol, TypeAlias, runtime_checkable

import numpy as np

from gapkit._core.switch import cosine_switch, quintic_switch
from gapkit.exceptions import InputError
from gapkit.io.registry import registered
from gapkit.options.checked import Checked
from gapkit.options.kinds import NotNegative, Positive
from gapkit.options.values import between
from gapkit.typing import FloatArray


@runtime_checkable
class CutoffFunction(Protocol):
    """f(r), 1 inside and 0 at and beyond `cutoff`."""

    def __call__(self, distances: FloatArray, cutoff: float) -> tuple[FloatArray, FloatArray]:
        """Return f (n,) and df/dr (n,) in 1/Å at `distances` (n,) in Å."""
        ...


@dataclass(frozen=True)
class _Switch(Checked):
    """A cutoff function that falls over the last `width` Å, by a compiled loop."""

    width: Positive

    _fill: ClassVar[Callable[..., None]]

    def __call__(self, distances: FloatArray, cutoff: float) -> tuple[FloatArray, FloatArray]:
        values, slopes = np.empty_like(distances), np.empty_like(distances)
        self._fill(distances, cutoff, self.width, values, slopes)
        return values, slopes


@registered("CutoffFunction")
class CosineCutoff(_Switch):
    """f(r) = (1 + cos(pi (r - r_c + w) / w)) / 2 over the last `width` w Å; once continuously differentiable.

    Source: Bartók and Csányi, Int. J. Quantum Chem. 115, 1051 (2015), the cutoff of QUIP.
    """

    _fill = staticmethod(cosine_switch)


@registered("CutoffFunction")
@dataclass(frozen=True)
class DecayingCutoff(_Switch):
    """Cosine cutoff times a decay: f(r) = f_c(r) rate / (rate + (r / scale)^exponent), (scale / r)^exponent for rate 0.

    `width`, of f_c, and `scale` are in Å, `exponent` > 0, `rate` >= 0: with 0, f grows without bound towards r = 0.
    Source: Caro, Phys. Rev. B 100, 024112 (2019), radial scaling; the weight of neighbours of QUIP's `cutoff_dexp`.
    """

    exponent: Positive
    scale: Positive
    rate: NotNegative

    _fill = staticmethod(cosine_switch)

    def __call__(self, distances: FloatArray, cutoff: float) -> tuple[FloatArray, FloatArray]:
        values, slopes = super().__call__(distances, cutoff)
        power = (distances / self.scale) ** self.exponent
        total = self.rate + power
        decay = self.rate / total if self.rate > 0.0 else 1.0 / power
        # d decay / dr = -decay * (d power / dr) / total, for either form
        decay_slopes = -decay * self.exponent * power / (distances * total)
        return values * decay, slopes * decay + values * decay_slopes


@registered("CutoffFunction")
class QuinticCutoff(_Switch):
    """f(p) = 1 - 10 p^3 + 15 p^4 - 6 p^5, p = (r - r_c + w) / w; twice continuously differentiable.

    The default of gapkit: with a wide transition it weighs neighbours by distance as radial scaling does, and phonons,
    which are second derivatives, stay continuous when a neighbour crosses the cutoff.
    """

    _fill = staticmethod(quintic_switch)


@registered("CutoffFunction")
@dataclass(frozen=True)
class NoCutoff:
    """f(r) = 1: for comparison with descriptors that do not switch off; not smooth, so not for a potential."""

    def __call__(self, distances: FloatArray, cutoff: float) -> tuple[FloatArray, FloatArray]:
        return np.ones_like(distances), np.zeros_like(distances)


Cutoff: TypeAlias = Annotated[float, between(0.5, 20.0, "Å (4 to 7 Å is usual)")]


def switch_of(cutoff: float, transition: float | None, cutoff_function: CutoffFunction | None) -> CutoffFunction:
    """The switch of a descriptor: the function given, or a quintic of width `transition` (None: the whole cutoff)."""
    if transition is not None and cutoff_function is not None:
        raise InputError("`transition` must be None when `cutoff_function` is given, which has a width of its own")
    width = getattr(cutoff_function, "width", transition)
    if width is not None and not 0.0 < width <= cutoff:
        raise InputError(f"`transition` must be > 0 and at most the cutoff of {cutoff} Å, got {width}")
    return cutoff_function or QuinticCutoff(cutoff if transition is None else transition)
