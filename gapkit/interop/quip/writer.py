"""From a `GAP` to a gap.xml and its files of sparse points."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from gapkit import __version__
from gapkit.exceptions import InputError
from gapkit.interop.quip.descriptions import Description, describe_block
from gapkit.interop.quip.file import DOT_PRODUCT
from gapkit.io.atomic import check_output, replacing
from gapkit.options.checked import checked
from gapkit.options.kinds import PathLike
from gapkit.potential import GAP
from gapkit.potential.state import state_of
from gapkit.terms import EnergyTerm, PairTables

# Format of the files: after the changes that older readers and files differ in.
GAP_VERSION = 1600000000
N_ELEMENTS = 118


@checked
def write(model: GAP, path: PathLike) -> None:
    """Write a model for QUIP: `path`, such as ``gap.xml``, and beside it a file of sparse points for each descriptor.

    Terms are SOAP (gaussian basis), TwoBody and ThreeBody with `CosineCutoff`; see README.md of this package.
    Predictions are the same to rounding.  The posterior, its calibration and thresholds of novelty have no place there.

    Raises
    ------
    InputError
        If QUIP cannot express a part of the model; nothing is written then.
    OutputError
        If one of the files cannot be written.
    """
    state = state_of(model)
    learned = state.sparse
    check_output(path)
    path, files = Path(path), dict[Path, bytes]()
    descriptions = [
        describe_block(term, basis, block, learned.weights[block.columns])
        for term, basis in zip(state.terms, learned.basis.terms, strict=True)
        for block in basis.blocks
    ]
    scales = [float(delta) for delta in learned.posterior.scales or ()]
    core = _glue(state.known.terms)
    label = "GAP_" + hashlib.sha256(learned.weights.tobytes()).hexdigest()[:16]
    gap = f"IP GAP label={label}"
    root = Element(label)
    arguments = gap if core is None else f"Sum init_args_pot1={{IP Glue}} init_args_pot2={{{gap}}}"
    SubElement(root, "Potential", label=label, init_args=arguments)
    if core is not None:
        root.append(core)
    params = SubElement(root, "GAP_params", label=label, gap_version=str(GAP_VERSION))
    data = SubElement(params, "GAP_data", do_core="F" if core is None else "T")
    for z in range(1, N_ELEMENTS + 1):
        SubElement(data, "e0", Z=str(z), value=repr(float(state.known.reference.get(z, 0.0))))
    sparse = SubElement(params, "gpSparse", label=label, n_coordinate=str(len(descriptions)), fitted="T")
    for i, (description, delta) in enumerate(zip(descriptions, scales, strict=True), start=1):
        name = f"{path.name}.sparseX.{label}{i}"
        content = "".join(f"{value:.17e}\n" for value in description.points.ravel()).encode()
        files[path.with_name(name)] = content
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        sparse.append(_coordinates(description, delta, f"{label}{i}", name, md5))
    SubElement(params, "command_line").text = f"written by gapkit {__version__}"
    ElementTree.indent(root)
    files[path] = ElementTree.tostring(root)
    with ExitStack() as stack:  # they take their places from the last to the first: all points are there before the XML
        for file, content in reversed(files.items()):
            stack.enter_context(replacing(file)).write_bytes(content)


def _coordinates(description: Description, delta: float, label: str, name: str, md5: str) -> Element:
    n, d = description.points.shape
    item = Element(
        "gpCoordinates", label=label, dimensions=str(d), signal_variance=repr(delta), signal_mean="0.0",
        sparsified="T", n_permutations=str(len(description.orders)), covariance_type=str(description.covariance),
        n_sparseX=str(n), sparseX_filename=name, sparseX_md5sum=md5,
    )  # fmt: skip
    if description.covariance == DOT_PRODUCT:
        item.set("zeta", repr(description.zeta))
    else:
        SubElement(item, "theta").text = " ".join(repr(float(theta)) for theta in description.theta)
    SubElement(item, "descriptor").text = description.text
    for i, order in enumerate(description.orders, start=1):
        SubElement(item, "permutation", i=str(i)).text = " ".join(map(str, order))
    alphas = description.weights / delta**2 / description.factors
    for i, (alpha, factor) in enumerate(zip(alphas, description.factors, strict=True), start=1):
        SubElement(item, "sparseX", i=str(i), alpha=repr(float(alpha)), sparseCutoff=repr(float(factor)))
    return item


def _glue(terms: Sequence[EnergyTerm]) -> Element | None:
    """Pair tables as a Glue model without embedding energy."""
    if not terms:
        return None
    only = terms[0]
    if len(terms) > 1 or not isinstance(only, PairTables):
        names = ", ".join(map(repr, terms))
        raise InputError(f"QUIP cannot express the energy terms {names}; fit without any, or with one PairTables")
    species = sorted({int(z) for table in only.tables for z in table.species})
    root = Element("Glue_params", n_types=str(len(species)))
    for i, z in enumerate(species, start=1):
        item = SubElement(root, "per_type_data", atomic_num=str(z), type=str(i))
        density = SubElement(item, "density", num_points="2", density_y1="-1.0", density_yn="0.0")
        embedding = SubElement(item, "potential_density", num_points="2")
        for x in (1.0, 2.0):
            SubElement(density, "point", a=repr(x), rho=repr(x))
            SubElement(embedding, "point", rho=repr(x), E="0.0")
    for table in only.tables:
        first, second = sorted(species.index(int(z)) + 1 for z in table.species)
        y1, yn = ("1.0e50" if slope is None else repr(float(slope)) for slope in table.slopes)
        item = SubElement(root, "per_pair_data", type1=str(first), type2=str(second))
        pair = SubElement(item, "potential_pair", num_points=str(len(table.distances)), y1=y1, yn=yn)
        for r, energy in zip(table.distances, table.energies, strict=True):
            SubElement(pair, "point", r=repr(float(r)), E=repr(float(energy)))
    return root
