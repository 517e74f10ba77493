"""Model files: one archive of a JSON header and plain arrays, versioned and sealed by checksums; no pickle."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from gapkit.exceptions import InputError, ModelFileError
from gapkit.io.atomic import replacing

FORMAT = "gapkit-model"
FORMAT_VERSION = 1
UNITS = {"energy": "eV", "length": "Å", "force": "eV/Å", "stress": "eV/Å^3", "stress sign": "ASE"}


def write_archive(path: str | os.PathLike[str], header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write header and arrays to `path` in one step."""
    data = {name: _to_bytes(array) for name, array in arrays.items()}
    checksums = {name: _digest(content) for name, content in data.items()}
    full = {"format": FORMAT, "format_version": FORMAT_VERSION, "units": UNITS, **header, "checksums": checksums}
    text = json.dumps(full, indent=1).encode()
    entries = {"header.json": text, "seal.txt": _digest(text).encode(), **{f"{name}.npy": data[name] for name in data}}
    try:
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, content in entries.items():
                entry = zipfile.ZipInfo(name)  # without the time: the same model is the same bytes
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, content)
    except InputError as error:
        raise ModelFileError(str(error)) from error


def read_archive(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a model file, or a ModelFileError: missing, truncated, edited, or of a newer version."""
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read("header.json")
            header = json.loads(text)
            if header.get("format") != FORMAT:
                raise ModelFileError(f"`{path}` is not a gapkit model file; expected one written by `model.save`")
            if header["format_version"] > FORMAT_VERSION:
                found = header["format_version"]
                raise ModelFileError(f"`{path}` was written by a newer version, in format {found}; upgrade gapkit")
            if _digest(text) != archive.read("seal.txt").decode():
                raise ModelFileError(f"the header of `{path}` was edited after it was written; copy or fit it again")
            arrays = {}
            for name, checksum in header["checksums"].items():
                content = archive.read(f"{name}.npy")
                if _digest(content) != checksum:
                    raise ModelFileError(f"array {name!r} of `{path}` was changed after it was written; copy it again")
                arrays[name] = np.load(io.BytesIO(content), allow_pickle=False)
    except FileNotFoundError:
        raise ModelFileError(f"model file `{path}` does not exist; check the path") from None
    except ModelFileError:
        raise
    # Damage anywhere in an archive surfaces as whatever zipfile, json or numpy trip over.
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, OSError, RuntimeError, OverflowError) as e:
        raise ModelFileError(f"`{path}` is not a complete model file, perhaps truncated ({e}); copy it again") from e
    return header, arrays


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _to_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()
