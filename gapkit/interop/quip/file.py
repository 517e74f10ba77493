"""What a gap.xml and its sparseX files hold, checked but not yet understood."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from gapkit.exceptions import InputError, ModelFileError
from gapkit.interop.quip import points, xml
from gapkit.interop.quip.declared import element, flag, number, read, to_number, whole, words
from gapkit.interop.quip.options import DescriptorString
from gapkit.printing import quoted
from gapkit.typing import FloatArray

ARD_SE, DOT_PRODUCT = 1, 2
_KERNELS = (
    "gapkit has the kernels ard_se and dot_product, 1 and 2; 3 and 4 are the kernel bond_real_space and kernel pp"
)
_TOO_NEW = 1987654320  # from this version on other radial functions are the default of soap


@dataclass(frozen=True)
class _Params:
    """`GAP_params`."""

    gap_version: int = whole(0, high=10**10)  # a file without is older than all changes, as in QUIP
    label: str = words("")


@dataclass(frozen=True)
class _Data:
    do_core: bool = flag(False)


@dataclass(frozen=True)
class _Energy:
    """`e0`; the value is read where the element is one of the model's."""

    value: str = words()
    Z: int = element()


@dataclass(frozen=True)
class _Sparse:
    n_coordinate: int = whole(low=1, high=100_000)
    fitted: bool = flag(True)
    label: str = words("")


@dataclass(frozen=True)
class _Item:
    """`gpCoordinates`."""

    dimensions: int = whole(low=1, high=10**7)
    signal_variance: float = number(low=-1e6, high=1e6, unit="eV")  # delta; its sign does not matter
    signal_mean: float = number()  # f0, of ard_se
    sparsified: bool = flag(only=(True,), why="it has all data for sparse points")
    n_permutations: int = whole(low=1, high=1000)
    covariance_type: int = whole(low=1, high=4, only=(ARD_SE, DOT_PRODUCT), why=_KERNELS)
    n_sparseX: int = whole(low=1, high=xml.MAX_ELEMENTS)
    zeta: float | None = number(None, low=0.0, high=1000.0, above=True)
    sparseX_filename: str = words("")
    sparseX_md5sum: str = words("")
    label: str = words("")


@dataclass(frozen=True)
class _Point:
    """`sparseX`."""

    i: int = whole(low=1)
    alpha: float = number(low=-1e50, high=1e50, unit="1/eV")
    sparseCutoff: float = number(low=0.0, high=1.001)  # a product of cutoff functions
    sliced: bool = flag(False)
    sparseX_size: int = whole(0)


@dataclass(frozen=True)
class _Permutation:
    i: int = whole(low=1)


@dataclass(frozen=True, eq=False)
class Coordinates:
    """One `gpCoordinates`: a descriptor with its kernel and sparse points."""

    label: str  # for messages
    descriptor: DescriptorString
    version: int  # `gap_version`; an `xml_version` of the descriptor does not count in QUIP
    delta: float  # eV, > 0
    covariance: int  # `ARD_SE` or `DOT_PRODUCT`
    zeta: float | None
    theta: FloatArray  # (d,), or (0,)
    orders: frozenset[tuple[int, ...]]  # of the vector, which the kernel ard_se sums over, counted from 1
    points: FloatArray  # (m, d)
    weights: FloatArray  # (m,), alpha times the cutoff factor of the sparse point, 1/eV


@dataclass(frozen=True, eq=False)
class GapFile:
    """A gap.xml."""

    path: Path
    version: int
    command_line: str  # of the gap_fit that made it; empty if not recorded
    e0: Mapping[int, str]  # eV by atomic number, as they stand
    coordinates: tuple[Coordinates, ...]
    core: str | None  # init_args of the core potential
    root: Element  # the whole file

    def energy(self, z: int) -> float:
        """The e0 of an element in eV, 0 if the file has none, as in QUIP."""
        text = self.e0.get(z, "0.0")
        try:
            if abs(value := to_number(text.strip())) <= 1e9:
                return value
        except ValueError:
            pass
        wrong = f"`value` of <e0> of element {z} in `{self.path}` must be a finite number of at most 1e9 eV"
        raise ModelFileError(f"{wrong}, got {quoted(text)}; the file was edited or damaged: copy it again")

    def with_energy(self) -> frozenset[int]:
        """Elements whose e0 can be read and is not zero."""

        def holds(z: int) -> bool:
            try:
                return self.energy(z) != 0.0
            except ModelFileError:
                return False

        return frozenset(z for z in self.e0 if holds(z))


def read_file(path: str | os.PathLike[str]) -> GapFile:
    """Read a gap.xml and the files of sparse points that it names.

    Raises
    ------
    ModelFileError
        If a file is missing, malformed or damaged, or an attribute is not what `declared` says.
    InputError
        If it has a part that gapkit cannot express.
    """
    path = Path(path)
    root = xml.parse(path)
    core, label = _potential(root)
    params = next((item for item in root.iter("GAP_params") if label is None or item.get("label") == label), None)
    if params is None:
        raise ModelFileError(f"`{path}` holds no <GAP_params>{f' labelled {quoted(label)}' if label else ''}: no GAP")
    data, sparse = params.find("GAP_data"), params.find("gpSparse")
    if data is None or sparse is None:
        raise ModelFileError(f"`{path}` lacks <GAP_data> or <gpSparse>; it may be truncated: copy it again")
    version = read(_Params, params.attrib, f"<GAP_params> of `{path}`", ignored=("svn_version",)).gap_version
    if version >= _TOO_NEW:
        raise InputError(f"`{path}` is of gap_version {version}, later than {_TOO_NEW - 1}; get a later gapkit")
    of_sparse = read(_Sparse, sparse.attrib, f"<gpSparse> of `{path}`")
    if not of_sparse.fitted:
        raise ModelFileError(f"`{path}` holds a model that is not fitted (fitted=F); fit it with gap_fit")
    announced = of_sparse.n_coordinate
    items = sparse.findall("gpCoordinates")
    if len(items) != announced:
        raise ModelFileError(f"`{path}` announces {announced} descriptors and holds {len(items)}; copy it again")
    if read(_Data, data.attrib, f"<GAP_data> of `{path}`", ignored=data.attrib).do_core and core is None:
        raise ModelFileError(f"`{path}` was fitted on top of a core potential (do_core=T) that it does not name")
    energies = [read(_Energy, item.attrib, f"<e0> of `{path}`", ignored=item.attrib) for item in data.iter("e0")]
    coordinates = tuple(_coordinates(item, path, version) for item in items)
    command = params.findtext("command_line", "").strip()
    return GapFile(path, version, command, {e.Z: e.value for e in energies}, coordinates, core, root)


def _potential(root: Element) -> tuple[str | None, str | None]:
    """Init_args of the core potential, and the label of the GAP."""
    potential = root.find("Potential") if root.tag != "Potential" else root
    arguments = "" if potential is None else potential.get("init_args", "")
    for name, neutral in (("E_scale", 1.0), ("r_scale", 1.0), ("do_rescale_E", None), ("do_rescale_r", None)):
        for value in re.findall(rf"\b{name}\b(?:\s*=\s*([^\s}}]*))?", arguments):
            if neutral is None or not _is(value, neutral):
                raise InputError(
                    f"the potential is scaled by `{name}={value or 'T'}` of its init_args, which gapkit does not do"
                )
    label = re.search(r"IP GAP\s[^}]*?\blabel\s*=\s*([^\s}]+)", arguments, re.IGNORECASE)
    core = None
    if arguments.strip().lower().startswith("sum"):
        parts = re.findall(r"init_args_pot\d\s*=\s*\{([^}]*)\}", arguments)
        others = [part.strip() for part in parts if "IP GAP" not in part.upper()]
        if len(parts) != 2 or len(others) != 1:
            raise InputError(f"a sum of one GAP and one core potential can be read, got {quoted(arguments)}")
        core = others[0]
    return core, label.group(1) if label else None


def _is(text: str, value: float) -> bool:
    try:
        return to_number(text) == value
    except ValueError:
        return False


def _coordinates(item: Element, path: Path, version: int) -> Coordinates:
    label = quoted(item.get("label", "without a label"))
    where = f"<gpCoordinates> {label} of `{path}`"
    own = read(_Item, item.attrib, where, ignored=("n_theta", "covariance_sigma0"))
    descriptor = DescriptorString.parse(item.findtext("descriptor", ""))
    if own.covariance_type == ARD_SE and own.signal_mean != 0.0:
        raise InputError(f"{where} has signal_mean={own.signal_mean}; gapkit's kernels have no constant part (f0)")
    if own.covariance_type == ARD_SE and descriptor.f0 and not _is(descriptor.f0, own.signal_mean):
        shown = f"`f0={descriptor.f0}` and signal_mean={own.signal_mean}"
        raise InputError(f"descriptor {descriptor.name} with {shown} cannot be read: they must be the same")
    if own.signal_variance == 0.0:
        raise ModelFileError(f"`signal_variance` of {where} must not be 0 eV: its kernel would vanish; copy it again")
    shape = (own.n_sparseX, own.dimensions)
    elements = item.findall("sparseX")
    if len(elements) != shape[0]:
        raise ModelFileError(f"{where} announces {shape[0]} sparse points and holds {len(elements)}; copy it again")
    found = [(read(_Point, s.attrib, f"<sparseX> of {where}"), s) for s in elements]
    found.sort(key=lambda pair: pair[0].i)
    if [own.i for own, _ in found] != list(range(1, len(found) + 1)):
        raise ModelFileError(f"`i` of <sparseX> of {where} must be 1 to {len(found)}, each once; copy the file again")
    weights = np.array([point.alpha * point.sparseCutoff for point, _ in found])
    if own.sparseX_filename:
        x = points.from_file(path.parent, own.sparseX_filename, own.sparseX_md5sum, shape, label)
    else:
        x = points.inline([s for _, s in found], shape, label)
    theta = item.findtext("theta", "")
    return Coordinates(
        where, descriptor, version, abs(own.signal_variance), own.covariance_type, own.zeta,
        points.checked(theta, (1, len(theta.split())), f"<theta> of {where}")[0], _orders(item, own, where), x, weights,
    )  # fmt: skip


def _orders(item: Element, own: _Item, where: str) -> frozenset[tuple[int, ...]]:
    """Permutations of the vector, in a set; only those of ard_se count."""
    found = item.findall("permutation")
    if own.covariance_type != ARD_SE:
        return frozenset()
    if len(found) != own.n_permutations:
        raise ModelFileError(
            f"{where} announces {own.n_permutations} permutations and holds {len(found)}; copy it again"
        )
    orders = set()
    for one in found:
        read(_Permutation, one.attrib, f"<permutation> of {where}")
        order = (one.text or "").split()
        if len(order) != own.dimensions or {*order} != {*map(str, range(1, own.dimensions + 1))}:
            raise ModelFileError(f"<permutation> of {where} must hold 1 to {own.dimensions}, each once; copy it again")
        orders.add(tuple(map(int, order)))
    return frozenset(orders)
