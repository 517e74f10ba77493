"""Files of structures: read to their end as ASE reads them, or refused with the place."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian

from gapkit.exceptions import InputError
from gapkit.structures import read_frames, to_batch

SILICON = Path(__file__).parents[2] / "data" / "silicon"
HEADER = 'Lattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5'
FRAME = f"2\n{HEADER}\nH 0 0 0 1 2 3\nO 1 1 1 -1 -2 -3\n"


def water(**info):
    atoms = molecule("H2O")
    atoms.info.update(info)
    return atoms


def silicon(**results):
    atoms = bulk("Si")
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def everything():
    """Frames with what extended XYZ can hold."""
    rng = np.random.default_rng(1)
    mixed = water(text="a b", flag=True, flags=[True, False], number=3, list=[1, 2, 3], json={"a": [1, {"b": None}]})
    mixed.info |= {"virial": np.eye(3), 'quo"ted': 'x"y', "none": None, "comma": "1,2"}
    mixed.arrays |= {"force": rng.normal(size=(3, 3)), "mask": np.array([True, False, True]), "kind": np.arange(3)}
    mixed.arrays["label"] = np.array(["a", "b", "c"], dtype=object)
    mixed.set_initial_charges([0.1, 0.2, 0.3])
    mixed.set_constraint(FixAtoms([1]))
    labelled = silicon(energy=-10.0, free_energy=-10.1, forces=rng.normal(size=(2, 3)), stress=rng.normal(size=6))
    labelled.set_constraint([FixCartesian(0, mask=(True, False, True))])
    single = bulk("Cu")
    single.set_pbc([True, False, True])
    return [mixed, labelled, single, water()]


def assert_same(frames, expected):
    assert len(frames) == len(expected)
    for found, wanted in zip(frames, expected, strict=True):
        assert found == wanted
        results = [{} if atoms.calc is None else atoms.calc.results for atoms in (found, wanted)]
        for own, other in ((found.info, wanted.info), (found.arrays, wanted.arrays), results):
            assert list(own) == list(other)
            for key, value in own.items():
                assert type(value) is type(other[key])
                np.testing.assert_array_equal(value, other[key])
                assert np.asarray(value).dtype == np.asarray(other[key]).dtype
        assert [repr(c) for c in found.constraints] == [repr(c) for c in wanted.constraints]


@pytest.mark.parametrize("options", [{}, {"plain": True}, {"vec_cell": True}], ids=["extended", "plain", "vectors"])
def test_as_ase_reads(tmp_path, options):
    path = tmp_path / "a@b.xyz"
    ase.io.write(path, everything(), format="extxyz", **options)
    assert_same(read_frames(path), ase.io.read(path, ":", do_not_split_by_at_sign=True))


@pytest.mark.parametrize("name", ["train", "test"])
def test_as_ase_reads_silicon(name):
    path = SILICON / f"{name}.extxyz"
    assert_same(read_frames(path), ase.io.read(path, ":"))


def test_round_trip(tmp_path):
    frames = [silicon(energy=-10.0, forces=np.ones((2, 3)), stress=np.arange(6.0)), water(config_type="w")]
    ase.io.write(tmp_path / "a@b.extxyz", frames)
    batch = to_batch(read_frames(tmp_path / "a@b.extxyz"))
    assert batch.labels.energy[0] == -10.0
    assert np.allclose(batch.labels.virial[0], to_batch(frames).labels.virial[0])
    assert batch.labels.config_type == ("default", "w")


@pytest.mark.parametrize(
    "text",
    [
        f"{FRAME}\n\n{FRAME}\n \t\n{FRAME}", f"\n\n{FRAME * 3}\n\n", (FRAME * 3).rstrip("\n"),
        (FRAME * 3).replace("\n", "\r\n"), (FRAME * 3).replace("\n", "\r"), "\ufeff" + FRAME * 3,
    ],
    ids=["blank lines between", "blank lines around", "no last line end", "CRLF", "CR", "byte order mark"],
)  # fmt: skip
def test_harmless_differences(tmp_path, text):
    (tmp_path / "a.xyz").write_bytes((FRAME * 3).encode())
    (tmp_path / "b.xyz").write_bytes(text.encode())
    assert_same(read_frames(tmp_path / "b.xyz"), read_frames(tmp_path / "a.xyz"))


@pytest.mark.parametrize(
    "index", [slice(None), slice(None, None, 10), slice(3, 5), slice(-2, None), slice(None, None, -1), slice(4, 1, -2)]
)
def test_some_frames(tmp_path, index):
    frames = [water(number=k) for k in range(23)]
    for name in ("a.xyz", "a.traj"):
        ase.io.write(tmp_path / name, frames, format=None if name == "a.traj" else "extxyz")
        assert [atoms.info["number"] for atoms in read_frames(tmp_path / name, index)] == list(range(23))[index]


def test_frames_behind_the_last_are_not_looked_at(tmp_path):
    (tmp_path / "a.xyz").write_text(FRAME * 3 + "damaged")
    assert len(read_frames(tmp_path / "a.xyz", slice(3))) == 3
    with pytest.raises(InputError, match="at least one frame"):
        read_frames(tmp_path / "a.xyz", slice(0))
    with pytest.raises(InputError, match="after 3 complete frames"):
        read_frames(tmp_path / "a.xyz", slice(-1, None))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n\n", "at least one frame"),
        ("".join(f"{FRAME}{FRAME}".splitlines(True)[:-1]), "1 complete frames, in frame 1.*2 atoms, .*after 1 of them"),
        (f"{FRAME}{FRAME}"[:-4], "1 complete frames, in frame 1 .*line 8 must have 7 columns"),
        ("".join(f"{FRAME}{FRAME}".splitlines(True)[:6]), "1 complete frames.*line 5 promises 2 atoms"),
        ("hello\n", "0 complete frames.*line 1 must be the number of atoms.*'hello'"),
        (FRAME.replace("2\n", "3\n", 1) + FRAME, "line 5 must have 7 columns.*got 1"),
        (FRAME.replace("2\n", "1\n", 1) + FRAME, "1 complete frames.*line 4 must be the number of atoms"),
        (FRAME.replace("2\n", "1000000000\n", 1), "line 1 promises 1000000000 atoms"),
        (FRAME.replace("2\n", "-2\n", 1), "line 1 must be the number of atoms"),
        (FRAME.replace("forces:R:3", "forces:R:1000000000"), "must have 1000000004 columns"),
        (FRAME.replace(":forces:R:3", ""), "line 3 must have 4 columns, .*, got 7"),
        (FRAME.replace("Properties", "properties"), "`properties` must be written Properties"),
        (FRAME.replace("Lattice", "lattice"), "`lattice` must be written Lattice"),
        (FRAME.replace("Properties=species:S:1:pos:R:3:forces:R:3", ""), "line 3 must have 4 columns"),
        (FRAME.replace("R:3:forces", "R:3:pos"), "must be different names"),
        (FRAME.replace("forces:R:3", "forces:Q:3"), "types"),
        (FRAME.replace("forces:R:3", "forces:L:3"), "line 3: `forces` must be T or F, got '1'"),
        (FRAME.replace("forces:R:3", "forces:I:3").replace("1 2 3", "1.5 2 3"), "must be a whole number, got '1.5'"),
        (FRAME.replace("pos:R:3", "pos:R:2").replace("forces:R:3", "forces:R:4"), "three columns of positions"),
        (FRAME.replace("species:S:1", "kind:S:1"), "must name the species"),
        (FRAME.replace("O 1", "Quux 1"), "line 4: `species` must be chemical symbols, got 'Quux'"),
        (FRAME.replace("-3\n", "-3.0D0\n"), "line 4: `forces` must be a number, got '-3.0D0'"),
        (FRAME.replace("energy", "energy=-2 energy"), "`energy` must be given once"),
        (FRAME.replace("energy", 'pbc="T T X" energy'), "`pbc` must be three of T and F"),
        (FRAME.replace("9 0 0 0 9 ", "9 0 0 0 ", 1), "line 2: .*Lattice"),
        (FRAME.replace("H 0", "H\n0"), "line 3 must have 7 columns"),
        (FRAME.replace("O 1", "\nO 1"), "line 4 must have 7 columns.*got 0"),
        (FRAME.replace("-1.5", "-1.5 a=\0"), "NUL"),
        (FRAME + "\0" * 100, "1 complete frames, in frame 1.*line 5 must be the number of atoms"),
        (FRAME.replace("-1.5", "-1.5 a=" + "x" * 5_000_000), "at most 4,194,304 characters"),
        (FRAME.replace("-1.5", '-1.5 a="_JSON ' + "[" * 100_000 + '"'), "line 2"),
    ],
)
def test_damaged_files(tmp_path, text, message):
    path = tmp_path / "train.extxyz"
    path.write_text(text)
    with pytest.raises(InputError, match=f"train.extxyz.*{message}|{message}.*train.extxyz"):
        read_frames(path)


def test_other_encodings(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_bytes((FRAME + FRAME.replace("energy", "name=Größe energy")).encode("latin-1"))
    with pytest.raises(InputError, match=r"1 complete frames.*line 6 must be text in UTF-8"):
        read_frames(path)


PACKERS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


@pytest.mark.parametrize("suffix", PACKERS)
def test_packed_files(tmp_path, suffix):
    text = (SILICON / "test.extxyz").read_bytes()
    path = tmp_path / f"a.extxyz.{suffix}"
    path.write_bytes(PACKERS[suffix](text))
    assert_same(read_frames(path), read_frames(SILICON / "test.extxyz"))
    path.write_bytes(PACKERS[suffix](text)[:-100])
    with pytest.raises(InputError, match=f"a.extxyz.{suffix}' must be a whole packed file"):
        read_frames(path)
    path.write_bytes(PACKERS[suffix](b""))
    with pytest.raises(InputError, match="is empty"):
        read_frames(path)
    path.write_bytes(PACKERS[suffix](b"1\n\nH 0 0 0\n" * 1_000_000))
    with pytest.raises(InputError, match=r"must unfold to at most 50 times its size.*unpack it"):
        read_frames(path)


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match=r"nothing.xyz' does not exist"):
        read_frames(tmp_path / "nothing.xyz")
    with pytest.raises(InputError, match="is a folder"):
        read_frames(tmp_path)
    with pytest.raises(InputError, match="is a device"):
        read_frames("/dev/zero")
    (tmp_path / "a.unknown").write_text("x\n")
    with pytest.raises(InputError, match=r"format that ASE can read.*a.unknown"):
        read_frames(tmp_path / "a.unknown")
