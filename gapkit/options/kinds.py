"""Types of parameters with their ranges, for annotations; `checked` reads them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, TypeAlias

from gapkit.options import values

if TYPE_CHECKING:
    from numpy.random import RandomState

    Seed: TypeAlias = int | RandomState | None
else:  # numpy is heavy
    Seed = Annotated[object, values.random_state]

Count: TypeAlias = Annotated[int, values.count]
Whole: TypeAlias = Annotated[int, values.whole_from(0)]
Positive: TypeAlias = Annotated[float, values.positive]
NotNegative: TypeAlias = Annotated[float, values.not_negative]
Fraction: TypeAlias = Annotated[float, values.fraction]
Jobs: TypeAlias = Annotated[int, values.jobs]
SeedNumber: TypeAlias = Annotated[int, values.seed]
Text: TypeAlias = Annotated[str, values.text]
Symbol: TypeAlias = Annotated[str, values.symbol]
PathLike: TypeAlias = Annotated[str | os.PathLike[str], values.path]
