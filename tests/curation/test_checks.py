from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read

import gapkit
from gapkit.curation.checks import check
from gapkit.curation.findings import DEFAULT_ACTIONS, KINDS, Finding
from gapkit.curation.label_outliers import pair_model_residuals
from gapkit.exceptions import InputError
from gapkit.structures import to_batch
from tests.potential.models import label


def trajectory(n=30, seed=0):
    """A slow walk of sixteen atoms, all labels right."""
    rng = np.random.default_rng(seed)
    base = bulk("Cu", cubic=True).repeat((2, 2, 1))
    u, frames = rng.normal(scale=0.1, size=(16, 3)), []
    for _ in range(n):
        u = 0.8 * u + 0.06 * rng.normal(size=(16, 3))
        atoms = base.copy()
        atoms.positions += u
        frames.append(label(atoms))
    return frames


def strains(n=25, reach=0.03):
    """Copper at small strains of all kinds, without displacements."""
    rng = np.random.default_rng(1)
    frames = []
    for scale in np.linspace(-reach, reach, n):
        atoms = bulk("Cu", cubic=True)
        shear = rng.normal(scale=0.002, size=(3, 3))
        atoms.set_cell(atoms.cell.array @ ((1.0 + scale) * np.eye(3) + shear + shear.T), scale_atoms=True)
        frames.append(label(atoms))
    return frames


def molecules(n=12):
    rng = np.random.default_rng(2)
    frames = []
    for _ in range(n):
        atoms = molecule("CH3CH2OH")
        atoms.positions += rng.normal(scale=0.03, size=(9, 3))
        frames.append(label(atoms))
    return frames


def result(atoms, name):
    return atoms.calc.results[name]


def found(frames, kind, **options):
    return [f.frame for f in check(frames, **options) if f.kind == kind]


@pytest.mark.parametrize("make", [trajectory, strains, molecules])
def test_good_data_give_no_finding(make):
    assert check(make()) == []


@pytest.mark.parametrize("k", [0, 1, 13, 28, 29])
def test_forces_of_another_frame(k):
    frames = trajectory()
    frames[k].calc.results["forces"] = -result(frames[k], "forces")
    assert found(frames, "energy_force") == [k]


@pytest.mark.parametrize("k", [0, 13, 29])
def test_energy_off_the_work_of_the_forces(k):
    frames = trajectory()
    frames[k].calc.results["energy"] += 1.0
    (finding,) = [f for f in check(frames) if f.kind == "energy_force"]
    assert finding.frame == k
    assert finding.value == pytest.approx(1.0, abs=0.3)
    assert finding.value > finding.threshold


def test_stress_of_another_frame():
    frames = strains()
    frames[17].calc.results["stress"] = -result(frames[17], "stress")
    assert found(frames, "energy_stress") == [17]


def test_all_signs_wrong_comes_from_the_report():
    frames = trajectory()
    for atoms in frames:
        atoms.calc.results["forces"] = -result(atoms, "forces")
    assert len(found(frames, "force_sign")) == 30


def test_not_converged():
    frames = trajectory()
    frames[11].calc.results = {"energy": result(frames[11], "energy") + 16 * 0.08}
    (finding,) = [f for f in check(frames) if f.kind == "energy_outlier"]
    assert finding.frame == 11
    assert finding.value == pytest.approx(0.08, abs=0.02)
    assert finding.severity == "warning"


def test_pair_model_explains_strain_and_ignores_outliers():
    frames = [*strains(40), *trajectory(40)]
    frames[3].calc.results["energy"] += 4.0
    batch = to_batch(frames)
    residual = pair_model_residuals(batch)
    good = np.arange(80) != 3
    spread = np.std((batch.labels.energy / batch.n_atoms_per_frame)[good])
    assert np.std(residual[good]) < 0.3 * spread
    assert residual[3] == pytest.approx(1.0, abs=0.1)


def test_one_force_out_of_line():
    frames = trajectory()
    forces = result(frames[6], "forces").copy()
    forces[4, 1] += 20.0
    frames[6].calc.results["forces"] = forces
    (finding,) = [f for f in check(frames) if f.kind == "force_outlier"]
    assert finding.frame == 6
    assert "atom 4" in finding.message
    assert found(frames, "net_force") == [6]


def test_a_balanced_force_out_of_line():
    frames = trajectory()
    forces = 0.1 * result(frames[6], "forces")
    forces[4, 1] += 60.0
    frames[6].calc.results["forces"] = forces - forces.mean(axis=0)
    assert found(frames, "force_outlier") == [6]


def test_one_displaced_atom_is_no_outlier():
    frames = []
    for k in range(10):
        atoms = bulk("Cu", cubic=True).repeat(2)
        atoms.positions[k, 0] += 0.05
        frames.append(label(atoms))
    assert found(frames, "force_outlier") == []


def test_torque():
    frames = molecules()
    atoms = frames[5]
    arm = atoms.positions - atoms.positions.mean(axis=0)
    atoms.calc.results["forces"] = result(atoms, "forces") + np.cross([0.0, 0.0, 1.5], arm)
    assert found(frames, "net_torque") == [5]
    assert found(frames, "net_force") == []


def test_lost_cell():
    frames = trajectory()
    frames[9] = frames[9].copy()
    frames[9].set_cell(None)
    frames[9].pbc = False
    assert found(frames, "no_cell") == [9]
    assert found([*frames, label(Atoms("Cu"))], "no_cell") == [9]


def test_wrong_cell():
    frames = trajectory()
    large, small = frames[4].copy(), frames[8].copy()
    large.set_cell(large.cell.array * 1.8897)
    small.positions *= 0.529
    kinds = {(f.frame, f.kind) for f in check([*frames[:4], large, *frames[5:8], small, *frames[9:]])}
    assert kinds >= {(4, "volume_outlier"), (8, "distance_outlier")}
    assert {frame for frame, _ in kinds} == {4, 8}


def test_isolated():
    frames = trajectory()
    lost = label(Atoms("Cu3", [[0, 0, 0], [2.5, 0, 0], [0, 0, 20.0]]))
    findings = {f.frame: f for f in check([*frames, label(Atoms("Cu")), lost]) if f.kind == "isolated_atoms"}
    assert {frame: f.severity for frame, f in findings.items()} == {30: "info", 31: "warning"}
    assert findings[31].value == 1.0


def test_not_a_number_and_stale_labels_leave_the_others():
    frames = trajectory()
    forces = result(frames[3], "forces").copy()
    forces[2, 0] = np.nan
    frames[3].calc.results["forces"] = forces
    frames[7].positions[0, 0] += 0.1
    frames[20].calc.results["forces"] = -result(frames[20], "forces")
    findings = check(frames)
    assert [(f.frame, f.kind, f.severity) for f in findings] == [
        (3, "unusable", "error"), (7, "unusable", "error"), (20, "energy_force", "warning"),
    ]  # fmt: skip
    assert "frame 3 " in findings[0].message


@pytest.mark.parametrize("in_hartree", [slice(0, 8), slice(22, 30)])
def test_mixed_units(in_hartree):
    frames = trajectory()
    # energies with a large offset, as those of real programs
    for atoms in frames:
        atoms.calc.results["energy"] -= 16 * 50.0
    sources = ["a.xyz"] * 30
    for k in range(30)[in_hartree]:
        frames[k].calc.results["energy"] /= 27.2114
        sources[k] = "b.xyz"
    findings = [f for f in check(frames, sources=sources) if f.kind == "mixed_units"]
    assert [f.frame for f in findings] == list(range(30)[in_hartree])
    assert all("Hartree" in f.message and "b.xyz" in f.message for f in findings)
    assert found(frames, "mixed_units") == []


def test_sorted_and_the_same_again():
    frames = trajectory()
    frames[20].calc.results["energy"] += 5.0
    frames[2].calc.results["forces"] = -result(frames[2], "forces")
    findings = check(frames)
    assert findings == check(frames)
    assert [(f.frame, f.kind) for f in findings] == sorted((f.frame, f.kind) for f in findings)
    assert len({f.frame for f in findings}) == 2
    with pytest.raises(AttributeError):
        findings[0].frame = 3
    assert isinstance(findings[0], Finding)


def test_sources_must_fit():
    with pytest.raises(InputError, match="one name per frame"):
        check(trajectory(3), sources=["a"])


def with_net(scale, seed=7):
    """Hot and cold frames whose forces add up to something, as those of a loose calculation do."""
    rng = np.random.default_rng(seed)
    frames = trajectory()
    for atoms in frames:
        forces = result(atoms, "forces")
        forces += rng.normal(scale=scale, size=3) / len(atoms)
        atoms.calc.results["forces"] = forces
    return frames


def test_one_small_force_three_times_too_large():
    frames = trajectory()
    forces = result(frames[6], "forces").copy()
    atom = int(np.argmin(np.linalg.norm(forces, axis=1)))
    forces[atom] *= 3.0
    frames[6].calc.results["forces"] = forces
    (finding,) = check(frames)
    assert (finding.frame, finding.kind) == (6, "net_force_outlier")
    assert finding.value == pytest.approx(np.linalg.norm(2.0 / 3.0 * forces[atom]), rel=1e-6)
    assert finding.threshold == pytest.approx(5e-3 * 4.0)  # 16 atoms


@pytest.mark.parametrize("scale", [1e-4, 8.5e-3, 2e-2, 0.2])
def test_usual_net_forces_are_none(scale):
    assert found(with_net(scale), "net_force_outlier") == []


def test_net_forces_are_compared_with_those_of_their_source():
    frames = trajectory() + with_net(0.2)
    sources = ["tight"] * 30 + ["loose"] * 30
    for k in (4, 40):
        frames[k].calc.results["forces"] = result(frames[k], "forces") + 0.6 / 16 * np.eye(3)[0]
    assert found(frames, "net_force_outlier", sources=sources) == [4]
    # a few of another source are judged by all, many are no accident
    assert found(frames[:30] + frames[40:42], "net_force_outlier", sources=sources[:30] + sources[40:42]) == [4, 30, 31]
    assert found(frames[:30] + frames[40:60], "net_force_outlier") == []


def test_missing_forces_have_no_net_force():
    frames = trajectory()
    frames[3].set_array("force_mask", np.arange(16) > 3)
    assert found(frames, "net_force_outlier") == []


def test_neighbours_of_a_wrong_frame_are_not_blamed():
    """Three frames in a line, the others far away: each end has two pairs, one of them with the wrong frame."""
    frames = strains(33, reach=0.04)
    frames = [*frames[:3], *frames[28:]]
    frames[1].calc.results["energy"] += 2.0
    assert found(frames, "energy_stress") == [1]


def test_strained_frames_whose_atoms_move_are_none():
    """The work of the forces is as large as that of the stress."""
    rng = np.random.default_rng(4)
    frames = strains(25)
    for k in range(0, 25, 5):
        frames[k].positions += rng.normal(scale=0.025, size=(4, 3))
        frames[k] = label(frames[k])
    assert check(frames) == []
    frames[10].calc.results["energy"] += 1.0
    assert found(frames, "energy_stress") == [10]


def test_the_data_that_ship_have_no_finding_but_their_free_atom():
    frames = read(Path(__file__).resolve().parents[2] / "data" / "silicon" / "train.extxyz", ":")
    assert [(f.kind, f.severity) for f in check(frames)] == [("isolated_atoms", "info")]


def test_every_kind_of_finding_has_a_meaning_and_an_action():
    """All literal kinds in the sources, for no data set shows them all."""
    kinds = set()
    for folder in ("structures", "curation"):
        for path in (Path(gapkit.__file__).parent / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Fault", "Finding"):
                    kinds |= {
                        a.value for a in node.args[:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)
                    }
    assert kinds > {"energy_outlier", "close_atoms", "force_sign", "net_force_outlier"}
    assert kinds <= set(KINDS)
    assert set(KINDS) == set(DEFAULT_ACTIONS)


def test_far_beyond_the_limit_is_an_error():
    severities = []
    for off in (2.0, 300.0):  # eV of sixteen atoms
        frames = trajectory()
        frames[4].calc.results["energy"] += off
        severities.append({f.severity for f in check(frames) if (f.frame, f.kind) == (4, "energy_outlier")})
    assert severities == [{"warning"}, {"error"}]
