"""Checkpoints of a fit: sparse points, and the triangles of every share with the frames that they hold.

Each share is written between two of its chunks; what it has folded, and the rows that wait to be folded, then depend on
its position alone, and a fit that goes on from there is the uninterrupted one to the last bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from gapkit.descriptors.base import Engine
from gapkit.exceptions import GapkitWarning, InputError
from gapkit.gp.basis import BLOCKS, ORIGINS, SparseBasis
from gapkit.gp.factors import TriangularFactor
from gapkit.io.archive import ArchiveWriter, Kind, reading_archive, writing_archive
from gapkit.io.arrays import Array, Arrays
from gapkit.io.atomic import check_output
from gapkit.io.codec import encode, made
from gapkit.io.npy import PackedTriangle
from gapkit.io.temporary import sweep
from gapkit.io.values import Anything, Either, Flag, ListOf, MapOf, Number, Record, Text
from gapkit.kernels import GapKernel
from gapkit.potential.training.accumulator import ATOMS_PER_CHUNK, ROWS_AT_ONCE, RowAccumulator
from gapkit.potential.training.types_of_noise import is_key
from gapkit.targets import TARGETS
from gapkit.typing import IntArray

CHECKPOINT = Kind(
    "gapkit-checkpoint", 2, "checkpoint", "`fit`", "give another name, or delete it to begin anew",
    no_longer=("gapkit-checkpoint-1",),
)  # fmt: skip
# Seconds between two checkpoints, and the least part of the time that is left for the fit itself.
INTERVAL = 300.0
WRITING = 0.1
# Parameters of GAP that do not change the model.
HARMLESS = ("n_jobs", "memory_limit", "progress")

# Rows that wait to be folded.
WAITING = {
    "rows": Array(("n", "M")), "targets": Array(("n",)), "sigmas": Array(("n",), 0.0, above=True),
}  # fmt: skip
_KINDS = ListOf(Text())
_SHARE = Record({
    "position": Number(0, whole=True), "n_columns": Number(0, whole=True), "triangles": _KINDS, "waiting": _KINDS,
})  # fmt: skip
_ROWS = Record({"shares": ListOf(_SHARE), "atoms_at_once": Number(0, whole=True), "complete": Flag()})
HEADER = Record(
    {
        "format": Text(), "format_version": Number(1, whole=True), "units": MapOf(Text()), "arrays": Anything(),
        "checksums": Anything(), "digest": Record({"data": Text(), "parameters": Text()}),
        "selection": Record({"blocks": BLOCKS, "rng": MapOf(Anything())}), "rows": Either(None, _ROWS),
    }
)  # fmt: skip


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
        self._arrays: dict[str, np.ndarray | PackedTriangle] = {}
        self._saving = threading.Lock()
        self._next = time.monotonic() + INTERVAL
        self._header: dict[str, Any] = {}
        if self.path.exists():
            with reading_archive(self.path, CHECKPOINT) as archive:
                HEADER.check(archive.header)
                self._header = archive.header
        for name, own in self._header.get("digest", {}).items():
            if own != self._digest[name]:
                raise InputError(
                    f"`checkpoint` must be of the same fit, but {str(path)!r} is of other {name}; give the frames "
                    "and parameters that it was begun with, or another file, or delete it to begin anew"
                )

    def selection(
        self, engines: Sequence[Engine], kernels: Sequence[GapKernel], rng: np.random.Generator
    ) -> tuple[SparseBasis, IntArray] | None:
        """Basis, and frames and atoms (2, M) of its points, for engines as descriptors make them; None: not chosen yet.

        `rng` is set to its state after the choice.
        """
        if not self._header:
            return None
        self._selection = selection = self._header["selection"]
        with reading_archive(self.path, CHECKPOINT) as archive:
            if len(selection["blocks"]) != len(engines):
                raise InputError(f"`selection.blocks` must be those of {len(engines)} terms")
            arrays = Arrays(archive, {}, prefix="basis/")
            basis = SparseBasis.from_arrays(arrays, selection["blocks"], engines, kernels)
            found = arrays.of(dict.fromkeys(("origins", "origin_atoms"), ORIGINS), M=basis.n_columns)
            origins = np.stack([found["origins"], found["origin_atoms"]])
            made(lambda: setattr(rng.bit_generator, "state", selection["rng"]), "`selection.rng`, a generator's state,")
        self._arrays = {"origins": origins[0], "origin_atoms": origins[1], **basis.to_arrays()}
        return basis, origins

    def keep_selection(self, basis: SparseBasis, origins: IntArray, rng: np.random.Generator) -> None:
        """Take over the sparse points, and write them."""
        self._arrays = {"origins": origins[0], "origin_atoms": origins[1], **basis.to_arrays()}
        self._selection = {"blocks": basis.species, "rng": rng.bit_generator.state}
        self._save(None)

    def rows(self) -> Rows | None:
        """The rows that were saved, None if there are none."""
        saved = self._header.get("rows")
        if saved is None:
            return None
        n = self._arrays["origins"].shape[0]
        with reading_archive(self.path, CHECKPOINT) as archive:
            arrays = Arrays(archive, {})
            if not saved["shares"]:
                raise InputError("`rows.shares` must hold at least one share")
            for i, share in enumerate(saved["shares"]):
                if share["n_columns"] != n:
                    raise InputError(f"`rows.shares[{i}].n_columns` must be {n}, got {share['n_columns']}")
            shares = [_read_share(arrays.of({}, f"rows/{i}/"), share) for i, share in enumerate(saved["shares"])]
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
        with writing_archive(self.path, CHECKPOINT, own_input=True) as archive:
            for name, array in self._arrays.items():
                archive.add(f"basis/{name}", array)
            of_rows = rows and {
                "shares": [_write_share(archive, i, share) for i, share in enumerate(rows.shares)],
                "atoms_at_once": rows.atoms_at_once, "complete": rows.complete,
            }  # fmt: skip
            archive.header = {"digest": self._digest, "selection": self._selection, "rows": of_rows}


def _write_share(archive: ArchiveWriter, index: int, share: RowAccumulator) -> dict[str, Any]:
    """Write a share under its lock; what is to be said of it in the header."""
    with share.lock:
        if not share.sound:
            raise HalfwayError
        for kind, factor in share.factors.items():
            for name, array in factor.to_arrays().items():
                archive.add(f"rows/{index}/{kind}/{name}", array)
        waiting = [kind for kind, parts in share.waiting.items() if parts]
        for kind in waiting:
            for name, arrays in zip(WAITING, zip(*share.waiting[kind], strict=True), strict=True):
                archive.add(f"rows/{index}/{kind}/waiting/{name}", np.concatenate(arrays))
        header = {"position": share.position, "n_columns": share.n_columns}
        return header | {"triangles": list(share.factors), "waiting": waiting}


def _read_share(arrays: Arrays, described: Mapping[str, Any]) -> RowAccumulator:
    """The share of which `_write_share` said this."""
    n = described["n_columns"]
    if unknown := [name for name in described["triangles"] + described["waiting"] if not is_key(name)]:
        raise InputError(f"triangles must be of {', '.join(TARGETS)}, or of types of these, got {unknown[0]!r}")
    share = RowAccumulator(n)
    share.position = described["position"]
    for kind in described["triangles"]:
        share.factors[kind] = TriangularFactor.from_arrays(arrays.of({}, f"{kind}/"), n)
    for kind in described["waiting"]:
        own = arrays.of(WAITING, f"{kind}/waiting/", M=n)
        share.waiting[kind] = [(own["rows"], own["targets"], own["sigmas"])]
    return share
