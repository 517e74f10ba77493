"""Checkpoints of a fit: sparse points, and the triangles of every share with the frames that they hold.

Each share is written between two of its chunks; what it has folded, and the rows that wait to be folded, then depend on
its position alone, and a fit that goes on from there is the uninterrupted one to the last bit.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import threading
import time
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from gapkit.descriptors.base import Engine
from gapkit.exceptions import GapkitWarning, InputError, ModelFileError
from gapkit.gp.basis import SparseBasis
from gapkit.gp.factors import TriangularFactor
from gapkit.io.atomic import check_output, replacing
from gapkit.io.codec import encode
from gapkit.io.temporary import sweep
from gapkit.kernels import GapKernel
from gapkit.potential.training.accumulator import ATOMS_PER_CHUNK, ROWS_AT_ONCE, RowAccumulator
from gapkit.typing import IntArray

FORMAT = "gapkit-checkpoint-1"
# Seconds between two checkpoints, and the least part of the time that is left for the fit itself.
INTERVAL = 300.0
WRITING = 0.1
# Parameters of GAP that do not change the model.
HARMLESS = ("n_jobs", "memory_limit", "progress")


class HalfwayError(Exception):
    """A share has half of a chunk, and cannot be saved."""


@dataclass(frozen=True)
class Rows:
    """Shares of the frames (a single one once complete), atoms whose rows are made together, and whether all are in."""

    shares: list[RowAccumulator]
    atoms_at_once: int
    complete: bool


def fit_digest(parameters: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the data and of the parameters of a fit, by "data" and "parameters"."""
    plain = {name: encode(value) for name, value in parameters.items() if name not in (*HARMLESS, "random_state")}
    seed = parameters["random_state"]  # anything else than a number is drawn anew, the checkpoint has what came of it
    plain["random_state"] = encode(seed) if isinstance(seed, int | np.integer) else "random"
    plain["chunks"] = [ATOMS_PER_CHUNK, ROWS_AT_ONCE]
    return {
        name: hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        for name, content in (("data", data), ("parameters", plain))
    }


@dataclass(frozen=True)
class Done:
    """The checkpoint of a fit that ended, which `remove` deletes once its model is safe."""

    path: Path
    identity: tuple[int, ...]

    @classmethod
    def of(cls, path: Path) -> Done | None:
        """That of a file as it is now; None if it is not there."""
        try:
            found = os.stat(path)
        except OSError:
            return None
        return cls(path, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))

    def remove(self) -> None:
        """Delete the file, unless another fit has written it since, and what kills left beside it."""
        if Done.of(self.path) == self:
            self.path.unlink(missing_ok=True)
        sweep(self.path)


def kept_by(path: str | os.PathLike[str] | None) -> str:
    """What an interrupted fit leaves in its checkpoint, and how to go on."""
    if path is None:
        return (
            "no checkpoint was kept, so that a fit begins anew; with one (`checkpoint`, --checkpoint FILE) it goes on"
        )
    if not Path(path).exists():
        return f"the checkpoint {path} was not begun yet: fit again"
    return f"its checkpoint {path} was kept: fit again with the same frames, parameters and checkpoint to go on from it"


class Checkpoint:
    """The state of a fit on disk; a file that exists must be of the same fit, by its `fit_digest`."""

    def __init__(self, path: str | os.PathLike[str], digest: Mapping[str, str]) -> None:
        check_output(path)  # before anything is read: not from a pipe, nor from a folder
        self.path = Path(os.path.realpath(path))  # of a link the file; and the working folder may be another one later
        self.interrupted = False  # whether a Ctrl-C or SIGTERM came within `signals`
        self._digest = dict(digest)
        self._selection: dict[str, Any] | None = None
        self._arrays: dict[str, np.ndarray] = {}
        self._saving = threading.Lock()
        self._next = time.monotonic() + INTERVAL
        self._header: dict[str, Any] = {}
        if self.path.exists():
            with self._open() as archive:
                self._header = json.loads(archive.read("header.json"))
                if self._header.get("format") != FORMAT:
                    raise ValueError(f"expected {FORMAT}, got {self._header.get('format')!r}")
        for name, own in self._header.get("digest", {}).items():
            if own != self._digest[name]:
                raise InputError(
                    f"`checkpoint` must be of the same fit, but {str(path)!r} is of other {name}; give the frames "
                    "and parameters that it was begun with, or another file, or delete it to begin anew"
                )

    def selection(
        self, engines: Sequence[Engine], kernels: Sequence[GapKernel], rng: np.random.Generator
    ) -> tuple[SparseBasis, IntArray] | None:
        """Basis and origins (M,) of its points, for engines as descriptors make them; None: not chosen yet.

        `rng` is set to its state after the choice.
        """
        if not self._header:
            return None
        with self._open() as archive:
            names = [name for name in archive.namelist() if name.startswith("basis/")]
            self._arrays = arrays = {name[6:-4]: _read_array(archive, name) for name in names}
        self._selection = selection = self._header["selection"]
        rng.bit_generator.state = selection["rng"]
        return SparseBasis.from_arrays(arrays, selection["blocks"], engines, kernels), arrays["origins"]

    def keep_selection(self, basis: SparseBasis, origins: IntArray, rng: np.random.Generator) -> None:
        """Take over the sparse points, and write them."""
        self._arrays = {"origins": origins, **basis.to_arrays()}
        self._selection = {"blocks": basis.species, "rng": rng.bit_generator.state}
        self._save(None)

    def rows(self) -> Rows | None:
        """The rows that were saved, None if there are none."""
        saved = self._header.get("rows")
        if saved is None:
            return None
        with self._open() as archive:
            shares = [_read_share(archive, i, share) for i, share in enumerate(saved["shares"])]
        return Rows(shares, saved["atoms_at_once"], saved["complete"])

    @property
    def due(self) -> bool:
        """Whether it is time for another checkpoint."""
        return time.monotonic() >= self._next

    def save_if_due(self, shares: Sequence[RowAccumulator], atoms_at_once: int) -> None:
        """Save from one of the threads that fill shares, where it is time and no other one does."""
        if self.due and self._saving.acquire(blocking=False):
            try:
                self.save(shares, atoms_at_once)
            finally:
                self._saving.release()
        elif self.due:  # a thread that went on at once would take its share again before the one that saves could
            time.sleep(1e-3)

    def save(self, shares: Sequence[RowAccumulator], atoms_at_once: int, *, complete: bool = False) -> None:
        """Write the state of all shares, each between two of its chunks."""
        self._save(Rows(list(shares), atoms_at_once, complete))

    def done(self) -> Done | None:
        """The file as it stands at the end of the fit; None if it could not be written."""
        return Done.of(self.path)

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Note Ctrl-C and SIGTERM in `interrupted` instead of obeying them, and obey at the end; twice is at once.

        Only the main thread can; elsewhere the caller has to stop by other means, and what was saved last counts.
        """
        self.interrupted = False
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        received: list[int] = []
        found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        before = {number: old for number, old in found.items() if old not in (signal.SIG_IGN, None)}

        def restore() -> None:
            for number, old in before.items():
                signal.signal(number, old)

        def note(number: int, frame: FrameType | None) -> None:
            received.append(number)
            self.interrupted = True
            restore()

        for number in before:
            signal.signal(number, note)
        try:
            yield
        finally:
            restore()
        if received:
            signal.raise_signal(received[0])
            raise KeyboardInterrupt  # a handler that returns must not make a model of half the rows

    def _save(self, rows: Rows | None) -> None:
        """Write the file; a full disk, or a folder that went away, is no reason to lose the fit."""
        begin = time.monotonic()
        try:
            self._write(rows)
        except HalfwayError:
            pass  # what failed is raised where it failed
        except OSError as error:
            warnings.warn(f"no checkpoint now, the fit goes on without: {error}", GapkitWarning, stacklevel=2)
        end = time.monotonic()
        self._next = end + max(INTERVAL, (end - begin) / WRITING)

    def _write(self, rows: Rows | None) -> None:
        with (
            replacing(self.path, own_input=True) as temporary,
            zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
        ):
            for name, array in self._arrays.items():
                _write_array(archive, f"basis/{name}.npy", array)
            header: dict[str, Any] = {"format": FORMAT, "digest": self._digest, "selection": self._selection}
            header["rows"] = rows and {
                "shares": [_write_share(archive, i, share) for i, share in enumerate(rows.shares)],
                "atoms_at_once": rows.atoms_at_once, "complete": rows.complete,
            }  # fmt: skip
            archive.writestr("header.json", json.dumps(header))

    @contextmanager
    def _open(self) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        # Damage anywhere in an archive surfaces as whatever zipfile, json or numpy trip over.
        except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError) as error:
            raise ModelFileError(
                f"`checkpoint` must be a file that `fit` wrote, got {str(self.path)!r}, which is damaged or another "
                f"kind of file ({error}); give another name, or delete it to begin anew"
            ) from error


def _write_share(archive: zipfile.ZipFile, index: int, share: RowAccumulator) -> dict[str, Any]:
    """Write a share under its lock; what is to be said of it in the header."""
    with share.lock:
        if not share.sound:
            raise HalfwayError
        triangles = []
        for kind, factor in share.factors.items():
            with archive.open(f"rows/{index}/{kind}", "w", force_zip64=True) as stream:
                for j in range(len(factor.R)):  # by columns: no copy of gigabytes, and no zeros
                    stream.write(factor.R[: j + 1, j].tobytes())
            triangles.append([kind, len(factor.R), factor.n_rows, factor.log_weights.hex()])
        for kind, parts in share.waiting.items():
            for i, arrays in enumerate(zip(*parts, strict=True)):
                _write_array(archive, f"rows/{index}/waiting/{kind}/{i}.npy", np.concatenate(arrays))
        waiting = [kind for kind, parts in share.waiting.items() if parts]
        header = {"position": share.position, "n_columns": share.n_columns}
        return header | {"triangles": triangles, "waiting": waiting}


def _read_share(archive: zipfile.ZipFile, index: int, described: Mapping[str, Any]) -> RowAccumulator:
    """The share of which `_write_share` said this."""
    share = RowAccumulator(described["n_columns"])
    share.position = described["position"]
    for kind, order, n_rows, log_weights in described["triangles"]:
        factor = TriangularFactor(order - 1)
        with archive.open(f"rows/{index}/{kind}") as stream:
            for j in range(order):
                factor.R[: j + 1, j] = np.frombuffer(stream.read(8 * (j + 1)))
        factor.n_rows, factor.log_weights = n_rows, float.fromhex(log_weights)
        share.factors[kind] = factor
    for kind in described["waiting"]:
        rows, targets, sigmas = (_read_array(archive, f"rows/{index}/waiting/{kind}/{i}.npy") for i in range(3))
        share.waiting[kind].append((rows, targets, sigmas))
    return share


def _write_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    """Write an array without a copy."""
    # The order of memory is kept: BLAS rounds by it.
    with archive.open(name, "w", force_zip64=True) as stream:
        np.lib.format.write_array(stream, array, allow_pickle=False)


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """The array of that name."""
    return np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
