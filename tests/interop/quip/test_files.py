"""Reading and writing of gap.xml without quippy: round trips, bad files, and what cannot be expressed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ase.calculators.calculator import all_changes
from typer.testing import CliRunner

from gapkit.calculator import GAPCalculator
from gapkit.cli.app import app
from gapkit.descriptors import (
    SOAP,
    Channels,
    CosineCutoff,
    DecayingCutoff,
    Mixing,
    NoCutoff,
    QuinticCutoff,
    TripletDistances,
    TwoBody,
)
from gapkit.exceptions import DataWarning, InputError, ModelFileError, UnknownSpeciesError
from gapkit.gp.noise import Noise
from gapkit.interop.quip import gap_variance, load, write
from gapkit.interop.quip.options import DescriptorString, SoapOptions
from gapkit.kernels import DotProduct, SquaredExponential
from gapkit.potential import GAP, Term
from gapkit.potential import load as load_file
from gapkit.terms.pairs import ZBL, PairTable, PairTables
from tests.descriptors.cases import Toy, assert_derivatives, structure
from tests.interop.quip.models import GAPKIT, gapkit_model, structures, tables
from tests.potential.models import make_frames, small_model

SAME = 1e-9  # two ways to one model, relative where values are large
EXACT = 1e-12


def assert_same_predictions(one, other, n_species, tolerance=SAME):
    for atoms in structures(n_species):
        p, q = one.predict(atoms), other.predict(atoms)
        for name in ("energy", "forces", "virial", "local_energies"):
            a, b = getattr(p, name), getattr(q, name)
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(b).max()), err_msg=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("quip")
    write(gapkit_model("TwoBody + ThreeBody + SOAP"), path / "gap.xml")
    return path


@pytest.fixture
def copy(folder, tmp_path):
    """Copy the model, with its gap.xml changed."""

    def change(*pairs):
        for file in folder.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        text = (tmp_path / "gap.xml").read_text()
        for old, new in pairs:
            assert re.search(old, text), old
            text = re.sub(old, new, text)
        (tmp_path / "gap.xml").write_text(text)
        return tmp_path / "gap.xml"

    return change


# ---------------------------------------------------------------------- round trips


@pytest.mark.parametrize("name", GAPKIT)
def test_out_and_in(tmp_path, name):
    model = gapkit_model(name)
    write(model, tmp_path / "gap.xml")
    assert_same_predictions(load(tmp_path / "gap.xml"), model, GAPKIT[name][0])


def test_a_read_model_is_saved_and_loaded(folder, tmp_path):
    model = load(folder / "gap.xml")
    model.save(tmp_path / "model.gapkit")
    again = load_file(tmp_path / "model.gapkit")
    assert_same_predictions(again, model, 2, EXACT)
    atoms = structures(2)[0]
    np.testing.assert_allclose(gap_variance(again, atoms), gap_variance(model, atoms), rtol=1e-6)
    assert again.metadata_["source"]["gap_version"] == 1600000000
    assert "gapkit" in again.metadata_["source"]["command_line"]
    assert "unknown number" in again.summary()


def test_what_a_read_model_does_not_have(folder):
    model = load(folder / "gap.xml")
    assert model.calibration_ is None
    assert model.novelty_detector_ is None
    assert (model.state_.origins == -1).all()
    assert model.state_.factors is None
    with pytest.raises(ValueError, match="factors"):
        model.partial_fit(structures(2)[:1])
    atoms = structures(2)[0]
    atoms.numbers[0] = 14
    with pytest.raises(UnknownSpeciesError):
        model.predict(atoms)


def test_a_read_model_drives_a_calculator(folder):
    model = load(folder / "gap.xml")
    atoms = structures(2)[0]
    expected = model.predict(atoms)
    atoms.calc = GAPCalculator(model)
    atoms.calc.calculate(atoms, ["energy", "forces"], all_changes)
    np.testing.assert_allclose(atoms.get_potential_energy(), expected.energy[0], rtol=1e-9)
    np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=1e-8)


def test_standard_deviations_of_soap_are_those_of_gap_variance(tmp_path):
    write(gapkit_model("SOAP, truncation 0"), tmp_path / "gap.xml")
    model = load(tmp_path / "gap.xml")
    atoms = structures(2)[1]
    variance = model.predict(atoms, return_std="local").local_energies_std ** 2
    np.testing.assert_allclose(variance, gap_variance(model, atoms) - 1e-6, rtol=0, atol=1e-8)


def test_points_inline_and_in_slices(copy, folder):
    path = copy()
    text = path.read_text()
    for name in sorted({file.name for file in folder.iterdir()} - {"gap.xml"}):
        start = rf'<gpCoordinates[^>]*dimensions="(\d+)"[^>]*sparseX_filename="{re.escape(name)}"'
        part = re.search(start + ".*?</gpCoordinates>", text, re.S)
        d = int(part.group(1))
        x = np.loadtxt(path.parent / name).reshape(-1, d)

        def inline(match, x=x, d=d):
            numbers = [repr(float(v)) for v in x[int(match.group(1)) - 1]]
            pieces = [(s, numbers[s : s + 50]) for s in range(0, d, 50)]
            inner = (
                " ".join(numbers)
                if d <= 50
                else "".join(
                    f'<sparseX_slice start="{s + 1}" end="{s + len(p)}">{" ".join(p)}</sparseX_slice>'
                    for s, p in reversed(pieces)
                )
            )
            return f"{match.group(0)[:-2]}>{inner}</sparseX>"

        new = re.sub(r'<sparseX i="(\d+)"[^>]*/>', inline, part.group(0))
        new = re.sub(r' sparseX_filename="[^"]*" sparseX_md5sum="[^"]*"', "", new)
        text = text.replace(part.group(0), new)
    path.write_text(text)
    for file in path.parent.glob("*.sparseX.*"):
        file.unlink()
    assert_same_predictions(load(path), load(folder / "gap.xml"), 2, EXACT)


def test_convert_goes_both_ways(folder, tmp_path):
    run = CliRunner().invoke
    result = run(app, ["convert", str(folder / "gap.xml"), str(tmp_path / "model.gapkit")])
    assert result.exit_code == 0, result.output
    result = run(app, ["convert", str(tmp_path / "model.gapkit"), str(tmp_path / "gap.xml")])
    assert result.exit_code == 0, result.output
    assert_same_predictions(load(tmp_path / "gap.xml"), load(folder / "gap.xml"), 2)
    result = run(app, ["convert", str(folder / "gap.xml"), str(tmp_path / "other.xml")])
    assert result.exit_code == 2
    assert not (tmp_path / "other.xml").exists()


# ---------------------------------------------------------------------- bad files


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelFileError, match="does not exist"):
        load(tmp_path / "gap.xml")


def test_malformed_xml(copy):
    path = copy()
    path.write_text(path.read_text()[:-200])
    with pytest.raises(ModelFileError, match="well-formed"):
        load(path)


def test_another_xml(tmp_path):
    (tmp_path / "gap.xml").write_text("<SW_params n_types='1'/>")
    with pytest.raises(ModelFileError, match="no GAP"):
        load(tmp_path / "gap.xml")


def test_a_missing_file_of_points(copy):
    path = copy()
    next(path.parent.glob("*.sparseX.*")).unlink()
    with pytest.raises(ModelFileError, match="copy it beside"):
        load(path)


def test_a_wrong_checksum(copy):
    path = copy()
    points = next(path.parent.glob("*.sparseX.*"))
    points.write_text(points.read_text().replace("1", "2", 1))
    with pytest.raises(ModelFileError, match="md5"):
        load(path)


@pytest.mark.parametrize(("line", "match"), [("abc", "number"), ("nan", "finite"), ("1.0\n2.0", "numbers")])
def test_points_that_are_no_numbers(copy, line, match):
    path = copy((' sparseX_md5sum="[^"]*"', ""))
    points = next(path.parent.glob("*.sparseX.*"))
    points.write_text("\n".join([*points.read_text().splitlines()[1:], line]))
    with pytest.raises(ModelFileError, match=match):
        load(path)


@pytest.mark.parametrize(
    ("old", "new", "error", "match"),
    [
        ('n_coordinate="(\\d+)"', 'n_coordinate="99"', ModelFileError, "announces 99"),
        ('n_sparseX="\\d+"', 'n_sparseX="99"', ModelFileError, "announces 99 sparse points"),
        ('alpha="[^"]*"', 'alpha="x"', ModelFileError, "number"),
        ('alpha="[^"]*"', "", ModelFileError, "lacks `alpha`"),
        ('fitted="T"', 'fitted="F"', ModelFileError, "not fitted"),
        ('covariance_type="1"', 'covariance_type="4"', InputError, "kernel pp"),
        ('signal_mean="0.0"', 'signal_mean="0.5"', InputError, "signal_mean"),
        ("<descriptor>distance_2b", "<descriptor>soap_turbo", InputError, "'soap_turbo' cannot be read"),
        ("<descriptor>distance_2b", "<descriptor>distance_2b f0=1.0", InputError, "f0=1.0"),
        ("<descriptor>distance_2b", "<descriptor>distance_2b tail_exponent=2", InputError, "tail_exponent=2"),
        ("<descriptor>distance_2b", "<descriptor>distance_2b exponents={-4}", InputError, "exponents=-4"),
        ("<descriptor>distance_2b", "<descriptor>distance_2b resid_name=mol only_intra=T", InputError, "molecules"),
        ("<descriptor>soap", "<descriptor>soap radial_basis=GTO", InputError, "radial_basis=GTO"),
        ("<descriptor>soap", "<descriptor>soap basis_error_exponent=5", InputError, "basis_error_exponent=5"),
        ('init_args="IP GAP', 'init_args="IP GAP E_scale=2.0', InputError, "E_scale=2.0"),
        ('gap_version="\\d+"', 'gap_version="1987654321"', InputError, "later gapkit"),
        ('zeta="[^"]*"', "", ModelFileError, "exponent `zeta`"),
        ('<permutation i="1">1 2 3', '<permutation i="1">3 2 1', ModelFileError, "permutations"),
        ('<sparseX i="2"', '<sparseX i="1"', ModelFileError, "each once"),
        ('sparsified="T"', 'sparsified="F"', InputError, "sparsified=F"),
        ("cutoff=4.2", "", ModelFileError, "lacks `cutoff`"),
        ("<descriptor>soap", "<descriptor>soap average=T", InputError, "average=T"),
        ("<descriptor>soap", "<descriptor>soap R_mix=T", InputError, "R_mix=T"),
        ('gap_version="\\d+"', 'gap_version="1423143768"', InputError, "2 l \\+ 1"),
        ("n_max=4", "n_max=5", ModelFileError, "the file was edited"),
        ("n_max=4", "n_max=four", ModelFileError, "n_max"),
        ("species_Z={29 79}", "species_Z={0 79}", InputError, "wildcard"),
        ("species_Z={29 79}", "species_Z={29}", ModelFileError, "n_species=2"),
        ("distance_2b Z1=29 Z2=29", "distance_Nb order=4 compact_clusters=T Z={29}", InputError, "order=4"),
        (
            "angle_3b Z=29 Z1=29 Z2=79",
            "distance_Nb order=3 compact_clusters=T Z={29 29 79}",
            InputError,
            "order of the",
        ),
        ('init_args="IP GAP', 'init_args="Sum init_args_pot1={IP SW} init_args_pot2={IP GAP', InputError, "IP SW"),
        ('do_core="F"', 'do_core="T"', ModelFileError, "core potential"),
    ],
)
def test_what_is_wrong_or_unknown_is_named(copy, old, new, error, match):
    path = copy((old, new))
    if "init_args_pot2" in new:
        path.write_text(re.sub(r'(init_args_pot2=\{IP GAP label=\w+)"', r'\1}"', path.read_text()))
    with pytest.raises(error, match=match):
        load(path)


def test_a_model_of_wildcards_needs_its_species(tmp_path):
    write(gapkit_model("TwoBody + SOAP"), tmp_path / "gap.xml")
    text = (tmp_path / "gap.xml").read_text()
    text = re.sub(r'(<e0 Z="29" value=)"[^"]*"', r'\1"0.0"', text).replace("=29", "=0").replace("{29}", "{0}")
    (tmp_path / "gap.xml").write_text(text)
    with pytest.raises(InputError, match="`species`"):
        load(tmp_path / "gap.xml")
    model = load(tmp_path / "gap.xml", species=["Cu", "Au"])
    assert model.species_ == ("Cu", "Au")
    mixed, pure = structures(2)[0], structures(2)[0]
    pure.numbers[:] = 29
    np.testing.assert_allclose(model.predict(mixed).forces, model.predict(pure).forces, atol=EXACT)


def test_a_core_potential_with_embedding(tmp_path):
    write(gapkit_model("PairTables + TwoBody"), tmp_path / "gap.xml")
    text = (tmp_path / "gap.xml").read_text()
    (tmp_path / "gap.xml").write_text(text.replace('rho="1.0" E="0.0"', 'rho="1.0" E="0.5"', 1))
    with pytest.raises(InputError, match="embedding"):
        load(tmp_path / "gap.xml")


def test_slopes_that_a_pair_table_leaves_out_are_0(tmp_path):
    write(gapkit_model("PairTables + TwoBody"), tmp_path / "gap.xml")
    text = (tmp_path / "gap.xml").read_text()
    for name in ("y1", "yn"):  # QUIP does not read those named after densities
        text = re.sub(rf'(<potential_pair[^>]*) {name}="[^"]*"', rf'\1 density_{name}="-3.0"', text)
    (tmp_path / "gap.xml").write_text(text)
    with pytest.warns(DataWarning, match="density_y1"):
        model = load(tmp_path / "gap.xml")
    assert [tuple(table.slopes) for table in model.state_.known.terms[0].tables] == 3 * [(0.0, 0.0)]


@pytest.mark.parametrize(
    ("options", "version", "share"),
    [
        ("", 1596837814, 1.0), ("", 1596837813, 0.5), ("compact_clusters=F", 1600000000, 0.5),
        ("compact_clusters=T", 1500000000, 1.0), ("xml_version=1500000000", 1600000000, 1.0),
    ],
)  # fmt: skip
def test_clusters_of_two(copy, folder, options, version, share):
    pair = ("distance_2b Z1=29 Z2=29", f"distance_Nb order=2 Z={{29 29}} {options}")
    found = load(copy(pair, ('gap_version="\\d+"', f'gap_version="{version}"')))
    expected = load(folder / "gap.xml")
    columns = expected.model_.basis.blocks[0].columns
    np.testing.assert_allclose(found.model_.weights[columns], share * expected.model_.weights[columns], rtol=1e-14)


def test_noise_from_the_command_line(copy):
    command = "gap_fit default_sigma={0.002 0.1 0.2 0.0} config_type_sigma={liquid:0.01:0.3:0.4:0.0} gp_file=gap.xml"
    model = load(copy(("written by gapkit [^<]*", command)))
    assert model.noise_ == Noise(0.002, 0.1, 0.2, {"liquid": Noise(0.01, 0.3, 0.4)})
    some = load(copy(("written by gapkit [^<]*", "default_sigma={0.002 0.1 0.0 0.0} x=y")))
    assert some.noise_.as_dict() == {"energy": 0.002, "forces": 0.1}  # 0: not given
    assert load(copy(("written by gapkit [^<]*", "default_sigma={0 0 0 0}"))).noise is None
    with pytest.warns(DataWarning, match="per_atom"):
        assert load(copy(("written by gapkit [^<]*", command + " sigma_per_atom=F"))).noise is None


def test_options():
    text = "soap n_max=8 l_max=4 cutoff=4 atom_gaussian_width=1 atom_sigma=5d-1 n_Z=2 Z={1 8 } normalise=F add_species"
    found = DescriptorString.parse(text).options
    assert isinstance(found, SoapOptions)
    assert (found.n_max, found.Z, found.normalise, found.cutoff_transition_width) == (8, (1, 8), False, 0.5)
    assert found.atom_sigma == 0.5  # of two spellings the last counts
    with pytest.raises(ModelFileError, match="lacks `n_max`"):
        DescriptorString.parse("soap l_max=8 cutoff=4 atom_sigma=0.5")


# ---------------------------------------------------------------------- what QUIP cannot express


def refit(terms, **more):
    from tests.interop.quip.models import frames

    noise = Noise(energy=0.01, forces=0.05, virial=0.05)
    return GAP(terms, n_sparse=8, noise=noise, calibration=None, n_jobs=1, **more).fit(frames(1, 2))


COSINE = {"cutoff_function": CosineCutoff(0.8)}


@pytest.mark.parametrize(
    ("terms", "more", "match"),
    [
        ([SOAP(4.0, 4, 3, 0.5)], {}, "fit with cutoff_function=CosineCutoff"),
        ([TwoBody(4.0)], {}, "fit with cutoff_function=CosineCutoff"),
        ([TwoBody(4.0, cutoff_function=QuinticCutoff(1.0))], {}, "QuinticCutoff"),
        ([SOAP(4.0, 4, 3, 0.5, cutoff_function=NoCutoff())], {}, "NoCutoff"),
        ([SOAP(4.0, 4, 3, 0.5, basis="gto", **COSINE)], {}, "gto"),
        ([SOAP(4.0, 4, 3, 0.5, compression=Mixing(3), **COSINE)], {}, "Mixing"),
        ([Term(TwoBody(4.0, **COSINE), DotProduct(zeta=2))], {}, "SquaredExponential"),
        ([TwoBody(4.0, **COSINE)], {"energy_terms": [ZBL()]}, "ZBL"),
    ],
)
def test_what_quip_cannot_express(tmp_path, terms, more, match):
    with pytest.raises(InputError, match=match):
        write(refit(terms, **more), tmp_path / "gap.xml")
    assert not list(tmp_path.iterdir())


def test_an_soap_with_another_kernel(tmp_path):
    model = refit([Term(SOAP(4.0, 4, 3, 0.5, **COSINE), SquaredExponential(1.0, 0.5))])
    with pytest.raises(InputError, match="DotProduct"):
        write(model, tmp_path / "gap.xml")


# ---------------------------------------------------------------------- descriptors that QUIP's models need


@pytest.mark.parametrize(
    "descriptor",
    [
        SOAP(3.8, 4, 3, 0.5, centre_channels="all", centres=("O", "Ge"), **COSINE),
        SOAP(3.8, 4, 3, 0.5, centre_channels="all", compression=Channels(1, 2), centres=("Si",), species=("O", "Ge")),
        SOAP(3.8, 4, 3, 0.5, cutoff_function=DecayingCutoff(0.8, 3.0, 2.0, 0.0)),
        TwoBody(4.0, blocks=[("O", "Si")]),
        TripletDistances(3.4, 0.8, blocks=[("O", "Si", "Si"), ("Ge", "Ge", "Ge")]),
    ],
)
def test_forces_are_derivatives(descriptor):
    species = (8, 14, 32)
    toy = Toy.make(descriptor, species, engine=descriptor.engine(descriptor.resolve_species(species)))
    assert toy.basis.n_columns > 0
    assert_derivatives(toy, structure("bulk", 3))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: SOAP(centre_channels="some").engine((8,)), "centre_channels"),
        (lambda: TwoBody(blocks=["OSi"]).engine((8, 14)), "blocks"),
        (lambda: TripletDistances(blocks=[("O", "O")]).engine((8,)), "3 species"),
        (lambda: TripletDistances(length_scale=0.0).engine((8,)), "length_scale"),
        (lambda: DecayingCutoff(0.5, 0.0, 1.0, 1.0), "exponent"),
        (lambda: DecayingCutoff(0.5, 1.0, -1.0, 1.0), "scale"),
        (lambda: DecayingCutoff(0.5, 1.0, 1.0, -1.0), "rate"),
    ],
)
def test_bad_parameters(make, match):
    with pytest.raises(InputError, match=match):
        make()


# ---------------------------------------------------------------------- pair tables


def test_forces_and_virial_of_pair_tables_are_derivatives():
    from tests.descriptors.cases import numerical_forces
    from tests.terms.cases import energies, evaluate

    table = tables((29, 79))
    atoms = structures(2)[0]
    found = evaluate(table, [atoms])
    np.testing.assert_allclose(found.forces, numerical_forces(energies(table), atoms), atol=1e-7)
    step = 1e-5
    strained = []
    for sign in (1, -1):
        other = atoms.copy()
        other.set_cell(other.cell.array * (1 + sign * step), scale_atoms=True)
        strained.append(other)
    plus, minus = energies(table)(strained)
    np.testing.assert_allclose(np.trace(found.virials[0]), -(plus - minus) / (2 * step), rtol=1e-5)
    assert np.abs(found.forces).max() > 0.01


def test_a_pair_table_is_straight_below_and_zero_beyond():
    table = PairTable((1, 1), [1.0, 2.0, 3.0], [2.0, 0.5, 0.0], (-3.0, 0.0))
    energy, slope = table(np.array([0.5, 1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_allclose(energy, [3.5, 2.0, 0.5, 0.0, 0.0], atol=EXACT)
    np.testing.assert_allclose(slope[[0, 1, 3, 4]], [-3.0, -3.0, 0.0, 0.0], atol=EXACT)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: PairTable((1, 1), [1.0], [1.0]), "2 or more"),
        (lambda: PairTable((1, 1), [2.0, 1.0], [1.0, 0.0]), "ascend"),
        (lambda: PairTables([PairTable((1, 8), [1.0, 2.0], [1.0, 0.0])] * 2), "one pair"),
    ],
)
def test_bad_pair_tables(make, match):
    with pytest.raises(InputError, match=match):
        make()


def test_a_method_of_the_model_writes_the_same(tmp_path):
    frames = make_frames(6)
    soap = SOAP(4.0, 4, 3, 0.5, cutoff_function=CosineCutoff(0.5))
    model = small_model(terms=[Term(soap, n_sparse=10)]).fit(frames)
    model.to_quip(tmp_path / "gap.xml")
    back = load(tmp_path / "gap.xml")
    np.testing.assert_allclose(back.predict(frames).energy, model.predict(frames).energy, rtol=0, atol=SAME)


@pytest.mark.parametrize("species", [3, "Cu", [-1], [14.5], [119], [None], {"Cu": 1}, ["Xx"], []])
def test_species_that_are_none(folder, species):
    with pytest.raises(InputError, match=r"`species(\[0\])?` must "):
        load(folder / "gap.xml", species=species)
