"""Checks of arguments from their annotations, and the words of what they refuse."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from gapkit.descriptors import SOAP, TwoBody
from gapkit.exceptions import InputError, NotFittedModelError
from gapkit.gp.noise import Noise
from gapkit.kernels import DotProduct
from gapkit.options.annotations import check_of, passes
from gapkit.options.checked import checked
from gapkit.options.kinds import Count, Fraction, Seed
from gapkit.potential import GAP, Term
from gapkit.sparse import CUR
from gapkit.typing import FloatArray


@pytest.mark.parametrize(
    ("annotation", "right", "wrong"),
    [
        (int | None, [1, None], [True, 1.5, "x", [1], {}]),
        (Mapping[str, float], [{}, {"a": 1}], [None, [], {1: 1.0}, {"a": "b"}, {"a": True}, "x"]),
        (Sequence[str | int] | None, [None, [], ["Si", 14]], [1, "Si", [1.5], {"Si": 1}, [None]]),
        (Sequence[tuple[float, float]], [[], [[1, 2.0]]], [[1], [[1]], [[1, 2, 3]], [["a", 1]], None]),
        (int | Mapping[str, int] | None, [3, {"a": 1}], [{"a": 1.5}, [1]]),
        (tuple[float, float] | str, [[1, 2], "fixed"], [1, [1], [1, "x"]]),
        (bool, [True], [1, 0.0, None, "true"]),
        (FloatArray | None, [None, [[1.0]]], []),
    ],
)
def test_types_of_arguments_follow_from_annotations(annotation: Any, right: list[object], wrong: list[object]) -> None:
    assert all(passes(check_of(annotation), value) for value in right)
    assert not any(passes(check_of(annotation), value) for value in wrong)


@checked
def function(
    model: Term, frames: Atoms | Sequence[Atoms] = (), *, n: Count = 1, level: Fraction | None = None,
    keys: Mapping[str, int] | None = None, seed: Seed = 0,
) -> tuple[Any, ...]:  # fmt: skip
    return model, frames, n, level, keys, seed


TERM, ATOMS = Term(SOAP()), Atoms("H")


def test_values_come_in_their_final_types() -> None:
    found = function(TERM, (atoms for atoms in [ATOMS]), n=np.int64(3), level=np.array(0.5), seed=np.uint32(7))
    assert found == (TERM, [ATOMS], 3, 0.5, None, 7)
    assert [type(value) for value in found[2:4]] == [int, float]
    frames = [ATOMS]
    assert function(TERM, frames)[1] is frames  # what is right is not copied


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 1.5}, "`n` must be a whole number >= 1, got 1.5"),
        ({"n": 10**5000}, "`n` must be a whole number >= 1 and <= 2,147,483,647, got a number of thousands of digits"),
        ({"level": 1}, "`level` must be a number > 0 and < 1, or None, got 1"),
        ({"frames": [ATOMS, "x"]}, "`frames[1]` must be ase.Atoms (`gapkit.read_frames` reads a file), got 'x'"),
        ({"frames": "a.xyz"}, "`frames` must be ase.Atoms (`gapkit.read_frames` reads a file), or a list of ase.Atoms"),
        ({"keys": {"a": "b"}}, "`keys['a']` must be a whole number"),
        ({"keys": {1: 1}}, "`keys` must be a mapping whose keys are each text, got 1"),
        ({"seed": 2**32}, "`seed` must be a whole number >= 0 and <= 4,294,967,295, a numpy RandomState, or None, got"),
        ({"model": Term}, "`model` must be a Term, got the class Term and not an object of it"),
        ({"model": [ATOMS], "frames": TERM}, "`model` must be a Term, got [Atoms"),
        ({"model": [ATOMS], "frames": TERM}, "; `model` and `frames` are swapped"),
    ],
)
def test_a_message_names_what_is_wrong(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        function(**{"model": TERM} | arguments)
    assert message in str(caught.value)


def test_unknown_names_are_for_python() -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        function(TERM, m=1)
    with pytest.raises(TypeError, match="multiple values"):
        function(TERM, model=TERM)


def test_estimators_keep_what_they_are_given() -> None:
    """No check when one is made, as scikit-learn has it; all of them when it is used, or given as an argument."""
    descriptor = SOAP(n_max=1.5)  # type: ignore[arg-type]
    assert clone(descriptor).n_max == 1.5
    for use in (lambda: descriptor.fit(ATOMS), lambda: Term(descriptor), lambda: GAP([descriptor]).fit(ATOMS)):
        with pytest.raises(InputError, match="`n_max` of SOAP must be a whole number >= 1"):
            use()
    numbers = SOAP(cutoff=np.float32(4.0), n_max=np.array(3), l_max=np.int64(2))  # type: ignore[arg-type]
    assert numbers.fit(ATOMS).engine_.n_features == SOAP(4.0, 3, 2).fit(ATOMS).engine_.n_features


def test_what_decides_the_result_is_shown() -> None:
    assert repr(TwoBody(cutoff=5.0)).startswith("TwoBody(cutoff=5.0, transition=None, ")
    for shown in (SOAP(), TwoBody(), DotProduct(), CUR(), Noise()):
        assert {name for name in inspect.signature(type(shown)).parameters if f"{name}=" not in repr(shown)} == set()


def test_a_model_that_is_not_fitted_is_scikit_learns_error_too() -> None:
    with pytest.raises(NotFittedError, match="not fitted yet") as caught:
        GAP().predict(ATOMS)
    assert type(caught.value) is NotFittedModelError
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), NotFittedModelError)
