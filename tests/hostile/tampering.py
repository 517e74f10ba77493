"""Archives that are changed and sealed again, so that their checksums fit."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import os
import signal
import sys
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read

from gapkit import GAP, SOAP, Noise, Term, TwoBody, load
from gapkit.exceptions import GapkitError
from gapkit.potential.model import SparseModel
from gapkit.potential.training import accumulator, rows
from tests.cli.conftest import copper_frames

MISSING = object()
Place = tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Opened:
    """Header and arrays of an archive."""

    header: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @classmethod
    def of(cls, path: Path) -> Opened:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read("header.json"))
            names = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
            return cls(header, {name: np.load(io.BytesIO(archive.read(f"{name}.npy"))) for name in names})

    def seal(self, path: Path) -> None:
        """Write it, with a seal of the header as it is."""
        write(path, json.dumps(self.header).encode(), {name: npy(array) for name, array in self.arrays.items()})

    def with_value(self, place: Place, value: Any) -> Opened:
        """With another value in the header, or without it."""
        header = copy.deepcopy(self.header)
        inside: Any = header
        for key in place[:-1]:
            inside = inside[key]
        if value is MISSING:
            del inside[place[-1]]
        else:
            inside[place[-1]] = value
        return replace(self, header=header)

    def with_array(self, name: str, array: np.ndarray | None) -> Opened:
        """With another array, or without it; checksums and shapes in the header fit."""
        arrays = {key: value for key, value in self.arrays.items() if key != name}
        arrays |= {} if array is None else {name: array}
        checksums = {key: hashlib.sha256(npy(value)).hexdigest() for key, value in arrays.items()}
        shapes = {key: [value.dtype.str, list(value.shape)] for key, value in arrays.items()}
        header = {**self.header, "checksums": checksums}
        return Opened({**header, "arrays": shapes} if "arrays" in header else header, arrays)


def write(path: Path, header: bytes, contents: Mapping[str, bytes]) -> None:
    """An archive with a seal that fits the header."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(f"{name}.npy", content)
        archive.writestr("header.json", header)
        archive.writestr("seal.txt", hashlib.sha256(header).hexdigest())


def npy(array: np.ndarray) -> bytes:
    """The bytes of an array in NumPy's format."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    return stream.getvalue()


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """Places of all values in a header."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*place, key)
        yield from places(item, (*place, key))


def nested(depth: int) -> Any:
    """Lists within lists."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def other_values(value: Any) -> list[Any]:
    """What cannot stand in place of a value."""
    of_other_types = [None, "x", "", [], {}, True, 1.5, [1, 2], {"a": 1}, nested(200), {"class": "os", "arguments": {}}]
    wild: list[Any] = [float("nan"), float("inf"), 1e300, -1e300, 10**30, -(10**30), MISSING]
    same = {dict: dict, list: list, str: str, bool: bool, int: (int, float), float: (int, float)}.get(type(value))
    if value is None:  # where a number may be right
        return [item for item in of_other_types if item not in (None, 1.5)] + [10**30, MISSING]
    return [item for item in of_other_types if same is None or not isinstance(item, same)] + wild


def other_arrays(array: np.ndarray) -> list[np.ndarray | None]:
    """What cannot stand in place of an array."""
    flat = array.ravel()
    moderate = np.clip(array, -1e3, 1e3)
    others: list[np.ndarray | None] = [
        None, array[: len(array) // 2], array[:0], np.concatenate([array, array]), array[..., None], flat[:-1],
        array.astype(object), array.astype(complex), array.astype(array.dtype.newbyteorder(">")), array.astype("U8"),
        moderate.astype(np.float16), moderate.astype(np.float32), moderate.astype(np.int32), array.astype(bool),
        np.array(1.0), np.zeros((0, 10**9)), np.zeros((3, 0)),
    ]  # fmt: skip
    if array.ndim == 2 and array.shape[0] != array.shape[1]:
        others.append(np.asfortranarray(array.T))
    for value in (np.nan, np.inf, -np.inf, 1e300):
        if array.dtype.kind == "f" and array.size and not (np.isposinf(value) and np.isinf(array).any()):
            changed = array.copy()
            changed.flat[array.size // 2] = value
            others.append(changed)
    if array.dtype.kind == "i":
        others += [array - 10**6, array + 2**60, array.astype(float)]
    return others


def judge(paths: Sequence[Path], use: Callable[[Path], np.ndarray], sound: np.ndarray) -> None:
    """Print what became of the use of each file: refused in words that name it, the same as a sound one, or a fault."""
    for path in paths:
        begin = time.process_time()
        try:
            found = use(path)
            right = found.shape == sound.shape and np.allclose(found, sound, rtol=1e-9, atol=1e-9)
            verdict = "same" if right else "another result"
        except GapkitError as error:
            verdict = "refused" if path.name in str(error) and "Traceback" not in str(error) else f"unnamed: {error}"
        except Exception:  # noqa: BLE001  (which is what is looked for)
            verdict = traceback.format_exc()[-1500:].replace("Traceback", "traceback")
        if time.process_time() - begin > 5.0:
            verdict = f"slow: {time.process_time() - begin:.1f} s"
        sys.stdout.write(json.dumps([path.name, verdict]) + "\n")


def predicted(path: Path, frames: Path) -> np.ndarray:
    """All that `info` and `predict` show of a model."""
    model = load(path)
    model.summary()
    p = model.predict(read(frames, ":"), return_std=True)
    values = (p.energy, p.forces, p.stress, p.energy_std, p.forces_std, p.stress_std, p.local_energies_std)
    return np.concatenate([np.ravel(value) for value in values])


# ---------------------------------------------------------------------- checkpoints


def small_fit(checkpoint: Path | None = None) -> np.ndarray:
    """Weights and factors of a fit in many chunks."""
    rows.ATOMS_PER_CHUNK, accumulator.ROWS_AT_ONCE = 4, 20
    terms = [Term(TwoBody(4.0), n_sparse=5), Term(SOAP(4.0, n_max=3, l_max=2), n_sparse=6)]
    noise = Noise(energy=0.001, forces=0.05, virial=0.01)
    model = GAP(terms, noise=noise, calibration=None, n_jobs=1).fit(copper_frames(4, seed=1), checkpoint=checkpoint)
    factors = [model.state_.factors[kind].R for kind in sorted(model.state_.factors)]
    return np.concatenate([model.model_.weights, *(np.abs(R).ravel() for R in factors)])


def interrupted_fit(checkpoint: Path, *, complete: bool) -> None:
    """Leave the checkpoint of half of the rows, or of all of them."""
    original, calls = rows.training_rows, []

    def some_rows(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3 and not complete:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)

    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    rows.training_rows = some_rows
    if complete:
        SparseModel.solve = fail
    with contextlib.suppress(KeyboardInterrupt):
        small_fit(checkpoint)
