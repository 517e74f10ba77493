"""Calculators in front of atoms that they cannot take, and in the hands of threads and forks: an error of gapkit's own
in the words of all other entries, or the right numbers."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from tests.hostile.trial import Server

PREPARE = """
import numpy as np
from ase import Atoms
from ase.build import bulk
from gapkit import GAPCalculator, load
from gapkit.calculator.committee import CommitteeCalculator
model = load("cu.gapkit")
atoms = bulk("Cu", cubic=True)
"""

# What is done to a sound structure, and words of what is said.
FRAMES = {
    "nan": ("atoms.positions[0, 0] = np.nan", "positions", "finite"),
    "infinite": ("atoms.positions[1] = -np.inf", "positions", "finite"),
    "infinite cell": ("atoms.cell[0, 0] = np.inf", "cell", "finite"),
    "empty": ("del atoms[:]", "at least one atom"),
    "dummy": ("atoms.numbers[0] = 0", "1..118", "dummy"),
    "beyond the table": ("atoms.numbers[0] = 119", "1..118"),
    "another species": ("atoms.numbers[2] = 13", "Al", "training"),
    "coincident": ("atoms.positions[1] = atoms.positions[0]", "apart", "atoms 0 and 1"),
    "coincident images": ("atoms.positions[1] = atoms.positions[0] + atoms.cell[0]", "apart", "atoms 0 and 1"),
    "almost coincident": ("atoms.positions[1] = atoms.positions[0] + 1e-9", "apart"),
    "no cell": ("atoms.set_cell(np.zeros((3, 3)))", "cell", "pbc"),
    "flat cell": ("atoms.cell[2] = atoms.cell[1]", "cell", "independent"),
    "tiny cell": ("atoms.set_cell(1e-3 * np.eye(3))", "cell"),
    "one tiny vector": ("atoms.cell[0] = [1e-9, 0, 0]", "cell"),
    "flown off": ("atoms.pbc = False; atoms.positions[0] = 1e200", "positions"),
}
PROPERTIES = {
    "forces": "GAPCalculator(model).get_property('forces', atoms)",
    "flags": "GAPCalculator(model).get_property('extrapolating', atoms)",
    "error bars": "GAPCalculator(model).get_property('forces_std', atoms)",
    "committee": "CommitteeCalculator(model.sample(2)).get_property('energy_std', atoms)",
    "after a sound one": """
c = GAPCalculator(model)
c.get_property('energy', bulk('Cu'))
c.get_property('forces', atoms)""",
}


@pytest.mark.parametrize(("frame", "use"), list(product(FRAMES, PROPERTIES)))
def test_odd_atoms(server: Server, folder: Path, frame: str, use: str) -> None:
    change, *words = FRAMES[frame]
    server.call(folder, PREPARE + change + "\n" + PROPERTIES[use]).assert_raised(*words)


@pytest.mark.parametrize(
    ("skin", "word"),
    [("-1", "skin"), ("-1e-9", "skin"), ("float('nan')", "skin"), ("float('inf')", "skin")]
    + [(skin, "skin") for skin in ("1e5", "1e120", "1e300")],
)
def test_skins_that_lists_cannot_have(server: Server, folder: Path, skin: str, word: str) -> None:
    code = PREPARE + f"GAPCalculator(model, skin={skin}).get_property('energy', atoms)"
    server.call(folder, code).assert_raised(word)


@pytest.mark.parametrize("kind", ["single", "far image", "lonely", "slab", "wire", "wide cell", "one in a cell"])
def test_frames_that_are_odd_but_sound(server: Server, folder: Path, kind: str) -> None:
    """Every property is finite, and equal to what `predict` says."""
    made = {
        "single": "Atoms('Cu')", "far image": "atoms.copy(); f.positions[0] += 1e8 * atoms.cell.array[0]",
        "lonely": "Atoms('Cu2', [[0, 0, 0], [0, 0, 1e4]])", "one in a cell": "bulk('Cu')",
        "slab": "atoms.copy(); f.pbc = (1, 1, 0)", "wire": "atoms.copy(); f.pbc = (1, 0, 0)",
        "wide cell": "Atoms('Cu', cell=[1e4] * 3, pbc=True)",
    }[kind]  # fmt: skip
    check = f"""
f = {made}
p, c = model.predict(f, return_std=True), GAPCalculator(model)
for name in ("energy", "forces", "energies", "energies_std", "novelty", "extrapolating", "energy_std", "forces_std"):
    assert np.isfinite(c.get_property(name, f)).all(), name
assert abs(c.get_property("energy", f) - p.energy[0]) < 1e-8
assert np.abs(c.get_property("forces", f) - p.forces).max() < 1e-8
assert (c.get_property("extrapolating", f) == p.extrapolating).all()
"""
    done = server.call(folder, PREPARE + check)
    done.assert_bounded()
    assert done.code == 0, done.err


SHARED = """
import os, sys, threading
sys.setswitchinterval(1e-5)
frames = [atoms * (1, 1, 1 + i % 3) for i in range(4)]
for i, frame in enumerate(frames):
    frame.rattle(0.1, seed=i)
expected = [model.predict(frame) for frame in frames]
wrong = []
def work(calculator, which):
    for step in range(8):
        try:
            energy = calculator.get_property("energy", frames[which])
            forces = calculator.get_property("forces", frames[which])
        except Exception as error:
            wrong.append(repr(error))
            continue
        if abs(energy - expected[which].energy[0]) > 1e-8 or np.abs(forces - expected[which].forces).max() > 1e-8:
            wrong.append((which, step))
"""
HANDS = {
    "threads": "calculators = [GAPCalculator(model)] * 4",
    "threads, no skin": "calculators = [GAPCalculator(model, skin=0.0)] * 4",
    "threads of one core": "calculators = [GAPCalculator(model, n_jobs=1)] * 4",
    "threads of a committee": "calculators = [CommitteeCalculator(model.sample(2))] * 4",
    "threads of copies": "import copy; calculators = [copy.deepcopy(GAPCalculator(model)) for _ in range(4)]",
    "threads of one model": "calculators = [GAPCalculator(model) for _ in range(4)]",
}


@pytest.mark.parametrize("hands", list(HANDS))
@pytest.mark.parametrize("forked", [False, True])
def test_many_hands(server: Server, folder: Path, hands: str, forked: bool) -> None:
    """Four threads, and, while they work, a forked process of which they are no part."""
    run = """
threads = [threading.Thread(target=work, args=pair) for pair in zip(calculators, range(4))]
for thread in threads:
    thread.start()
"""
    fork = """
child = os.fork()
if child == 0:
    wrong = []
    work(calculators[0], 0)
    os._exit(len(wrong))
assert os.waitpid(child, 0)[1] == 0
"""
    end = "\nfor thread in threads:\n    thread.join()\nassert not wrong, wrong\n"
    done = server.call(folder, PREPARE + SHARED + HANDS[hands] + run + (fork if forked else "") + end)
    done.assert_bounded()
    assert done.code == 0, done.err
