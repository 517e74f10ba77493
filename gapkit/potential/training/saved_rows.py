"""Shares of the training rows in the archive of a checkpoint."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

from gapkit.gp.factors import TriangularFactor
from gapkit.potential.training.accumulator import RowAccumulator
from gapkit.typing import FloatArray


class HalfwayError(Exception):
    """A share has half of a chunk, and cannot be saved."""


def write_share(archive: zipfile.ZipFile, index: int, share: RowAccumulator) -> dict[str, Any]:
    """Write a share under its lock; what is to be said of it in the header."""
    with share.lock:
        if not share.sound:
            raise HalfwayError
        triangles = []
        for kind, factor in share.factors.items():
            with archive.open(f"rows/{index}/{kind}", "w", force_zip64=True) as stream:
                _write_triangle(stream, factor.R)
            triangles.append([kind, len(factor.R), factor.n_rows, factor.log_weights.hex()])
        for kind, parts in share.waiting.items():
            for i, arrays in enumerate(zip(*parts, strict=True)):
                write_array(archive, f"rows/{index}/waiting/{kind}/{i}.npy", np.concatenate(arrays))
        waiting = [kind for kind, parts in share.waiting.items() if parts]
        header = {"position": share.position, "n_columns": share.n_columns}
        return header | {"triangles": triangles, "waiting": waiting}


def read_share(archive: zipfile.ZipFile, index: int, described: Mapping[str, Any]) -> RowAccumulator:
    """The share of which `write_share` said this."""
    share = RowAccumulator(described["n_columns"])
    share.position = described["position"]
    for kind, order, n_rows, log_weights in described["triangles"]:
        factor = TriangularFactor(order - 1)
        with archive.open(f"rows/{index}/{kind}") as stream:
            _read_triangle(stream, factor.R)
        factor.n_rows, factor.log_weights = n_rows, float.fromhex(log_weights)
        share.factors[kind] = factor
    for kind in described["waiting"]:
        rows, targets, sigmas = (read_array(archive, f"rows/{index}/waiting/{kind}/{i}.npy") for i in range(3))
        share.waiting[kind].append((rows, targets, sigmas))
    return share


def _write_triangle(stream: IO[bytes], R: FloatArray) -> None:
    """Upper triangle, column by column: no copy of gigabytes, and no zeros."""
    for j in range(len(R)):
        stream.write(R[: j + 1, j].tobytes())


def _read_triangle(stream: IO[bytes], R: FloatArray) -> None:
    for j in range(len(R)):
        R[: j + 1, j] = np.frombuffer(stream.read(8 * (j + 1)))


def write_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    """Write an array without a copy."""
    # The order of memory is kept: BLAS rounds by it.
    with archive.open(name, "w", force_zip64=True) as stream:
        np.lib.format.write_array(stream, array, allow_pickle=False)


def read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """The array of that name."""
    return np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
