"""From a gap.xml to a fitted `GAP`, with a core potential that is QUIP's Glue of pair tables."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import numpy as np
from ase.data import chemical_symbols as symbols

from gapkit.descriptors.species import SpeciesList, atomic_numbers
from gapkit.exceptions import DataWarning, InputError, ModelFileError
from gapkit.gp.basis import SparseBasis
from gapkit.gp.noise import Noise
from gapkit.gp.posterior import Posterior
from gapkit.interop.quip.core import Glue
from gapkit.interop.quip.descriptors import Part, Species, convert, named_species, with_centres
from gapkit.interop.quip.file import Coordinates, GapFile, read_file
from gapkit.interop.quip.variance import prior_block
from gapkit.options.checked import checked
from gapkit.options.kinds import PathLike
from gapkit.potential import GAP
from gapkit.potential.model import SparseModel
from gapkit.potential.state import FittedState
from gapkit.potential.term import Term
from gapkit.printing import quoted
from gapkit.terms import KnownEnergy

# Precision of the weights of a model whose data are not known: they count as exact, as in QUIP.
EXACT = 1e12
# More elements than this with an e0 are no training set's.
FEW = 10
# Sparse points of all species together.
MAX_COLUMNS = 50_000
PER_FRAME = re.compile(r"\b(?:sigma|kernel_regularisation)_(?:is_)?per_atom\s*=\s*\.?f", re.IGNORECASE)


@checked
def load(path: PathLike, *, species: SpeciesList | None = None) -> GAP:
    """Read a gap.xml that QUIP's gap_fit wrote; files of sparse points are looked for beside it.

    The file holds weights without their posterior: they count as exact, and standard deviations are what the sparse
    points cannot see, as in QUIP's `local_gap_variance` (see `gap_variance` for exactly that).  There are no
    calibration, no thresholds of novelty (which `calibrate` needs), and no `partial_fit`.

    Parameters
    ----------
    species : sequence of str or int, or None
        All species of the model, for the wildcards (Z=0) of its descriptors.  None: those that its descriptors and pair
        tables name, and with wildcards the few that alone have an e0.

    Raises
    ------
    ModelFileError
        If a file is missing, malformed or damaged; the message names the element and the attribute.
    InputError
        If the model has a part that gapkit cannot express exactly, or does not say its species.

    Warns
    -----
    DataWarning
        If the file has an option that QUIP does not read.
    """
    file = read_file(path)
    core = Glue.of(file)
    numbers = _species(file, core, species)
    parts = [part for item in file.coordinates for part in _parts(item, numbers)]
    if (n_columns := sum(len(part.points) for part in parts)) > MAX_COLUMNS:
        many = f"the descriptors of `{file.path}` have {n_columns:,} sparse points for {len(numbers)} species"
        raise InputError(f"{many}, and gapkit takes {MAX_COLUMNS:,}; name fewer `species`")
    for part in parts:
        if not np.isfinite(part.weights).all():
            raise ModelFileError(f"the weights of `{file.path}` are not finite; the file was edited or damaged")
    noise = _noise(file.command_line)
    terms, of_terms = _group(parts)
    engines = [term.descriptor.engine(term.descriptor.resolve_species(numbers)) for term in terms]
    kernels = [term.resolved_kernel() for term in terms]
    basis = SparseBasis.build(engines, kernels, [[(p.block, p.points) for p in of_term] for of_term in of_terms])
    energy_terms = () if core is None else (core.tables(numbers),)
    metadata = {
        "source": {"file": str(path), "gap_version": file.version, "command_line": file.command_line},
        "training_set": {"sha256": None} | dict.fromkeys(("n_frames", "n_atoms"), "an unknown number of"),
        "report": f"Read from {path}, which QUIP wrote (gap_version {file.version}).",
        "seconds": {},
    }
    nowhere = np.full(basis.n_columns, -1, dtype=np.int64)
    state = FittedState(
        tuple(terms), _sparse_model(basis, kernels, of_terms),
        KnownEnergy({z: file.energy(z) for z in numbers}, energy_terms), noise=(noise or Noise()).as_dict(),
        given_noise=noise or Noise(), origins=nowhere, origin_atoms=nowhere, metadata=metadata,
    )  # fmt: skip
    return GAP.from_state(state, terms=terms, energy_terms=energy_terms, truncation=0.0, noise=noise, calibration=None)


def _species(file: GapFile, core: Glue | None, given: Sequence[str | int] | None) -> Species:
    """Atomic numbers of the model, ascending: those of the descriptors and pair tables, or those `given`.

    Where a descriptor has the wildcard 0, those with an e0 are the model's too, if these are few and others have none:
    gap_fit writes the number that it was given for all elements, and those that it found for those of the training set.
    """
    found = {z for item in file.coordinates for z in named_species(item.descriptor.options)}
    has_wildcard, named = 0 in found, found - {0}
    of_tables = core.species() if core is not None else set()
    if given is not None:
        if not isinstance(given, list | tuple) or not all(isinstance(z, str) or z in range(1, 119) for z in given):
            raise InputError(f"`species` must be a list such as ['Si', 8], got {quoted(given)}")
        chosen = set(atomic_numbers(given))
        wrong = sorted((named - chosen) | (set() if has_wildcard else chosen - named - of_tables))
        if wrong or not chosen:
            names = ", ".join(symbols[z] for z in wrong) or "none"
            raise InputError(
                f"`species` must be those of the descriptors of `{file.path}`, and more only where one has Z=0 and so "
                f"stands for any; {names} is wrong there"
            )
        return tuple(sorted(chosen))
    named |= of_tables
    trained = file.with_energy()
    if has_wildcard and len(trained) <= FEW and len(trained) < max(len(file.e0), 2):
        named |= trained
    if not named:
        raise InputError(f"`{file.path}` names no species (all Z are 0); say which with `species`, as in Si,O")
    return tuple(sorted(named))


def _noise(command_line: str) -> Noise | None:
    """Standard deviations of the labels from the command that made the model; None if it does not say."""
    default, of_types = (
        re.search(rf"\b{name}_(?:sigma|kernel_regularisation)\s*=\s*(?:\{{([^}}]*)\}}|\"([^\"]*)\")", command_line)
        for name in ("default", "config_type")
    )
    if default is None:
        return None
    text = (default[1] or default[2] or "").replace(",", " ")
    try:
        if PER_FRAME.search(command_line):
            raise InputError("they are not per atom (sigma_per_atom=F)")
        noise = Noise.from_gap_fit(text, (of_types[1] or of_types[2] or "") if of_types else "")
        return noise if noise != Noise() else None
    except InputError as error:
        warnings.warn(f"the sigmas of the command line are not taken over: {error}", DataWarning, stacklevel=4)
        return None


def _parts(item: Coordinates, species: Species) -> list[Part]:
    """What `convert` makes of a descriptor, its errors with its place."""
    try:
        return convert(item, species)
    except (InputError, ModelFileError) as error:
        raise type(error)(f"{item.label}: {error}") from None


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
