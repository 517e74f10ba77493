"""What a gap.xml and its sparseX files hold, checked but not yet understood."""

from __future__ import annotations

import hashlib
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from gapkit.exceptions import InputError, ModelFileError
from gapkit.interop.quip.options import Options
from gapkit.typing import FloatArray

ARD_SE, DOT_PRODUCT = 1, 2
COVARIANCES = {ARD_SE: "ard_se", DOT_PRODUCT: "dot_product", 3: "bond_real_space", 4: "pp"}


@dataclass(frozen=True, eq=False)
class Coordinates:
    """One `gpCoordinates`: a descriptor with its kernel and sparse points."""

    options: Options  # of the descriptor
    version: int  # of the descriptor, or else `gap_version`
    delta: float  # eV
    covariance: int  # `ARD_SE` or `DOT_PRODUCT`
    zeta: float
    theta: FloatArray  # (d,), or (0,)
    points: FloatArray  # (m, d)
    weights: FloatArray  # (m,), alpha times the cutoff factor of the sparse point, 1/eV


@dataclass(frozen=True, eq=False)
class GapFile:
    """A gap.xml."""

    path: Path
    version: int  # `gap_version`
    command_line: str  # of the gap_fit that made it; empty if not recorded
    energies: dict[int, float]  # e0 in eV by atomic number, zeros included
    coordinates: tuple[Coordinates, ...]
    core: str | None  # init_args of the core potential
    root: Element  # the whole file


def read(path: str | os.PathLike[str]) -> GapFile:
    """Read a gap.xml and the files of sparse points that it names."""
    path = Path(path)
    try:
        root = ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise ModelFileError(f"`{path}` does not exist; check the path") from None
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise ModelFileError(f"`{path}` is not well-formed XML ({error}); it may be truncated: copy it again") from None
    core, label = _potential(root)
    params = next((item for item in root.iter("GAP_params") if label is None or item.get("label") == label), None)
    if params is None:
        raise ModelFileError(f"`{path}` holds no <GAP_params>{f' labelled {label}' if label else ''}: it is no GAP")
    data, sparse = params.find("GAP_data"), params.find("gpSparse")
    if data is None or sparse is None:
        raise ModelFileError(f"`{path}` lacks <GAP_data> or <gpSparse>; it may be truncated: copy it again")
    if sparse.get("fitted", "T") != "T":
        raise ModelFileError(f"`{path}` holds a model that is not fitted (fitted={sparse.get('fitted')})")
    items = sparse.findall("gpCoordinates")
    if len(items) != int(announced := sparse.get("n_coordinate", len(items))):
        raise ModelFileError(f"`{path}` announces {announced} descriptors and holds {len(items)}; copy it again")
    if data.get("do_core", "F") == "T" and core is None:
        raise ModelFileError(f"`{path}` was fitted on top of a core potential (do_core=T) that it does not name")
    try:
        energies = {int(_need(e, "Z")): float(_need(e, "value")) for e in data.iter("e0")}
        version = int(params.get("gap_version", "0"))
        coordinates = tuple(_coordinates(item, path.parent, version) for item in items)
        command = params.findtext("command_line", "").strip()
        return GapFile(path, version, command, energies, coordinates, core, root)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None
    except InputError:
        raise
    except ValueError as error:
        raise ModelFileError(f"`{path}` has a number that cannot be read ({error}); copy it again") from None


def _potential(root: Element) -> tuple[str | None, str | None]:
    """Init_args of the core potential, and the label of the GAP."""
    potential = root.find("Potential") if root.tag != "Potential" else root
    arguments = "" if potential is None else potential.get("init_args", "")
    label = re.search(r"IP GAP[^}]*?label=([^\s}]+)", arguments)
    core = None
    if arguments.strip().lower().startswith("sum"):
        parts = re.findall(r"init_args_pot\d=\{([^}]*)\}", arguments)
        others = [part.strip() for part in parts if "IP GAP" not in part]
        if len(parts) != 2 or len(others) != 1:
            raise InputError(f"a sum of one GAP and one core potential can be read, got {arguments!r}")
        core = others[0]
    return core, label.group(1) if label else None


def _need(item: Element, name: str) -> str:
    value = item.get(name)
    if value is None:
        raise ModelFileError(f"<{item.tag}> lacks `{name}`; copy the file again")
    return value


def _coordinates(item: Element, folder: Path, version: int) -> Coordinates:
    options = Options.parse(item.findtext("descriptor", ""))
    covariance = int(_need(item, "covariance_type"))
    if covariance not in (ARD_SE, DOT_PRODUCT):
        kernel = COVARIANCES.get(covariance, covariance)
        raise InputError(f"descriptor {options.name} has the kernel {kernel}; gapkit has ard_se and dot_product")
    for name in ("signal_mean", "f0"):
        if float(item.get(name, 0.0)) != 0.0:
            raise InputError(f"descriptor {options.name} has {name}={item.get(name)}; gapkit's kernels have none")
    if options.number("f0", 0.0) != 0.0:
        raise options.unsupported("f0", "gapkit's kernels have no constant part")
    n, d = int(_need(item, "n_sparseX")), int(_need(item, "dimensions"))
    sparse = item.findall("sparseX")
    if len(sparse) != n:
        raise ModelFileError(f"{item.get('label')} announces {n} sparse points and holds {len(sparse)}; copy it again")
    weights = np.array([float(_need(s, "alpha")) * float(_need(s, "sparseCutoff")) for s in sparse])
    theta = np.array(item.findtext("theta", "").split(), float)
    zeta = float(item.get("zeta") or options.number("zeta", 1.0))
    delta = float(_need(item, "signal_variance"))
    points, version = _points(item, sparse, folder, n, d), options.integer("xml_version", version)
    return Coordinates(options, version, delta, covariance, zeta, theta, points, weights)


def _points(item: Element, sparse: list[Element], folder: Path, n: int, d: int) -> FloatArray:
    """Sparse points (n, d), from the file of the descriptor or from its elements."""
    name = item.get("sparseX_filename")
    if name:
        path = folder / Path(name).name if not (folder / name).exists() else folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise ModelFileError(f"`{folder / name}` is missing; copy it beside the gap.xml") from None
        wanted = item.get("sparseX_md5sum", "").strip()
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if wanted and wanted != found:
            raise ModelFileError(f"`{path}` must have the md5 sum {wanted}, got {found}; copy it again")
        numbers = np.loadtxt(io.BytesIO(content), ndmin=1).ravel()
    else:
        # the numbers of a point may stand in slices
        items = [part for s in sparse for part in sorted(s.findall("sparseX_slice"), key=_start) or [s]]
        numbers = np.array([float(word) for part in items for word in (part.text or "").split()])
    if len(numbers) != n * d or not np.isfinite(numbers).all():
        expected = f"{n} x {d} finite numbers, got {len(numbers)} numbers"
        raise ModelFileError(f"the sparse points of {item.get('label')} must be {expected}; copy the file again")
    return numbers.reshape(n, d)


def _start(item: Element) -> int:
    return int(item.get("start", 0))
