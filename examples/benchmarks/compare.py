"""Compare gapkit with QUIP (gap_fit and quippy) at one setting, on one machine, in one run.

    pip install ".[bench]"
    python examples/benchmarks/compare.py                          # the data that ship, 300 sparse points
    python examples/benchmarks/compare.py --train my.extxyz --test my_test.extxyz --n-sparse 1000

Fits run as processes of their own: wall time and peak memory are the operating system's.  Predictions are per atom and
step, one thread each, median of five.  Missing programs are left out of the table.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.io import read

DATA = Path(__file__).parents[2] / "data" / "silicon"
SOAP = {"cutoff": 5.4, "n_max": 8, "l_max": 8, "sigma": 0.5}
TRANSITION, ZETA, SIGMA_ENERGY, SIGMA_FORCES = 0.5, 4, 0.0005, 0.1


def fit_gapkit(train: str, output: str, n_sparse: int, e0: float, n_jobs: int) -> None:
    """Body of the gapkit process; energies and forces only, as in the published fits."""
    from gapkit import GAP
    from gapkit import SOAP as Soap
    from gapkit.descriptors import CosineCutoff
    from gapkit.gp.noise import Noise
    from gapkit.kernels import DotProduct
    from gapkit.potential import Term
    from gapkit.structures import LabelKeys

    term = Term(
        Soap(**SOAP, cutoff_function=CosineCutoff(TRANSITION)), DotProduct(zeta=ZETA, delta_bounds="fixed"), n_sparse
    )
    frames = read(train, ":")
    model = GAP(
        [term],
        noise=Noise(SIGMA_ENERGY, SIGMA_FORCES),
        reference_energies={frames[0].get_chemical_symbols()[0]: e0},
        label_keys=LabelKeys(stress=None, virial=None),
        n_jobs=n_jobs,
    )
    model.fit(frames).save(output)


def gap_fit_command(train: str, output: str, n_sparse: int, e0: float, number: int) -> list[str]:
    """The same setting for gap_fit."""
    soap = (
        f"soap cutoff={SOAP['cutoff']} cutoff_transition_width={TRANSITION} n_max={SOAP['n_max']} "
        f"l_max={SOAP['l_max']} atom_sigma={SOAP['sigma']} zeta={ZETA} delta=1.0 "
        f"covariance_type=dot_product sparse_method=cur_points n_sparse={n_sparse} add_species=F "
        f"n_Z=1 Z={{{number}}} n_species=1 species_Z={{{number}}}"
    )
    return [
        "gap_fit", f"at_file={train}", f"gap={{{soap}}}", f"e0={e0}",
        f"default_sigma={{{SIGMA_ENERGY} {SIGMA_FORCES} 0.0 0.0}}",
        "energy_parameter_name=dft_energy", "force_parameter_name=dft_forces",
        "do_copy_at_file=F", "sparse_separate_file=T", f"gp_file={output}", "sparse_jitter=1e-10",
    ]  # fmt: skip


def timed(command: list[str], **environment: str) -> tuple[float, float]:
    """Wall seconds and peak memory in GB of a process."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit(f"{command[0]} failed:\n{errors[-2000:]}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1e6


def per_atom(calculator: Calculator, atoms: Atoms, quantities: Callable[[Atoms], object]) -> float:
    """Microseconds per atom and step, median of five steps after one to warm up."""
    atoms = atoms.copy()
    atoms.calc = calculator
    seconds = []
    rng = np.random.default_rng(1)
    for _ in range(6):
        atoms.positions += rng.normal(0.0, 0.01, atoms.positions.shape)
        begin = time.perf_counter()
        quantities(atoms)
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds[1:])) / len(atoms) * 1e6


def errors_of(calculator: Calculator, frames: list[Atoms]) -> str:
    """Mean absolute errors of energy and forces."""
    energy, forces = [], []
    for frame in frames:
        atoms = frame.copy()
        atoms.calc = calculator
        energy.append((atoms.get_potential_energy() - frame.get_potential_energy()) / len(atoms))
        forces.append((atoms.get_forces() - frame.get_forces()).ravel())
    return f"{1e3 * np.abs(energy).mean():.2f} meV/atom, {np.abs(np.concatenate(forces)).mean():.4f} eV/Å"


def for_quip(frames: list[Atoms], path: Path) -> None:
    """Write frames with the labels under names that no reader rewrites."""
    from ase.io import write

    plain = []
    for frame in frames:
        atoms = frame.copy()
        atoms.info["dft_energy"] = frame.get_potential_energy()
        atoms.arrays["dft_forces"] = frame.get_forces()
        plain.append(atoms)
    write(path, plain, format="extxyz")


def main() -> None:
    """Run both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", default=str(DATA / "train.extxyz"))
    parser.add_argument("--test", default=str(DATA / "test.extxyz"))
    parser.add_argument("--n-sparse", type=int, default=300)
    parser.add_argument("--e0", type=float, help="energy of the free atom, eV (default: mean energy per atom)")
    parser.add_argument("--n-jobs", type=int, default=2, help="threads of the gapkit fit (gap_fit from PyPI has one)")
    parser.add_argument("--fit-only", metavar="OUTPUT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit_only:
        fit_gapkit(options.train, options.fit_only, options.n_sparse, options.e0, options.n_jobs)
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    train, test = read(options.train, ":"), read(options.test, ":")
    e0 = np.mean([a.get_potential_energy() / len(a) for a in train]) if options.e0 is None else options.e0
    large = max(test, key=len).copy()
    while len(large) < 1000:
        large *= tuple(2 if i == int(np.argmin(large.cell.lengths())) else 1 for i in range(3))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.extxyz"
        for_quip(train, data)
        rows = []
        own = Path(folder) / "own.gapkit"
        command = [sys.executable, __file__, "--fit-only", str(own), "--train", options.train]
        command += ["--n-sparse", str(options.n_sparse), "--e0", str(e0), "--n-jobs", str(options.n_jobs)]
        timed(command, OMP_NUM_THREADS=str(options.n_jobs))  # compiles
        fit = timed(command, OMP_NUM_THREADS=str(options.n_jobs))
        from gapkit import GAPCalculator, load

        calculator = GAPCalculator(load(own), n_jobs=1)
        rows.append(("gapkit", fit, calculator))
        if shutil.which("gap_fit") and importlib.util.find_spec("quippy"):
            from quippy.potential import Potential

            xml = Path(folder) / "gap.xml"
            quip_fit = timed(
                gap_fit_command(str(data), str(xml), options.n_sparse, e0, train[0].numbers[0]), OMP_NUM_THREADS="1"
            )
            rows.append(("QUIP", quip_fit, Potential(param_filename=str(xml))))
        n_train = sum(map(len, train))
        print(
            f"{options.n_sparse} sparse points, {n_train} training atoms, predictions on {len(large)} atoms, 1 thread"
        )
        print(f"{'':8s} {'fit s':>8s} {'fit GB':>8s} {'E+F':>10s} {'E+F+stress':>10s}  µs/atom; test errors (MAE)")
        table: list[list[float]] = []
        for name, (seconds, memory), calc in rows:
            plain = per_atom(calc, large, lambda a: (a.get_potential_energy(), a.get_forces()))
            stress = per_atom(calc, large, lambda a: (a.get_potential_energy(), a.get_forces(), a.get_stress()))
            table.append([seconds, memory, plain, stress])
            print(f"{name:8s} {seconds:8.1f} {memory:8.2f} {plain:10.1f} {stress:10.1f}  {errors_of(calc, test)}")
        for (name, *_), figures in zip(rows[1:], table[1:], strict=True):
            ratios = [b / a for a, b in zip(table[0], figures, strict=True)]
            print(f"{name + '/own':8s} {ratios[0]:8.1f} {ratios[1]:8.1f} {ratios[2]:10.1f} {ratios[3]:10.1f}")


if __name__ == "__main__":
    main()
