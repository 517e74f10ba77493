"""Models that gap_fit fits here, gapkit models for QUIP, and their differences from quippy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write as write_frames

from gapkit.descriptors import SOAP, Channels, CosineCutoff, DecayingCutoff, ThreeBody, TripletDistances, TwoBody
from gapkit.gp.noise import Noise
from gapkit.interop.quip import gap_variance
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.potential import GAP, Term
from gapkit.terms.pairs import PairTable, PairTables


def frames(n_species: int, n: int = 6) -> list[Atoms]:
    """Strained and rattled fcc cells of 8 atoms of Cu, Au and Ag with EMT labels."""
    rng = np.random.default_rng(0)
    made = []
    for k in range(n):
        atoms = bulk("Cu", cubic=True) * (1, 1, 2)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.1, seed=k)
        if n_species > 1:
            atoms.numbers[rng.permutation(8)[:3]] = 79
        if n_species > 2:
            atoms.numbers[rng.permutation(8)[:2]] = 47
        atoms.calc = EMT()
        labels = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **labels)
        made.append(atoms)
    return made


def structures(n_species: int) -> list[Atoms]:
    """Cells that are not in `frames`, a small skewed one and a molecule."""
    molecule = frames(n_species, 1)[0]
    molecule.pbc = False
    molecule.cell = np.eye(3) * 30.0
    primitive = bulk("Cu", a=3.5)
    primitive.set_cell(primitive.cell.array @ (np.eye(3) + 0.03 * np.arange(9).reshape(3, 3) / 9), scale_atoms=True)
    return [atoms.copy() for atoms in (*frames(n_species, 8)[6:], primitive, molecule)]


def tables(species: tuple[int, ...]) -> PairTables:
    """A soft repulsion, with both kinds of ends."""
    r = np.linspace(1.2, 3.5, 24)
    made = []
    for i, first in enumerate(species):
        for j, second in enumerate(species[i:]):
            energy = (1.0 + 0.3 * i + 0.2 * j) * 5.0 * ((3.5 - r) / 3.5) ** 3
            made.append(PairTable((first, second), r.tolist(), energy.tolist(), (None, 0.0) if j else (-4.0, 0.0)))
    return PairTables(made)


GLUE = """<quip><Glue_params n_types="1">
<per_type_data atomic_num="29" type="1">
<density num_points="2" density_y1="-1.0" density_yn="0.0">
<point a="1.0" rho="1.0"/><point a="2.0" rho="2.0"/>
</density>
<potential_density num_points="2"><point rho="1.0" E="0.0"/><point rho="2.0" E="0.0"/></potential_density>
</per_type_data>
<per_pair_data type1="1" type2="1"><potential_pair num_points="5" y1="1.0e50" yn="0.0">
<point r="1.5" E="3.0"/><point r="1.9" E="1.6"/><point r="2.4" E="0.5"/><point r="2.8" E="0.1"/><point r="3.2" E="0.0"/>
</potential_pair></per_pair_data></Glue_params></quip>
"""

# ---------------------------------------------------------------------- models of gap_fit


@dataclass(frozen=True)
class Case:
    n_species: int
    gap: str
    more: tuple[str, ...] = ()
    has_variance: bool = True


SE = "sparse_method=uniform covariance_type=ard_se"
PAIRS = f"distance_2b cutoff=4.2 cutoff_transition_width=1.0 delta=0.5 theta_uniform=0.8 n_sparse=5 {SE}"
TRIPLETS = f"angle_3b cutoff=3.2 cutoff_transition_width=0.8 delta=0.3 theta_fac=0.5 n_sparse=8 {SE}"
CLUSTERS = (
    "distance_Nb order={} compact_clusters=T cutoff=3.4 cutoff_transition_width=0.8 delta=0.3 theta_uniform=0.8 "
    f"n_sparse=6 {SE} add_species=T"
)
SOAPS = (
    "soap cutoff=4.0 cutoff_transition_width=0.9 n_max=4 l_max=3 atom_sigma=0.5 zeta={} delta=0.4 n_sparse=10 "
    "sparse_method=cur_points covariance_type=dot_product"
)
SOAP_4, SOAP_2 = SOAPS.format(4), SOAPS.format(2)
ALL = "add_species=T"
PAIR_SOAP = f"{PAIRS} {ALL} : {SOAP_4} {ALL}"
EVERYTHING = f"{PAIRS} {ALL} : {TRIPLETS} {ALL} : {SOAP_2} {ALL}"

GAP_FIT = {
    "soap zeta=2": Case(1, f"{SOAP_2} {ALL}"),
    "soap zeta=2.5": Case(2, f"{SOAPS.format(2.5)} {ALL}"),
    # prior variance beyond delta^2: QUIP finds its own variance negative and stops
    "soap covariance_sigma0=0.1": Case(2, f"{SOAP_4} covariance_sigma0=0.1 {ALL}", has_variance=False),
    "soap, 3 species": Case(3, f"{SOAP_4} {ALL}"),
    "soap cutoff_dexp=2 cutoff_rate=1.5": Case(2, f"{SOAP_4} cutoff_dexp=2 cutoff_scale=2.0 cutoff_rate=1.5 {ALL}"),
    "soap cutoff_dexp=3 cutoff_rate=0": Case(2, f"{SOAP_4} cutoff_dexp=3 cutoff_scale=2.0 cutoff_rate=0.0 {ALL}"),
    "soap central_weight, all species": Case(3, f"{SOAP_4} central_weight=0.5 central_reference_all_species=T {ALL}"),
    "soap normalise=F": Case(2, f"{SOAPS.format(1).replace('delta=0.4', 'delta=100')} normalise=F {ALL}"),
    "soap Z=0 species_Z=0": Case(2, f"{SOAP_4} add_species=F n_species=1 Z=0 species_Z=0"),
    "soap n_Z=2": Case(2, f"{SOAP_4} add_species=F n_species=2 n_Z=2 Z={{{{29 79}}}} species_Z={{{{29 79}}}}"),
    "soap Z=79 species_Z=29": Case(2, f"{SOAP_4} add_species=F n_species=1 Z=79 species_Z={{{{29}}}}"),
    "soap Z=79 species_Z=29, no centre": Case(
        2, f"{SOAP_4} add_species=F n_species=1 Z=79 species_Z={{{{29}}}} central_reference_all_species=F"
    ),
    "soap nu_R=1 nu_S=1": Case(3, f"{SOAP_4} nu_R=1 nu_S=1 {ALL}"),
    "soap nu_R=1 nu_S=2": Case(2, f"{SOAP_4} nu_R=1 nu_S=2 {ALL}"),
    "soap nu_R=2 nu_S=1": Case(3, f"{SOAP_4} nu_R=2 nu_S=1 {ALL}"),
    "soap nu_R=0 nu_S=2": Case(2, f"{SOAP_4} nu_R=0 nu_S=2 {ALL}"),
    "distance_2b": Case(3, f"{PAIRS} {ALL}"),
    "distance_2b Z1=29 Z2=0": Case(2, f"{PAIRS} add_species=F Z1=29 Z2=0"),
    "angle_3b": Case(2, f"{TRIPLETS} {ALL}"),
    "angle_3b Z1=0": Case(2, f"{TRIPLETS} add_species=F Z=79 Z1=0 Z2=29"),
    "distance_Nb order=2": Case(2, CLUSTERS.format(2)),
    "distance_Nb order=3": Case(1, CLUSTERS.format(3)),
    "distance_2b : soap": Case(1, PAIR_SOAP),
    "distance_2b : soap, points inline": Case(2, PAIR_SOAP, ("sparse_separate_file=F",)),
    "distance_2b : angle_3b : soap": Case(2, EVERYTHING),
    "distance_2b : angle_3b : soap, 3 species": Case(3, EVERYTHING),
    "Glue + distance_2b : soap": Case(1, PAIR_SOAP, ("core_ip_args={IP Glue}", "core_param_file=glue.xml")),
}


def gap_fit(folder: Path, case: Case) -> Path:
    """Fit a model in an empty folder; its gap.xml."""
    program = shutil.which("gap_fit") or str(Path(sys.executable).parent / "gap_fit")
    if not Path(program).exists():
        pytest.skip("gap_fit is not installed; `pip install quippy-ase`")
    write_frames(folder / "train.xyz", frames(case.n_species), format="extxyz")
    (folder / "glue.xml").write_text(GLUE)
    separate = () if any("sparse_separate_file" in word for word in case.more) else ("sparse_separate_file=T",)
    command = [
        program, "atoms_filename=train.xyz", f"gap={{{case.gap}}}", "default_sigma={0.01 0.05 0.05 0.0}",
        "energy_parameter_name=energy", "force_parameter_name=forces", "virial_parameter_name=virial",
        "e0_method=average", "gp_file=gap.xml", "rnd_seed=1", "do_copy_at_file=F", *separate, *case.more,
    ]  # fmt: skip
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **threads}, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder / "gap.xml"


# ---------------------------------------------------------------------- models for QUIP

COSINE = CosineCutoff(0.8)


def soap(*, delta: float = 0.4, zeta: float = 4, sigma0: float = 0.0, **more) -> Term:
    descriptor = SOAP(4.0, 4, 3, 0.5, **{"cutoff_function": COSINE} | more)
    return Term(descriptor, DotProduct(delta, zeta, sigma0, delta_bounds="fixed"))


def smooth(descriptor, delta: float, length_scale) -> Term:
    return Term(descriptor, SquaredExponential(delta, length_scale, delta_bounds="fixed"))


TWO = smooth(TwoBody(4.2, cutoff_function=COSINE), 0.5, 0.8)
THREE = smooth(ThreeBody(3.4, cutoff_function=COSINE), 0.1, (1.5, 2.0, 1.5))
TRIANGLES = smooth(TripletDistances(3.4, 0.9, cutoff_function=COSINE), 0.3, 0.9)

GAPKIT = {
    "TwoBody + SOAP": (1, [TWO, soap()], {}),
    "TwoBody + SOAP, delta by evidence": (2, [TWO.descriptor, soap().descriptor], {}),
    "TwoBody + ThreeBody + SOAP": (2, [TWO, THREE, soap()], {}),
    "TwoBody + SOAP, 3 species": (3, [TWO, soap()], {}),
    "SOAP, truncation 1e-4": (2, [soap()], {"truncation": 1e-4}),
    "SOAP, truncation 1e-4, 1 species": (1, [soap()], {"truncation": 1e-4}),
    "SOAP, truncation 0": (2, [soap()], {"truncation": 0.0}),
    "SOAP sigma0, decaying cutoff": (
        2, [soap(zeta=3, sigma0=0.1, cutoff_function=DecayingCutoff(0.8, 2.0, 1.5, 1.0))], {}
    ),
    "SOAP Channels(1, 2)": (3, [soap(compression=Channels(1, 2), central_weight=0.7)], {}),
    "SOAP Channels(2, 1), centre everywhere, not normalised": (
        2, [soap(delta=100.0, zeta=1, compression=Channels(2, 1), centre_channels="all", normalize=False)], {}
    ),
    "TripletDistances": (1, [TRIANGLES], {}),
    "PairTables + TwoBody": (2, [TWO], {"energy_terms": [tables((29, 79))]}),
}  # fmt: skip


@cache
def gapkit_model(name: str) -> GAP:
    n_species, terms, more = GAPKIT[name]
    noise = Noise(energy=0.01, forces=0.05, virial=0.05)
    return GAP(terms, n_sparse=20, noise=noise, calibration=None, n_jobs=1, **more).fit(frames(n_species))


# ---------------------------------------------------------------------- comparison


@dataclass(frozen=True)
class Errors:
    """Largest differences from quippy, relative where values are above 1 eV, eV/Å or eV; variance in eV^2.

    QUIP shares the energy of a `distance_Nb` of order 3 among its atoms, gapkit gives it to the centre.
    """

    energy: float
    forces: float
    virial: float
    local_energy: float
    variance: float


def errors(path: Path, model: GAP, n_species: int, *, variance: bool = True) -> Errors:
    from quippy.potential import Potential

    quip = Potential(param_filename=str(path))
    with_variance = Potential(param_filename=str(path), calc_args="local_gap_variance=variance")
    found = []
    for atoms in structures(n_species):
        p = model.predict(atoms)
        atoms.calc = quip
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        virial = -atoms.get_stress(voigt=False) * atoms.get_volume()
        pairs = [(p.energy[0], energy), (p.forces, forces), (p.virial[0], virial)]
        pairs.append((p.local_energies, quip.get_energies(atoms)))
        of_this = [np.abs(a - b).max() / max(1.0, np.abs(b).max()) for a, b in pairs]
        if variance:
            atoms.calc = with_variance
            atoms.get_potential_energy()
            theirs = with_variance.extra_results["atoms"]["variance"]
            of_this.append(np.abs(gap_variance(model, atoms) - theirs).max())
        else:
            of_this.append(np.nan)
        found.append(of_this)
    return Errors(*np.max(found, axis=0))
