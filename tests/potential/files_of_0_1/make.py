"""Makes the model files of this folder and what they predict, with the gapkit that is on the path.

    python make.py FOLDER

It uses public names alone and knows the older ones, so that it runs with any version: for a new format of model files
copy it into a folder of that format.  `expected.npz` holds what each model predicts for the frames `test_*.extxyz` of
its species, and for models with factors ("name+") also what it predicts after `partial_fit` on `more_*.extxyz`.
gap.xml comes from gap_fit (extra `oracle`).
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from gapkit import GAP, SOAP, Noise, Term, ThreeBody, TwoBody, load
from gapkit.descriptors import Channels, CosineCutoff
from gapkit.interop.quip import load as load_quip
from gapkit.kernels import DotProduct, SquaredExponential


def known(names: tuple[str, ...], modules: tuple[str, ...]) -> Any:
    """A class under the name and in the module that this version has."""
    for name, module in product(names, modules):
        try:
            return getattr(import_module(module), name)
        except (ImportError, AttributeError):
            pass
    raise ImportError(f"none of {names} is in any of {modules}")


PAIR_TERMS = ("gapkit.terms", "gapkit.terms.pairs", "gapkit.potential.baselines")
ZBL, PairTable, PairTables = (known((name,), PAIR_TERMS) for name in ("ZBL", "PairTable", "PairTables"))
TripletDistances = known(("TripletDistances", "Triangles"), ("gapkit.descriptors",))
ONE, TWO, FOUR = (29,), (29, 79), (28, 29, 47, 79)
SPECIES = {
    "one_species": ONE, "two_species": TWO, "four_species": FOUR, "length_scales": TWO, "updated": TWO, "gap": TWO,
}  # fmt: skip
FACTORS = ("one_species", "updated")
FIELDS = (
    "energy", "forces", "stress", "virial", "local_energies", "local_energies_std", "local_data_variance",
    "local_prior_variance", "novelty", "energy_std", "forces_std", "stress_std", "energy_interval", "forces_interval",
    "stress_interval", "extrapolating",
)  # fmt: skip


def label(atoms: Atoms) -> Atoms:
    """The same atoms with EMT's energy, forces and, where they are periodic, stress."""
    atoms = atoms.copy()
    atoms.calc = EMT()
    results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
    if atoms.pbc.all():
        results["stress"] = atoms.get_stress()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def cells(n: int, species: tuple[int, ...], seed: int) -> list[Atoms]:
    """Strained, rattled fcc cells of 4 atoms; every third is called "liquid" and has sigmas of its own."""
    rng = np.random.default_rng(seed)
    frames = []
    for i in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(scale=0.02, size=(3, 3))), scale_atoms=True)
        atoms.positions += rng.normal(scale=0.1, size=(4, 3))
        atoms.numbers = rng.choice(species, 4) if i else np.resize(species, 4)
        atoms = label(atoms)
        atoms.info["config_type"] = "liquid" if i % 3 == 2 else "solid"
        if i % 3 == 2:
            atoms.info |= {"energy_sigma": 0.02, "force_sigma": 0.1}
        frames.append(atoms)
    return frames


def clusters(species: tuple[int, ...]) -> list[Atoms]:
    """A cluster and a pair at short range, neither of them periodic."""
    cluster = molecule("C2H6")
    cluster.positions *= 1.9
    cluster.numbers = np.resize(species, len(cluster))
    return [label(cluster), label(Atoms(np.resize(species, 2), [[0, 0, 0], [0.3, 0.2, 1.7]]))]


def write_frames(folder: Path) -> None:
    """Every set of frames with one, two and four species."""
    for species in (ONE, TWO, FOUR):
        write(folder / f"train_{len(species)}.extxyz", cells(14, species, seed=0))
        write(folder / f"more_{len(species)}.extxyz", cells(3, species, seed=1))
        write(folder / f"test_{len(species)}.extxyz", cells(2, species, seed=2) + clusters(species))


def frames(folder: Path, name: str, model: str) -> list[Atoms]:
    """A set of frames with the species of a model."""
    return read(folder / f"{name}_{len(SPECIES[model])}.extxyz", ":")


def learned_apart_from(terms: tuple) -> dict:
    """Known energies as the parameter of GAP that this version has."""
    return {"energy_terms": terms} if "energy_terms" in GAP().get_params() else {"baseline": terms[0]}


def models() -> dict[str, GAP]:
    """Models to fit: together they hold every kind of term, kernel, compression, noise and known energy."""
    pairs = Term(TwoBody(4.0), SquaredExponential(1.0, 0.8, delta_bounds="fixed"), n_sparse=5)
    soap = SOAP(4.0, 4, 3, 0.5)
    noise = Noise(2e-3, 0.05, 0.05, per_config_type={"liquid": Noise(energy=5e-3, forces=0.1)})
    r = np.linspace(1.2, 3.0, 8)
    table = PairTable((29, 79), r.tolist(), (4.0 * (1.0 - r / 3.0) ** 3).tolist(), (None, 0.0))
    return {
        "one_species": GAP([pairs, Term(soap, DotProduct(zeta=4), n_sparse=10)], noise=Noise(2e-3, 0.05, 0.05)),
        "two_species": GAP(
            [
                Term(TwoBody(4.0, cutoff_function=CosineCutoff(1.0)), SquaredExponential(1.0, 0.7), n_sparse=9),
                Term(ThreeBody(3.2), SquaredExponential(0.1, (1.5, 2.0, 1.5), delta_bounds="fixed"), n_sparse=12),
                Term(TripletDistances(3.2, 0.7), SquaredExponential(0.2, 0.9, delta_bounds="fixed"), n_sparse=8),
            ],
            noise=noise,
            reference_energies={"Cu": -0.1, "Au": 0.2},
            **learned_apart_from((ZBL(cutoff=2.4, inner=1.2),)),
        ),
        "four_species": GAP(
            [Term(SOAP(4.0, 3, 2, 0.5, compression=Channels(1, 2)), n_sparse=12)],
            noise=Noise(2e-3, 0.05, 0.05), reference_energies="least_squares", calibration=None,
        ),
        "length_scales": GAP(
            [
                Term(ThreeBody(3.4), SquaredExponential(0.3, (1.2, 1.7, 0.9)), n_sparse=12),
                Term(SOAP(3.8, 3, 2, 0.5, normalize=False), DotProduct(0.5, 2, 0.1, delta_bounds="fixed"), n_sparse=8),
            ],
            truncation=1e-4, calibration=None, **learned_apart_from((PairTables((table,)),)),
        ),
        "updated": GAP([pairs, Term(soap, DotProduct(zeta=3), n_sparse=10)], noise=noise, calibration=None),
    }  # fmt: skip


def fit(folder: Path, name: str, model: GAP) -> None:
    """Fit a model and save it."""
    model.set_params(n_jobs=1).fit(frames(folder, "train", name))
    if name == "updated":
        model.partial_fit(frames(folder, "more", name)[:1])
    model.save(folder / f"{name}.gapkit", factors=name in FACTORS)


def gap_fit(folder: Path) -> None:
    """gap.xml and its files of sparse points."""
    terms = (
        "distance_2b cutoff=4.0 cutoff_transition_width=1.0 delta=0.5 theta_uniform=0.8 n_sparse=4 "
        "sparse_method=uniform covariance_type=ard_se add_species=T : soap cutoff=4.0 cutoff_transition_width=0.9 "
        "n_max=3 l_max=2 atom_sigma=0.5 zeta=3 delta=0.4 n_sparse=6 sparse_method=cur_points "
        "covariance_type=dot_product add_species=T"
    )
    command = [
        str(Path(sys.executable).parent / "gap_fit"), "atoms_filename=train_2.extxyz", f"gap={{{terms}}}",
        "default_sigma={0.01 0.05 0.05 0.0}", "energy_parameter_name=energy", "force_parameter_name=forces",
        "virial_parameter_name=virial", "e0_method=average", "gp_file=gap.xml", "rnd_seed=1", "do_copy_at_file=F",
        "sparse_separate_file=T",
    ]  # fmt: skip
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (folder / "train_2.extxyz.idx").unlink()
    text = (folder / "gap.xml").read_text()
    stamp = re.search(r'label="(GAP_[0-9_]+)"', text)
    assert stamp is not None
    (folder / "gap.xml").write_text(text.replace(stamp[1], "GAP"))
    for path in folder.glob("gap.xml.sparseX.*"):
        path.rename(folder / path.name.replace(stamp[1], "GAP"))


def load_model(folder: Path, name: str) -> GAP:
    """A model of this folder."""
    return load_quip(folder / "gap.xml") if name == "gap" else load(folder / f"{name}.gapkit")


def predicted(model: GAP, atoms: list[Atoms]) -> dict[str, np.ndarray]:
    """Everything that a model predicts, by name: error bars of each kind that it has."""
    model = model.set_params(n_jobs=1)
    found = {}
    stds = ("epistemic",) if model.calibration_ is None else ("calibrated", "epistemic")
    if model.noise is not None:
        stds += ("total",)
    for std in stds:
        p = model.predict(atoms, return_std=True, std=std, interval=0.7 if std == "calibrated" else None)
        for name in FIELDS:
            # what 0.1 called novelty is not over its threshold
            value = getattr(p, "unseen" if name == "novelty" and hasattr(p, "unseen") else name)
            if value is not None and (std == stds[0] or name.endswith("_std")):
                found[f"{std}/{name}"] = np.asarray(value)
    return found


def main(folder: Path) -> None:
    """Everything that the tests read."""
    folder.mkdir(parents=True, exist_ok=True)
    write_frames(folder)
    for name, model in models().items():
        fit(folder, name, model)
    gap_fit(folder)
    expected = {}
    for name in SPECIES:
        test = frames(folder, "test", name)
        for key, value in predicted(load_model(folder, name), test).items():
            expected[f"{name}/{key}"] = value
    for name in FACTORS:
        model = load_model(folder, name).partial_fit(frames(folder, "more", name))
        for key, value in predicted(model, frames(folder, "test", name)).items():
            expected[f"{name}+/{key}"] = value
    np.savez(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
