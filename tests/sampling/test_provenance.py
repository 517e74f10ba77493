"""What all samplers share: nothing of the caller's changes, seeds decide everything, and `info` says how."""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import read, write

from gapkit import sampling
from gapkit.exceptions import InputError


def start() -> Atoms:
    """Copper with all that may hang on a structure."""
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.info = {"energy": -1.0, "REF_energy": -1.0, "config_type": "mine"}
    atoms.set_array("REF_forces", np.ones((8, 3)))
    atoms.set_tags(range(8))
    atoms.set_constraint(FixAtoms([0]))
    atoms.set_momenta(np.ones((8, 3)), apply_constraint=False)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    return atoms


def many() -> list[Atoms]:
    return [start() for _ in range(200)]


SEEDED: dict[str, Callable[[Atoms, int, int], list[Atoms]]] = {
    "thermal_isotropic": lambda a, n, s: sampling.thermal_isotropic(a, 300, 5.0, n, random_state=s),
    "thermal_modes": lambda a, n, s: sampling.thermal_modes(a, 3.0 * np.eye(24), 300, n, random_state=s),
    "rattle": lambda a, n, s: sampling.rattle(a, 0.1, n, 2.0, random_state=s),
    "monte_carlo_rattle": lambda a, n, s: sampling.monte_carlo_rattle(a, 0.1, 3, n, 2.0, random_state=s),
    "strains": lambda a, n, s: sampling.strains(a, 0.05, n, random_state=s),
    "vacancies": lambda a, n, s: sampling.vacancies(a, 2, n, random_state=s),
    "random_search": lambda a, n, s: sampling.random_search("Cu4", 12.0, n, 1.5, random_state=s),
    "alloys": lambda a, n, s: sampling.alloys(a, {"Cu": 0.5, "Au": 0.5}, n, random_state=s),
    "sqs": lambda a, n, s: sampling.alloys(a, {"Cu": 0.5, "Au": 0.5}, n, sqs=True, n_steps=50, random_state=s),
}
PLAIN: dict[str, Callable[[Atoms], list[Atoms]]] = {
    "volume_scan": lambda a: sampling.volume_scan(a, [0.9, 1.1]),
    "interstitials": lambda a: sampling.interstitials(a, "H", 2),
    "surfaces": lambda a: sampling.surfaces(a, [(1, 0, 0)], 2),
    "stacking_faults": lambda a: sampling.stacking_faults(a, [(0.1, 0.2)], layers=2),
    "dimers": lambda a: sampling.dimers(["Cu", "Au"], [1.0, 2.0]),
    "isolated_atoms": lambda a: sampling.isolated_atoms(["Cu", "Au"]),
    "decorrelated": lambda a: sampling.decorrelated([a] * 200, np.sin(np.arange(200) ** 2)),
}
ALL = {name: (lambda a, f=f: f(a, 3, 1)) for name, f in SEEDED.items()} | PLAIN


def state(atoms: Atoms) -> tuple:
    arrays = {name: values.tolist() for name, values in atoms.arrays.items()}
    return arrays, atoms.cell.tolist(), atoms.pbc.tolist(), dict(atoms.info), atoms.calc, len(atoms.constraints)


@pytest.mark.parametrize("name", ALL)
def test_the_input_is_unchanged_and_nothing_stale_is_copied(name: str) -> None:
    atoms = start()
    before = state(atoms)
    structures = ALL[name](atoms)
    for made in structures:
        assert made is not atoms
        if name != "decorrelated":
            assert set(made.info) == {"config_type", "sampling"}
            assert "REF_forces" not in made.arrays
            assert not made.has("momenta")
            assert made.calc is None
            assert not made.constraints
        made.positions += 1.0
        made.info.clear()
    assert state(atoms) == before


@pytest.mark.parametrize("name", ALL)
def test_record(name: str) -> None:
    structures = ALL[name](start())
    assert len(structures) >= 1
    for index, made in enumerate(structures):
        record = made.info["sampling"]
        assert json.loads(json.dumps(record, allow_nan=False)) == record
        assert record["name"] == ("alloys" if name == "sqs" else name)
        assert record["index"] == index
        assert isinstance(made.info["config_type"], str)
        assert set(SEEDED).isdisjoint([name]) or record["parameters"]["random_state"] == 1


@pytest.mark.parametrize("name", SEEDED)
def test_seed(name: str) -> None:
    sampler = SEEDED[name]
    first, again, other, more = (sampler(start(), n, s) for n, s in ((3, 1), (3, 1), (3, 2), (4, 1)))
    assert len(first) == 3
    assert first == again
    assert len(more) == 4
    assert more[:3] == first  # asking for more adds to what there was
    assert all(a != b for a, b in zip(first, other, strict=True))
    if name != "sqs":  # few arrangements are best in so small a cell
        assert all(a != b for i, a in enumerate(first) for b in first[:i])


@pytest.mark.parametrize("name", ["rattle", "strains", "vacancies", "random_search", "alloys"])
@pytest.mark.parametrize(("n", "seed", "message"), [(0, 0, "`n` must be"), (2, -1, "random_state"), (1.5, 0, "`n`")])
def test_counts_and_seeds_out_of_range(name: str, n: int, seed: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SEEDED[name](start(), n, seed)


@pytest.mark.parametrize("name", [n for n in ALL if n not in ("random_search", "dimers", "isolated_atoms")])
def test_not_a_structure(name: str) -> None:
    with pytest.raises(InputError, match=r"must be ase\.Atoms"):
        ALL[name]("Cu4")
    if name != "decorrelated":
        broken = start()
        broken.positions[0, 0] = np.nan
        with pytest.raises(InputError, match="must be finite"):
            ALL[name](broken)


def test_the_record_holds_the_arguments_of_the_call() -> None:
    (made,) = sampling.rattle(start(), 0.1, 1, random_state=5)
    assert made.info["sampling"]["parameters"] == {"sigma": 0.1, "minimum_distance": 0.0, "random_state": 5}
    (scanned,) = sampling.volume_scan(start(), np.array([0.9]))
    assert scanned.info["sampling"]["parameters"] == {"factors": [0.9]}
    first, second = sampling.isolated_atoms(iter(["Cu", "Au"]))  # can be read once only
    assert first.info["sampling"]["parameters"] == {"symbols": ["Cu", "Au"], "box": None}
    assert (first.info["sampling"]["index"], second.info["sampling"]["index"]) == (0, 1)
    assert list(inspect.signature(sampling.rattle).parameters)[:3] == ["atoms", "sigma", "n"]


def test_samplers_draw_different_numbers() -> None:
    atoms = bulk("Cu", cubic=True)
    (a,), (b,) = sampling.rattle(atoms, 0.1, 1), sampling.thermal_isotropic(atoms, 300, 1.0, 1)
    u, v = (made.positions - atoms.positions for made in (a, b))
    assert not np.allclose(u / np.linalg.norm(u), v / np.linalg.norm(v))


def test_masses_and_tags_stay() -> None:
    atoms = start()
    atoms.set_masses([65.0] * 8)
    (made,) = sampling.rattle(atoms, 0.1, 1)
    assert made.get_tags().tolist() == list(range(8))
    assert made.get_masses().tolist() == [65.0] * 8
    (alloy,) = sampling.alloys(atoms, {"Au": 1.0}, 1)
    assert alloy.get_masses()[0] == pytest.approx(196.97, abs=0.01)


def test_the_record_survives_a_file() -> None:
    (made,) = sampling.strains(bulk("Cu"), 0.05, 1)
    text = io.StringIO()
    write(text, made, format="extxyz")
    text.seek(0)
    again = read(text, format="extxyz")
    assert again.info["config_type"] == "strains"
    assert again.info["sampling"]["parameters"]["largest"] == 0.05


def test_new_structures_can_be_labelled() -> None:
    (made,) = sampling.rattle(start(), 0.05, 1)
    made.calc = EMT()
    assert np.isfinite(made.get_potential_energy())
