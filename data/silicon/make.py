"""Build the silicon data set: structures from a fixed seed, energies, forces and stresses from Quantum ESPRESSO.

    python make.py --dry-run                 # list the frames
    python make.py --scratch /tmp/si         # compute; run again to resume

Every finished frame is kept in SCRATCH/frames and is not computed again, as long as its structure and settings are
the same.  ``train.extxyz`` and ``test.extxyz`` (next to this file) are rewritten as frames finish.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, diamond100, diamond111, make_supercell
from ase.calculators.calculator import CalculationFailed
from ase.calculators.espresso import Espresso, EspressoProfile
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

HERE = Path(__file__).resolve().parent
SCRATCH = Path(tempfile.gettempdir()) / "gapkit-silicon"
SEED = 20240
A0 = 5.47  # PBE lattice constant of diamond silicon, Angstrom
PSEUDO = "Si.pbe-rrkj.UPF"
K_SPACING = 0.29  # 1/Angstrom, 2 pi included
K_SPACING_SMALL = 0.25  # cells of up to four atoms
K_SPACING_LARGE = 0.26  # 1/Å, cells of more than 12 atoms: 0.29 would round to three points where four are needed
TEST_FRACTION = 0.2
FIRST_WRITE = 20  # finished frames before the output files are first written
INPUT = {
    "control": {"calculation": "scf", "disk_io": "none", "tprnfor": True, "tstress": True},
    "system": {"ecutwfc": 24.0, "occupations": "smearing", "smearing": "mv", "degauss": 0.02},
    "electrons": {"conv_thr": 1e-8, "electron_maxstep": 80},
}
MIXING = (0.6, 0.3, 0.1)  # mixing_beta: the first try, and the retries

Rng = np.random.Generator


@dataclass
class Frame:
    """One structure to compute, its name, and the file it goes to."""

    name: str
    config_type: str
    atoms: Atoms
    split: str = "train"

    @property
    def kpts(self) -> tuple[int, int, int] | None:
        """Gamma-centred grid from the heights of the cell; None is the Gamma point alone."""
        if self.config_type == "isolated_atom":
            return None
        size = len(self.atoms)
        spacing = K_SPACING_SMALL if size <= 4 else K_SPACING_LARGE if size > 12 else K_SPACING
        reciprocal = 2 * np.pi * np.linalg.norm(self.atoms.cell.reciprocal(), axis=1)
        n = np.maximum(1, np.round(reciprocal / spacing)).astype(int)
        if self.config_type == "surface":
            n[2] = 1
        return int(n[0]), int(n[1]), int(n[2])


# ---- structures ----------------------------------------------------------------------------------------------------


def deform(atoms: Atoms, strain: np.ndarray) -> Atoms:
    """The crystal under a symmetric strain (a 3x3 matrix), atoms carried along."""
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


def random_strain(rng: Rng, size: float) -> np.ndarray:
    """Symmetric matrix with normal entries of standard deviation `size` (half that off the diagonal)."""
    e = rng.normal(0.0, size, (3, 3))
    return np.diag(np.diag(e)) + 0.25 * np.sqrt(2) * (e + e.T) * (1 - np.eye(3))


def closest(atoms: Atoms) -> float:
    """Shortest distance between two different atoms, periodic images of one atom left out."""
    d = atoms.get_all_distances(mic=True)
    return float(d[np.triu_indices(len(atoms), 1)].min()) if len(atoms) > 1 else np.inf


def rattle(atoms: Atoms, rng: Rng, std: float, shortest: float = 1.8) -> Atoms:
    """Normal displacements; a draw with two atoms too close is thrown away."""
    start = atoms.positions.copy()
    for _ in range(10000):
        atoms.positions = start + rng.normal(0.0, std, start.shape)
        if closest(atoms) >= shortest:
            return atoms
    raise RuntimeError(f"no displacement with all distances above {shortest}")


def push_apart(atoms: Atoms, shortest: float) -> Atoms:
    """Move pairs of atoms that are too close away from each other until none is."""
    for _ in range(1000):
        d = atoms.get_all_distances(mic=True, vector=True)
        r = np.linalg.norm(d, axis=2) + 10.0 * np.eye(len(atoms))
        if r.min() >= shortest:
            return atoms
        push = np.where(r < shortest, (shortest + 0.02 - r) / r, 0.0)
        atoms.positions -= 0.5 * np.einsum("ij,ijk->ik", push, d)
    raise RuntimeError("atoms could not be pushed apart")


def thermal_std(kelvin: float) -> float:
    return 0.075 * np.sqrt(kelvin / 300.0)


def primitive(n: int = 1) -> Atoms:
    return bulk("Si", "diamond", a=A0).repeat(n)


def cubic() -> Atoms:
    return bulk("Si", "diamond", a=A0, cubic=True)


def diamond_strain(rng: Rng, i: int, n: int) -> Atoms:
    """Two-atom cells: hydrostatic, uniaxial, shear and general strains; sublattices displaced in every second one."""
    kind, x = i % 4, 2.0 * (i + rng.random()) / n - 1.0  # x is stratified over (-1, 1)
    strain = np.zeros((3, 3))
    if kind == 0:
        strain = 0.08 * x * np.eye(3)
    elif kind == 1:
        strain[2, 2] = 0.08 * x
    elif kind == 2:
        strain[0, 1] = strain[1, 0] = 0.06 * x
    strain += random_strain(rng, 0.04 if kind == 3 else 0.003)
    return rattle(deform(primitive(), strain), rng, 0.07 if (i // 4) % 2 else 0.0)


def diamond_displaced(rng: Rng, i: int, n: int) -> Atoms:
    """Eight-atom cells, small displacements, strain."""
    return rattle(deform(cubic(), random_strain(rng, 0.03)), rng, 0.02 + 0.04 * rng.random())


def thermal(rng: Rng, i: int, n: int) -> Atoms:
    """Eight- and sixteen-atom cells displaced as at 300 to 1800 K, with thermal expansion and random strain."""
    kelvin = 300.0 * (1 + i % 6)
    cell = primitive(2) if i // 6 in (1, 5) else cubic().repeat((1, 1, 2)) if i // 6 == 7 else cubic()
    strain = 3.5e-6 * kelvin * np.eye(3) + random_strain(rng, 0.015)
    return rattle(deform(cell, strain), rng, thermal_std(kelvin))


def liquid_like(rng: Rng, i: int, n: int) -> Atoms:
    """Strongly disordered cells of 8 to 12 atoms about the density of the liquid (18.2 cubic Angstrom per atom)."""
    sc = bulk("Si", "sc", a=18.2 ** (1 / 3))
    cell = [cubic(), sc.repeat(2), sc.repeat((2, 2, 3))][i % 3]
    scale = (18.2 * len(cell) / cell.get_volume()) ** (1 / 3) - 1 + rng.normal(0.0, 0.015)
    cell = deform(cell, scale * np.eye(3) + random_strain(rng, 0.02))
    return push_apart(rattle(cell, rng, rng.uniform(0.35, 0.5), shortest=0.5), 1.95)


def vacancy(rng: Rng, i: int, n: int) -> Atoms:
    """15 atoms on the 16 sites of the doubled primitive cell."""
    cell = deform(primitive(2), random_strain(rng, 0.01))
    del cell[int(rng.integers(len(cell)))]
    return rattle(cell, rng, thermal_std(rng.uniform(50.0, 900.0)))


def interstitial(rng: Rng, i: int, n: int) -> Atoms:
    """One more atom in the doubled primitive cell: tetrahedral site, hexagonal site, or [110] split pair."""
    cell = deform(primitive(2), (0.01 + 0.01 * rng.random()) * np.eye(3))
    a = cell.cell.lengths()[0] / np.sqrt(2)
    if i % 3 == 2:
        cell.positions[0] += np.array([0.14, 0.14, 0.05]) * a
        site = cell.positions[0] - 2 * np.array([0.14, 0.14, 0.0]) * a
    else:
        site = np.array([0.5, 0.5, 0.5]) * a if i % 3 == 0 else np.array([0.625, 0.625, 0.375]) * a
    cell += Atoms("Si", [site])
    return push_apart(rattle(cell, rng, 0.06, shortest=1.5), 2.0)


def surface(rng: Rng, i: int, n: int) -> Atoms:
    """Slabs with 10 Angstrom of vacuum: (111) 1x1, (100) 2x1 with dimers, (100) 2x1 as cut."""
    if i % 2 == 0:
        slab = diamond111("Si", (1, 1, 6 if i % 4 else 8), a=A0, vacuum=5.0)
    else:
        slab = diamond100("Si", (1, 2, 4), a=A0, vacuum=5.0)
        if i % 4 == 1:
            dimerise(slab, 0.7 * rng.uniform(0.8, 1.0))
    slab.pbc = True
    strain = random_strain(rng, 0.01)
    strain[2, :2] = strain[:2, 2] = 0.0
    return rattle(deform(slab, strain), rng, thermal_std(rng.uniform(50.0, 700.0)))


def dimerise(slab: Atoms, shift: float) -> None:
    """Pair the two atoms of the top layer and of the bottom layer along the doubled axis, and lower them a little."""
    z = slab.positions[:, 2]
    for level, inward in ((z.min(), 1.0), (z.max(), -1.0)):
        pair = sorted(np.flatnonzero(np.abs(z - level) < 0.1), key=lambda k: slab.positions[k, 1])
        slab.positions[pair[0]] += (0.0, shift, 0.2 * inward)
        slab.positions[pair[1]] += (0.0, -shift, 0.2 * inward)


def high_pressure(rng: Rng, i: int, n: int) -> Atoms:
    """beta-tin, simple hexagonal, bcc, fcc and sc: scaled, then also strained, then also doubled and displaced."""
    cells = [
        Atoms("Si2", cell=[4.81, 4.81, 2.65], scaled_positions=[(0, 0, 0), (0, 0.5, 0.25)], pbc=True),
        Atoms("Si", cell=[(2.64, 0, 0), (-1.32, 1.32 * np.sqrt(3), 0), (0, 0, 2.48)], pbc=True),
        bulk("Si", "bcc", a=3.08),
        bulk("Si", "fcc", a=3.86),
        bulk("Si", "sc", a=2.52),
    ]
    cell, turn = cells[i % 5], (i // 5) % 3
    if i % 5 == 0:  # the primitive cell of beta-tin: half the body-centred tetragonal one
        cell.cell[2] = 0.5 * (cell.cell[0] + cell.cell[1] + cell.cell[2])
    if turn == 2:
        cell = make_supercell(cell, np.diag([1, 1, 2]))
    volume = 0.88 + 0.22 * (i // 5 + rng.random()) / 3
    strain = (volume ** (1 / 3) - 1) * np.eye(3) + (random_strain(rng, 0.02) if turn else 0.0)
    return rattle(deform(cell, strain), rng, 0.08 if turn == 2 else 0.0)


def isolated_atom(rng: Rng, i: int, n: int) -> Atoms:
    return Atoms("Si", positions=[(5.5, 5.5, 5.5)], cell=[11.0] * 3, pbc=True)


PLAN: dict[str, tuple[int, Callable[[Rng, int, int], Atoms]]] = {
    "isolated_atom": (1, isolated_atom),
    "diamond_strain": (25, diamond_strain),
    "diamond_displaced": (4, diamond_displaced),
    "thermal": (43, thermal),
    "liquid_like": (10, liquid_like),
    "vacancy": (6, vacancy),
    "interstitial": (3, interstitial),
    "surface": (8, surface),
    "high_pressure": (25, high_pressure),
}
# planned, then left out for their cost (0.7 to 5 minutes each); empty this to compute them too
LEFT_OUT = {
    "thermal": (9, 10, 11, 32, 34, 35),
    "liquid_like": (2, 8),
    "vacancy": (1, 3, 5),
    "interstitial": (0, 1),
    "high_pressure": (10, 20),
}


def plan() -> list[Frame]:
    """All frames, each from its own seed, in an order that mixes the config types evenly."""
    frames, keys = [], []
    for t, (kind, (count, build)) in enumerate(PLAN.items()):
        rng = np.random.default_rng([SEED, t])
        chosen = rng.permutation(count)[: round(TEST_FRACTION * count) if count > 3 else 0]
        order = (rng.permutation(count) + rng.random()) / count
        for i in range(count):
            split = "test" if i in chosen else "train"
            if i in LEFT_OUT.get(kind, ()):
                continue
            atoms = build(np.random.default_rng([SEED, t, i]), i, count)
            frames.append(Frame(f"{kind}-{i:02d}", kind, atoms, split))
            keys.append(order[i])
    return [frames[k] for k in np.argsort(keys)]


# ---- calculation ---------------------------------------------------------------------------------------------------


def run_pw(atoms: Atoms, kpts: tuple[int, int, int] | None, workdir: Path, pw: str, pseudo_dir: Path) -> Atoms:
    """Energy, forces and stress of one structure; raises CalculationFailed when pw.x does not converge."""
    for beta in MIXING:
        shutil.rmtree(workdir, ignore_errors=True)
        data = json.loads(json.dumps(INPUT))
        data["electrons"]["mixing_beta"] = beta
        profile = EspressoProfile(command=pw, pseudo_dir=pseudo_dir)
        calc = Espresso(profile=profile, directory=workdir, input_data=data, pseudopotentials={"Si": PSEUDO}, kpts=kpts)
        work = atoms.copy()
        work.calc = calc
        try:
            # the force-consistent energy is the total energy of pw.x, smearing term included
            energy = work.get_potential_energy(force_consistent=True)
            result = {"energy": energy, "forces": work.get_forces(), "stress": work.get_stress()}
        except (CalculationFailed, RuntimeError, KeyError, ValueError) as error:
            print(f"  mixing {beta}: {error!r}", flush=True)
            continue
        if "convergence has been achieved" in (workdir / "espresso.pwo").read_text():
            done = atoms.copy()
            done.calc = SinglePointCalculator(done, **result)
            return done
    raise CalculationFailed("not converged")


def cached(frame: Frame, path: Path) -> Atoms | None:
    """The finished frame, when the file is there and holds this very structure."""
    if not path.exists():
        return None
    old = read(path)
    same = len(old) == len(frame.atoms) and old.info.get("kpts") == str(frame.kpts)
    if same and np.allclose(old.cell, frame.atoms.cell, atol=1e-6):
        return old if np.allclose(old.positions, frame.atoms.positions, atol=1e-6) else None
    return None


def write_sets(frames: list[Frame], done: dict[str, Atoms]) -> None:
    """Write both files, each in the order of the frame names; a reader never sees half a file."""
    for split in ("train", "test"):
        names = sorted(f.name for f in frames if f.split == split and f.name in done)
        if names:
            write(HERE / f".{split}.tmp", [done[n] for n in names], format="extxyz")
            os.replace(HERE / f".{split}.tmp", HERE / f"{split}.extxyz")


def compute(frames: list[Frame], scratch: Path, pw: str, pseudo_dir: Path) -> list[str]:
    """Run what is not yet there; returns the names of the frames that failed."""
    (scratch / "frames").mkdir(parents=True, exist_ok=True)
    done: dict[str, Atoms] = {}
    failed = []
    for frame in frames:
        path, start = scratch / "frames" / f"{frame.name}.extxyz", time.time()
        atoms = cached(frame, path)
        if atoms is None:
            try:
                atoms = run_pw(frame.atoms, frame.kpts, scratch / "run", pw, pseudo_dir)
            except CalculationFailed as error:
                print(f"{frame.name}: {error}, left out", flush=True)
                failed.append(frame.name)
                continue
            atoms.info = {"config_type": frame.config_type, "name": frame.name, "kpts": str(frame.kpts)}
            write(path, atoms, format="extxyz")
            print(f"{frame.name:22s} {len(atoms):3d} atoms {frame.kpts} {time.time() - start:6.1f} s", flush=True)
        atoms.info.pop("kpts")
        done[frame.name] = atoms
        if len(done) >= FIRST_WRITE:
            write_sets(frames, done)
    write_sets(frames, done)
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scratch", type=Path, default=SCRATCH, help=f"work folder, finished frames ({SCRATCH})")
    parser.add_argument("--pseudo-dir", type=Path, default=Path("/usr/share/espresso/pseudo"))
    parser.add_argument("--pw", default="pw.x", help="command that runs pw.x")
    parser.add_argument("--dry-run", action="store_true", help="list the frames and the counts, compute nothing")
    args = parser.parse_args()
    frames = plan()
    if args.dry_run:
        for f in frames:
            print(f"{f.name:22s} {f.split:5s} {len(f.atoms):3d} atoms  k {f.kpts}  closest {closest(f.atoms):.2f} A")
        counts = Counter((f.config_type, f.split) for f in frames)
        for kind in PLAN:
            print(f"{kind:20s} train {counts[kind, 'train']:3d}  test {counts[kind, 'test']:3d}")
        return
    failed = compute(frames, args.scratch.resolve(), args.pw, args.pseudo_dir)
    print("finished", "" if not failed else f"without {', '.join(failed)}")


if __name__ == "__main__":
    main()
