"""Values in the types that JSON knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def plain(value: Any, digits: int | None = None) -> Any:
    """Return `value` as dicts, lists, numbers and strings, to so many digits; what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {"-".join(k) if isinstance(k, tuple) else str(k): plain(item, digits) for k, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist(), digits)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(item, digits) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return float(f"{value:.{digits}g}") if isinstance(value, float) and digits is not None else value
