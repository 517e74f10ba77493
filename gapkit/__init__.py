"""Gaussian-process interatomic potentials: fit, predict, and know how far to trust each prediction.

The public names are imported on first use, so that `import gapkit` costs nothing.  The map of the folders is README.md
beside this file.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gapkit.calculator import GAPCalculator as GAPCalculator
    from gapkit.gp.noise import Noise as Noise
    from gapkit.potential import GAP as GAP
    from gapkit.potential import SOAP as SOAP
    from gapkit.potential import Predictions as Predictions
    from gapkit.potential import SettingsSearch as SettingsSearch
    from gapkit.potential import Term as Term
    from gapkit.potential import ThreeBody as ThreeBody
    from gapkit.potential import TwoBody as TwoBody
    from gapkit.potential import load as load
    from gapkit.structures import LabelKeys as LabelKeys
    from gapkit.structures import describe as describe
    from gapkit.structures import read_frames as read_frames
    from gapkit.validation import evaluate as evaluate

    __version__: str

# Public name -> module that holds it; the block above says the same to type checkers, and a test compares the two.
PUBLIC: Final[dict[str, str]] = {
    "GAP": "gapkit.potential",
    "GAPCalculator": "gapkit.calculator",
    "LabelKeys": "gapkit.structures",
    "Noise": "gapkit.gp.noise",
    "Predictions": "gapkit.potential",
    "SOAP": "gapkit.potential",
    "SettingsSearch": "gapkit.potential",
    "Term": "gapkit.potential",
    "ThreeBody": "gapkit.potential",
    "TwoBody": "gapkit.potential",
    "describe": "gapkit.structures",
    "evaluate": "gapkit.validation",
    "load": "gapkit.potential",
    "read_frames": "gapkit.structures",
}

__all__ = ["__version__", *PUBLIC]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            value: Any = version("gapkit")
        except PackageNotFoundError:  # a checkout on the path, not installed
            value = "0+unknown"
    elif name in PUBLIC:
        value = getattr(import_module(PUBLIC[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
