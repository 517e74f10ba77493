"""Row sigmas: precedence, units and the sqrt(N) convention."""

from types import SimpleNamespace

import numpy as np
import pytest

from gapkit.exceptions import InputError
from gapkit.gp.noise import DEFAULT_NOISE, Noise, row_sigmas
from gapkit.targets import TARGETS

N_ATOMS = np.array([1, 4, 2])
NAN = np.nan


def labels(energy=(NAN,) * 3, force=(NAN,) * 7, virial=(NAN,) * 3, config_type=("bulk", "liquid", "")):
    return SimpleNamespace(
        energy_sigma=np.array(energy), force_sigma=np.array(force), virial_sigma=np.array(virial),
        config_type=config_type,
    )  # fmt: skip


def test_energies_and_virials_go_with_the_root_of_the_atoms_and_forces_do_not():
    noise = Noise(0.002, 0.3, 0.04)
    np.testing.assert_allclose(row_sigmas(noise, labels(), "energy", N_ATOMS), np.sqrt(N_ATOMS))
    np.testing.assert_allclose(row_sigmas(noise, labels(), "virial", N_ATOMS), np.sqrt(N_ATOMS))
    np.testing.assert_array_equal(row_sigmas(noise, labels(), "forces", N_ATOMS), np.ones(7))


def test_precedence_own_label_then_config_type_then_global():
    noise = Noise(
        0.002, 0.3, 0.04, per_config_type={"liquid": Noise(energy=0.01, forces=0.6), "bulk": Noise(virial=0.4)}
    )
    own = labels(energy=(NAN, NAN, 0.5), force=(NAN, 0.9, NAN, NAN, NAN, NAN, 0.03), virial=(NAN, 0.7, NAN))
    absolute = {kind: row_sigmas(noise, own, kind, N_ATOMS) * getattr(noise, kind) for kind in TARGETS}
    np.testing.assert_allclose(absolute["energy"], [0.002, 0.01 * 2, 0.5])
    np.testing.assert_allclose(absolute["forces"], [0.3, 0.9, 0.6, 0.6, 0.6, 0.3, 0.03])
    np.testing.assert_allclose(absolute["virial"], [0.4, 0.7, 0.04 * np.sqrt(2)])


def test_free_noise_keeps_ratios_to_the_reference():
    noise = Noise(energy=None, forces=0.3, per_config_type={"liquid": Noise(energy=0.01)})
    assert noise.free == ("energy", "virial")
    assert noise.as_dict() == {"forces": 0.3}
    relative = row_sigmas(noise, labels(energy=(0.5, NAN, NAN)), "energy", N_ATOMS, reference=Noise(energy=0.02))
    np.testing.assert_allclose(relative, [0.5 / 0.02, 2 * 0.01 / 0.02, np.sqrt(2)])
    by_default = row_sigmas(noise, labels(energy=(0.5, NAN, NAN)), "energy", N_ATOMS)
    np.testing.assert_allclose(by_default[0], 0.5 / DEFAULT_NOISE.energy)
    assert noise.filled().energy == DEFAULT_NOISE.energy
    assert noise.filled().forces == 0.3


def test_ratios_of_types_and_the_noise_that_was_used():
    given = Noise(energy=0.002, per_config_type={"slab": Noise(forces=0.3)}, by_config_type=True)
    noise = given.with_ratios({"liquid": {"energy": 2.0, "forces": 3.0}})
    assert noise.free == ("forces", "virial")
    assert noise.by_config_type
    own = labels(config_type=("slab", "liquid", ""))
    np.testing.assert_allclose(row_sigmas(noise, own, "forces", N_ATOMS), [3.0] + 4 * [3.0] + 2 * [1.0])
    np.testing.assert_allclose(row_sigmas(noise, own, "energy", N_ATOMS), [1.0, 2.0 * 2.0, np.sqrt(2)])
    used = noise.used({"energy": 0.002, "forces": 0.05})
    assert (used.energy, used.forces, used.virial) == (0.002, 0.05, None)
    assert used.per_config_type["liquid"].as_dict() == pytest.approx({"energy": 0.004, "forces": 0.15})
    assert used.per_config_type["slab"].as_dict() == pytest.approx({"forces": 0.15})


def test_errors_name_what_is_wrong():
    with pytest.raises(InputError, match=r"`by_config_type`.*`forces` must be None, got 0.1"):
        Noise(forces=0.1, by_config_type=True)
    with pytest.raises(InputError, match="`forces` of Noise must be a number > 0"):
        Noise(forces=0.0)
    with pytest.raises(InputError, match="per_config_type"):
        Noise(per_config_type={"a": 0.1})
    with pytest.raises(InputError, match="of its own"):
        Noise(per_config_type={"a": Noise(per_config_type={"b": Noise()})})
    with pytest.raises(InputError, match="`kind`"):
        row_sigmas(Noise(), labels(), "stress", N_ATOMS)
    with pytest.raises(InputError, match=r"energy_sigma.*-1.0 at index 2"):
        row_sigmas(Noise(), labels(energy=(NAN, 0.1, -1.0)), "energy", N_ATOMS)
    with pytest.raises(InputError, match=r"force_sigma.*shape"):
        row_sigmas(Noise(), labels(force=(NAN,) * 3), "forces", N_ATOMS)
    with pytest.raises(InputError, match="config_type"):
        row_sigmas(Noise(), labels(config_type=("a",)), "energy", N_ATOMS)


def test_sigmas_as_gap_fit_has_them():
    noise = Noise.from_gap_fit("{0.001 0.1 0.05 0.0}", "{liquid:0.01:0.2:0.3:0.0:slab:0.002:0.15:0.1:0}")
    assert noise.as_dict() == {"energy": 0.001, "forces": 0.1, "virial": 0.05}
    assert noise.per_config_type["liquid"].as_dict() == {"energy": 0.01, "forces": 0.2, "virial": 0.3}
    assert noise.per_config_type["slab"].forces == 0.15
    assert Noise.from_gap_fit("0.001 0.1 0.05 0").per_config_type == {}


def test_a_sigma_of_0_is_not_given():
    noise = Noise.from_gap_fit("0.001 1.0d-1 0.0 0.0", "dimer:0:0.2:0:0")
    assert noise.as_dict() == {"energy": 0.001, "forces": 0.1}
    assert noise.per_config_type["dimer"].as_dict() == {"forces": 0.2}


@pytest.mark.parametrize(
    ("default", "table", "name"),
    [
        ("0.001 0.1 0.05", "", "default_sigma"),
        ("0.001 0.1 x 0", "", "default_sigma"),
        ("0.001 -0.1 0.1 0", "", "forces"),
        ("0.001 0.1 0.05 0", "liquid:0.01:0.2", "config_type_sigma"),
    ],
)
def test_sigmas_that_cannot_be_read(default, table, name):
    with pytest.raises(InputError, match=name):
        Noise.from_gap_fit(default, table)
