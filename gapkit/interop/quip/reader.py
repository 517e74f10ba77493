"""From a gap.xml to a fitted `GAP`, with a core potential that is QUIP's Glue of pair tables."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np

from gapkit.descriptors.species import atomic_numbers
from gapkit.exceptions import InputError, ModelFileError
from gapkit.gp.basis import SparseBasis
from gapkit.gp.noise import Noise
from gapkit.gp.posterior import Posterior
from gapkit.interop.quip.descriptors import CONVERTERS, Part, with_centres
from gapkit.interop.quip.file import GapFile, read
from gapkit.interop.quip.options import Options
from gapkit.interop.quip.variance import prior_block
from gapkit.potential import GAP
from gapkit.potential.model import SparseModel
from gapkit.potential.state import FittedState
from gapkit.potential.term import Term
from gapkit.terms import KnownEnergy, PairTable, PairTables

# Precision of the weights of a model whose data are not known: they count as exact, as in QUIP.
EXACT = 1e12
# A slope as large as this at the end of a table stands for "second derivative zero".
NATURAL = 1e30


def load(path: str | os.PathLike[str], *, species: Sequence[str | int] | None = None) -> GAP:
    """Read a gap.xml that QUIP's gap_fit wrote; files of sparse points are looked for beside it.

    The file holds weights without their posterior: they count as exact, and standard deviations are what the sparse
    points cannot see, as in QUIP's `local_gap_variance` (see `gap_variance` for exactly that).  There are no
    calibration, no thresholds of novelty (which `calibrate` needs), and no `partial_fit`.

    Parameters
    ----------
    species : sequence of str or int, or None
        All species of the model, where it names none (Z=0); None: those with an e0 or in a descriptor.

    Raises
    ------
    ModelFileError
        If a file is missing, malformed or damaged.
    InputError
        If the model has a part that gapkit cannot express exactly.
    """
    file = read(path)
    numbers = _species(file, species)
    if unknown := [item.options.name for item in file.coordinates if item.options.name not in CONVERTERS]:
        raise InputError(f"descriptor {unknown[0]!r} cannot be read; gapkit has {', '.join(CONVERTERS)}")
    parts = [part for item in file.coordinates for part in CONVERTERS[item.options.name](item, numbers)]
    noise = _noise(file.command_line)
    terms, of_terms = _group(parts)
    engines = [term.descriptor.engine(term.descriptor.resolve_species(numbers)) for term in terms]
    kernels = [term.resolved_kernel() for term in terms]
    basis = SparseBasis.build(engines, kernels, [[(p.block, p.points) for p in of_term] for of_term in of_terms])
    core = _core(file)
    energy_terms = () if core is None else (core,)
    metadata = {
        "source": {"file": str(path), "gap_version": file.version, "command_line": file.command_line},
        "training_set": {"sha256": None} | dict.fromkeys(("n_frames", "n_atoms"), "an unknown number of"),
        "report": f"Read from {path}, which QUIP wrote (gap_version {file.version}).",
        "seconds": {},
    }
    state = FittedState(
        tuple(terms), _sparse_model(basis, kernels, of_terms),
        KnownEnergy({z: file.energies.get(z, 0.0) for z in numbers}, energy_terms), noise=(noise or Noise()).as_dict(),
        given_noise=noise or Noise(), origins=np.full(basis.n_columns, -1, dtype=np.int64), metadata=metadata,
    )  # fmt: skip
    return GAP.from_state(state, terms=terms, energy_terms=energy_terms, truncation=0.0, noise=noise, calibration=None)


def _species(file: GapFile, given: Sequence[str | int] | None) -> tuple[int, ...]:
    """Atomic numbers of the model, ascending."""
    if given is not None:
        return tuple(sorted(set(atomic_numbers(given))))
    named = {z for z, energy in file.energies.items() if energy != 0.0}
    keys = ("Z", "Z1", "Z2", "species_Z")
    named |= {z for item in file.coordinates for key in keys for z in item.options.integers(key, ())} - {0}
    if not named:
        raise InputError(f"`{file.path}` names no species (all Z are 0); say which with `species`")
    return tuple(sorted(named))


def _noise(command_line: str) -> Noise | None:
    """Standard deviations of the labels from the command that made the model; None if it does not say."""
    default, of_types = (
        re.search(rf"\b{name}_(?:sigma|kernel_regularisation)\s*=\s*\{{([^}}]*)\}}", command_line)
        for name in ("default", "config_type")
    )
    if default is None:
        return None
    try:
        return Noise.from_gap_fit(default[1], of_types[1] if of_types else "")
    except InputError:  # such as 0 for a kind of label that there was not
        return None


def _group(parts: list[Part]) -> tuple[list[Term], list[list[Part]]]:
    """Terms and their blocks: soaps that differ in their centres alone are one term."""
    groups: list[list[Part]] = []
    for part in parts:
        for group in groups:
            if part.key is not None and group[0].key == part.key and part.block not in [p.block for p in group]:
                group.append(part)
                break
        else:
            groups.append([part])
    centres = [tuple(part.block[0] for part in group) for group in groups]
    return [with_centres(g[0].term, z) if g[0].key else g[0].term for g, z in zip(groups, centres, strict=True)], groups


def _sparse_model(basis: SparseBasis, kernels: list, of_terms: list[list[Part]]) -> SparseModel:
    scales = [float(kernel.delta) for kernel, term in zip(kernels, basis.terms, strict=True) for _ in term.blocks]
    prior = [prior_block(block, delta) for delta, block in zip(scales, basis.blocks, strict=True)]
    posterior = Posterior(np.full(basis.n_columns, EXACT), prior, scales)
    return SparseModel(basis, posterior, np.concatenate([part.weights for of_term in of_terms for part in of_term]))


def _core(file: GapFile) -> PairTables | None:
    """The core potential as an energy term, None where there is none; InputError if it has more than pair tables."""
    if file.core is None:
        return None
    kind, *words = file.core.split(maxsplit=1)
    rest = Options.parse(*words) if kind == "IP" and words else None
    if rest is None or rest.name != "Glue" or set(rest.values) - {"label"}:
        raise InputError(f"the core potential {file.core!r} cannot be read; gapkit has the pair tables of `IP Glue`")
    label = rest.values.get("label")
    found = [g for g in file.root.iter("Glue_params") if label is None or g.get("label") == label]
    if len(found) != 1:
        raise ModelFileError(f"`{file.path}` must hold one <Glue_params> for its core potential, found {len(found)}")
    if any(float(p.get("E", "nan")) != 0.0 for p in found[0].findall(".//per_type_data/potential_density/point")):
        raise InputError("the core potential has an embedding energy (potential_density); gapkit has pair tables only")
    types = {item.get("type", ""): int(item.get("atomic_num", "0")) for item in found[0].iter("per_type_data")}
    return PairTables([_table(item, types) for item in found[0].iter("per_pair_data")])


def _table(item: Element, types: dict[str, int]) -> PairTable:
    table = item.find("potential_pair")
    if table is None:
        raise ModelFileError("<per_pair_data> of the core potential lacks <potential_pair>; copy the file again")
    unknown = (set(item.keys()) - {"type1", "type2"}) | (set(table.keys()) - {"num_points", "y1", "yn"})
    if unknown:
        raise InputError(f"the core potential has {', '.join(sorted(unknown))}, which gapkit does not know")
    try:
        species = [types[item.get(key, "")] for key in ("type1", "type2")]
        points = sorted((float(p.attrib["r"]), float(p.attrib["E"])) for p in table.findall("point"))
        ends = [float(table.get(key, "1e50")) for key in ("y1", "yn")]
    except (KeyError, ValueError) as error:
        raise ModelFileError(f"a pair table of the core potential is not complete ({error}); copy it again") from None
    slopes = [None if abs(end) > NATURAL else end for end in ends]
    return PairTable(species, [r for r, _ in points], [energy for _, energy in points], slopes)
