"""Errors and warnings that gapkit raises: each also is the built-in type that a caller would expect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sklearn.exceptions import NotFittedError


class GapkitError(Exception):
    """Base of every error raised on purpose by gapkit."""


class InputError(GapkitError, ValueError):
    """A structure, label or argument cannot be used; the message names it and the remedy."""


class DataError(InputError):
    """A training or test frame holds something unusable (NaN label, wrong shape, no label at all)."""


class UnknownSpeciesError(InputError):
    """A structure holds a chemical species that the model was not fitted to."""


class ConfigError(InputError):
    """An option of a configuration file or command is unknown or out of range."""


class OutputError(InputError, OSError):
    """A file or folder cannot be written there: it is an input, no regular file, or the system refuses it."""


class ModelFileError(GapkitError, OSError):
    """A model file is truncated, edited, from a newer version, or not a model file."""


if TYPE_CHECKING:

    class NotFittedModelError(GapkitError, NotFittedError):
        """The model has not been fitted yet."""

else:

    def __getattr__(name: str) -> Any:
        """NotFittedModelError is made when it is first asked for: scikit-learn takes a second to import."""
        if name != "NotFittedModelError":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from sklearn.exceptions import NotFittedError

        members = {"__module__": __name__, "__doc__": "The model has not been fitted yet."}
        return globals().setdefault(name, type(name, (GapkitError, NotFittedError), members))


class Interrupted(KeyboardInterrupt):
    """A long calculation was interrupted; the message says where, what was kept of it, and how to go on."""


class GapkitWarning(UserWarning):
    """Base of every warning issued by gapkit."""


class ConditioningWarning(GapkitWarning):
    """A matrix was numerically singular and had to be regularised; the message names the jitter."""


class ConvergenceWarning(GapkitWarning):
    """An optimisation stopped before its convergence criterion was met."""


class HyperparameterWarning(GapkitWarning):
    """A noise or scale that a fit found can't be believed; the message names it, its cause and the remedy."""


class DataWarning(GapkitWarning):
    """Something in the data looks suspicious (units, signs, duplicates) but was used as it is."""


class VarianceWarning(GapkitWarning):
    """Negative variances were clipped at zero; the message counts them."""


class CalibrationError(InputError):
    """There are too few configurations for a calibration, or for an interval of the level that was asked for."""


class CalibrationWarning(GapkitWarning):
    """Standard deviations could not be calibrated; the message says why."""
