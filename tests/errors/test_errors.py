"""Error metrics against numbers worked out by hand, with labels missing here and there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from gapkit.exceptions import DataError, InputError
from gapkit.report import parity_figure
from gapkit.structures import LabelKeys
from gapkit.validation import compare, evaluate


class GAP:
    """What takes a model knows it by this name."""


@dataclass
class Predictor(GAP):
    """A model that answers with the same numbers for every structure."""

    energy_per_atom: float = 0.0
    force: float = 0.0
    stress: tuple[float, ...] = (0.0,) * 6
    label_keys: LabelKeys = field(default_factory=LabelKeys)

    def predict(self, frames: list[Atoms]) -> SimpleNamespace:
        n_atoms = [len(atoms) for atoms in frames]
        return SimpleNamespace(
            energy=self.energy_per_atom * np.array(n_atoms),
            forces=np.full((sum(n_atoms), 3), self.force),
            stress=np.tile(self.stress, (len(frames), 1)),
        )


def frame(n_atoms: int, config_type: str | None, **labels: object) -> Atoms:
    atoms = Atoms(f"Cu{n_atoms}", positions=np.arange(3.0 * n_atoms).reshape(-1, 3), cell=[2.0, 3.0, 4.0], pbc=True)
    atoms.calc = SinglePointCalculator(atoms, **labels)
    if config_type is not None:
        atoms.info["config_type"] = config_type
    return atoms


def test_energies_are_per_atom_and_forces_per_component() -> None:
    frames = [
        frame(1, "a", energy=1.0, forces=np.array([[1.0, 2.0, 2.0]])),
        frame(4, "b", energy=8.0, forces=np.zeros((4, 3))),
    ]
    errors = evaluate(Predictor(), frames).to_dict()
    assert (errors["n_frames"], errors["n_atoms"]) == (2, 5)
    assert errors["energy_mae"] == pytest.approx(1.5)  # 1 and 2 eV/atom
    assert errors["energy_rmse"] == pytest.approx(np.sqrt(2.5))
    assert errors["forces_mae"] == pytest.approx(5 / 15)
    assert errors["forces_rmse"] == pytest.approx(np.sqrt(9 / 15))
    assert errors["by_config_type"]["a"] == {
        "n_frames": 1, "n_atoms": 1, "energy_mae": 1.0, "energy_rmse": 1.0, "forces_mae": pytest.approx(5 / 3),
        "forces_rmse": pytest.approx(np.sqrt(3)), "stress_mae": None, "stress_rmse": None,
    }  # fmt: skip


def test_stress_keeps_ase_sign_order_and_volume() -> None:
    reference = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    frames = [frame(2, None, stress=reference)]
    exact = compare(Predictor(stress=tuple(reference)), frames).stress
    np.testing.assert_allclose(exact.reference, [reference], rtol=1e-12)
    assert exact.mae == pytest.approx(0.0, abs=1e-12)
    errors = evaluate(Predictor(stress=(1.0, 2.0, 3.0, 4.0, 5.0, 0.0)), frames).to_dict()
    assert errors["stress_mae"] == pytest.approx(1.0)
    assert errors["stress_rmse"] == pytest.approx(np.sqrt(6.0))
    assert list(errors["by_config_type"]) == ["default"]


def test_a_virial_label_is_compared_as_a_stress() -> None:
    atoms = frame(2, None)
    atoms.info["virial"] = -24.0 * np.diag([1.0, 2.0, 3.0])  # the volume is 24 Å^3
    errors = evaluate(Predictor(), [atoms]).overall
    assert errors.stress_mae == pytest.approx(1.0)


def test_masked_forces_count_nowhere() -> None:
    forces = np.array([[3.0, 3.0, 3.0], [1.0, 1.0, 1.0]])
    atoms = frame(2, None, forces=forces)
    atoms.arrays["force_mask"] = np.array([True, False])  # True excludes
    assert evaluate(Predictor(), [atoms]).overall.forces_mae == pytest.approx(1.0)


def test_labels_of_some_frames_only() -> None:
    frames = [frame(1, "a", energy=1.0), frame(2, "b", forces=np.ones((2, 3))), frame(3, "c")]
    errors = evaluate(Predictor(), frames)
    assert errors.overall.n_frames == 3
    assert errors.overall.energy_mae == pytest.approx(1.0)
    assert errors.by_config_type["b"].energy_mae is None
    assert errors.by_config_type["c"].forces_rmse is None
    assert "null" in json.dumps(errors.to_dict(), allow_nan=False)


def test_without_any_label_there_is_nothing_to_compare() -> None:
    with pytest.raises(DataError, match="none of the 2 frames has an energy"):
        evaluate(Predictor(), [frame(1, None), frame(1, None)])


def test_keys_replace_those_of_the_model() -> None:
    atoms = frame(2, None, energy=2.0)
    atoms.info["REF_energy"] = 6.0
    assert evaluate(Predictor(), [atoms]).overall.energy_mae == pytest.approx(1.0)
    assert evaluate(Predictor(label_keys=LabelKeys(energy="REF_energy")), [atoms]).overall.energy_mae == pytest.approx(
        3.0
    )
    assert evaluate(Predictor(), [atoms], LabelKeys(energy="REF_energy")).overall.energy_mae == pytest.approx(3.0)


def test_the_table_shows_what_is_there() -> None:
    text = str(evaluate(Predictor(), [frame(1, "a", energy=0.0015), frame(2, "b", energy=0.0)]))
    assert "0.75 / 1.06" in text  # meV/atom, both frames
    assert "1.50 / 1.50" in text  # config type a
    assert "-" in text


def test_parity_figure_has_a_panel_for_each_quantity() -> None:
    frames = [frame(1, "a", energy=1.0, forces=np.ones((1, 3))), frame(2, "b", energy=1.0)]
    figure = parity_figure(compare(Predictor(), frames))
    assert len(figure.axes) == 2
    assert "energy" in figure.axes[0].get_xlabel()
    assert "force" in figure.axes[1].get_ylabel()
    points = [line.get_xdata() for line in figure.axes[1].get_lines()[1:]]
    np.testing.assert_array_equal(np.concatenate(points), np.ones(3))


def test_a_key_of_the_model_may_be_missing_from_a_test_set() -> None:
    """A model fitted to bulk with a stress key of its own is evaluated on molecules; a key given here must exist."""
    frames = [frame(1, None, energy=1.0)]
    keys = LabelKeys(stress="dft_stress")
    assert evaluate(Predictor(label_keys=keys), frames).to_dict()["stress_mae"] is None
    with pytest.raises(InputError, match="dft_stress"):
        evaluate(Predictor(), frames, keys=keys)
