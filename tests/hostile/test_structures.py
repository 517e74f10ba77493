"""Damaged, contradictory and absurd files of structures: refused with the file, or read as the sound one.

Every input is the sound file with one seeded change.  A change that cannot be seen is left out: a digit for another, or
a cut between two frames.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from tests.hostile.trial import Outcome, Server

Text = Callable[[str, np.random.Generator], str | bytes]
SEEDS = 3
PROPERTIES = "Properties=species:S:1:pos:R:3:forces:R:3"


def _lines(text: str) -> list[list[str]]:
    """Lines of each frame: count, header, rows."""
    lines = text.splitlines(True)
    size = int(lines[0]) + 2
    return [lines[k : k + size] for k in range(0, len(lines), size)]


def in_frame(change: Callable[[list[str], np.random.Generator], object]) -> Text:
    """Change the lines of one frame in place."""

    def changed(text: str, rng: np.random.Generator) -> str:
        frames = _lines(text)
        change(frames[rng.integers(len(frames))], rng)
        return "".join(line for frame in frames for line in frame)

    return changed


def set_line(number: int, content: str) -> Text:
    return in_frame(lambda frame, _: frame.__setitem__(number, content + "\n"))


def header(old: str, new: str) -> Text:
    def change(frame: list[str], _: np.random.Generator) -> None:
        assert old in frame[1]
        frame[1] = frame[1].replace(old, new, 1)

    return in_frame(change)


def entry(key: str, value: str) -> Text:
    """Another value, quotes included, for a key of the header."""

    def change(frame: list[str], _: np.random.Generator) -> None:
        before, _, after = frame[1].partition(f"{key}=")
        closing = after.index('"', 1) if after.startswith('"') else after.index(" ") - 1
        frame[1] = f"{before}{key}={value}{after[closing + 1 :]}"

    return in_frame(change)


def number(column: int | None, value: str) -> Text:
    """Another word for a number in a random row; no column: in any."""

    def change(frame: list[str], rng: np.random.Generator) -> None:
        row = int(rng.integers(2, len(frame)))
        words = frame[row].split()
        words[int(rng.integers(1, len(words))) if column is None else column] = value
        frame[row] = " ".join(words) + "\n"

    return in_frame(change)


def words(change: Callable[[list[str]], list[str]]) -> Text:
    """Other words in a random row."""

    def changed(frame: list[str], rng: np.random.Generator) -> None:
        row = int(rng.integers(2, len(frame)))
        frame[row] = " ".join(change(frame[row].split())) + "\n"

    return in_frame(changed)


def garbage(text: str, rng: np.random.Generator) -> str:
    """A character that no number has, in a random row."""
    frames = _lines(text)
    frame = frames[rng.integers(len(frames))]
    row = int(rng.integers(2, len(frame)))
    filled = [k for k, character in enumerate(frame[row]) if not character.isspace()]
    place = filled[rng.integers(len(filled))]
    frame[row] = frame[row][:place] + "#?\0\x1b;_%\ud800"[rng.integers(7)] + frame[row][place + 1 :]
    return "".join(line for lines in frames for line in lines)


def cut(text: str, rng: np.random.Generator) -> str:
    """The file up to a random place, in no last number of a frame."""
    ends = np.cumsum([sum(map(len, frame)) for frame in _lines(text)])
    while True:
        place = int(rng.integers(1, len(text)))
        if all(not end - 18 <= place <= end for end in ends):
            return text[:place]


def doubled_row(frame: list[str], rng: np.random.Generator) -> None:
    """Two atoms in one place."""
    row, other = rng.permutation(np.arange(2, len(frame)))[:2]
    frame[row] = frame[other]


def without_row(frame: list[str], rng: np.random.Generator) -> None:
    del frame[int(rng.integers(2, len(frame)))]


REFUSED: dict[str, Text] = {
    **{f"count {count!r}": set_line(0, count) for count in (
        "3", "5", "1000000000", "-4", "4.0", "four", "0x4", "9" * 5000, "4 4", "\0", "4" * 30, "\u0664 \u0664", "1e0",
        "0",
    )},
    **{f"{PROPERTIES[-9:]} as {new!r}": header(PROPERTIES, new) for new in (
        "Properties=species:S:1:pos:R:3", "Properties=species:S:1:pos:R:3:forces:R:2",
        "Properties=species:S:1:pos:R:3:forces:R:1000000000", "Properties=species:S:1:pos:R:3:forces:R:-3",
        "Properties=species:S:1:pos:R:3:forces:R", "Properties=species:S:1:pos:R:3:forces:L:3",
        "Properties=species:S:1:pos:R:3:forces:I:3", "Properties=species:S:1:pos:R:3:forces:X:3",
        "Properties=species:S:1:pos:R:3:pos:R:3", "Properties=species:S:1:pos:R:6",
        "Properties=pos:R:3:forces:R:3:a:S:1",
        "Properties=species:R:1:pos:R:3:forces:R:3", "Properties=Z:I:1:pos:R:3:forces:R:3", "Properties", "Properties=",
        "Properties=species:S:1:pos:R:1000000000:forces:R:3", "Properties=:::", "Properties=species:S:0:pos:R:7",
        "properties=species:S:1:pos:R:3:forces:R:3", "Propertys=species:S:1:pos:R:3:forces:R:3", "",
        f"{PROPERTIES}:x:R:1",
        f"{PROPERTIES} {PROPERTIES}", "Properties=species:S:1:pos:L:3:forces:R:3", "Properties=species:S:1:forces:R:6",
    )},
    **{f"Lattice as {new!r}": entry("Lattice", new) for new in (
        '""', '"1 2 3"', '"a b c d e f g h i"', '"0 0 0 0 0 0 0 0 0"', '"1 0 0 1 0 0 0 0 1"', '"nan 0 0 0 4 0 0 0 4"',
        '"4 0 0 0 4 0 0 0 inf"', '"1e308 0 0 0 4 0 0 0 4"', '"0.001 0 0 0 0.001 0 0 0 0.001"', '"4 0 0 0 4 0 0 0 1e-9"',
        '"4 0 0 1e9 4 0 0 0 4"', '"4 0 0 1e11 1e-4 0 0 0 4"', '"4 0 0 0 4 0 0 0"', '"1e-160 0 0 0 1e-160 0 0 0 1e-160"',
        '"4 0 0 0 4 0 0 0 4 4"', "4",
    )},
    **{f"pbc as {new!r}": entry("pbc", new) for new in (
        '"T T"', '"T T X"', '"2 0 0"', "yes", '"T T T T"', '"0.5 1 1"',
    )},
    **{f"position {value}": number(1, value) for value in (
        "nan", "inf", "1e308", "1e12", "x", "1.0D0", "1,0", "--1", "0x1p3",
    )},
    "two atoms in one place": in_frame(doubled_row),
    "row lost": in_frame(without_row),
    "row twice": in_frame(lambda frame, rng: frame.append(frame[int(rng.integers(2, len(frame)))])),
    "row without its last word": words(lambda row: row[:-1]),
    "row with one word more": words(lambda row: [*row, "1.0"]),
    "row of words": words(lambda _: ["lorem", "ipsum"]),
    "row that is blank": words(lambda _: []),
    "species unknown": words(lambda row: ["Qq", *row[1:]]),
    "species a number": words(lambda row: ["29", *row[1:]]),
    "species X": words(lambda row: ["X", *row[1:]]),
    "species long": words(lambda row: ["Cu" * 100_000, *row[1:]]),
    "header lost": in_frame(lambda frame, _: frame.pop(1)),
    "header twice": in_frame(lambda frame, _: frame.insert(1, frame[1])),
    "header blank": set_line(1, ""),
    "header long": header("energy", f'a="{"1 " * 3_000_000}" energy'),
    "header of nested lists": header("energy", f'a="_JSON {"[" * 100_000}" energy'),
    "lattice lower": header("Lattice", "lattice"),
    "count lost": in_frame(lambda frame, _: frame.pop(0)),
    "energy twice": header("energy", "energy=-1 energy"),
    "NUL in a header": header("energy", "a=\0 energy"),
    "garbage": garbage,
    "cut": cut,
    "tail": lambda text, _: text + "and so on\n",
    "tail of NUL": lambda text, _: text + "\0" * 4096,
    "head": lambda text, _: "# positions in Å\n" + text,
    "UTF-16": lambda text, _: text.encode("utf-16"),
    "Latin-1": lambda text, _: text.replace("config_type=hot", "config_type=weiß").encode("latin-1"),
    "nothing": lambda _text, _: "",
    "blank": lambda _text, _: "\n" * 100_000,
    "bytes": lambda _, rng: rng.bytes(10_000),
    "packed under the name of a text": lambda text, _: gzip.compress(text.encode()),
}  # fmt: skip
LABELS: dict[str, Text] = {
    **{f"energy as {new!r}": entry("energy", new) for new in ("nan", "inf", "1e308", "-1e308", "T", '"1 2"', "low")},
    **{f"stress as {new!r}": entry("stress", new) for new in (
        '"1 2 3"', '"nan 0 0 0 1 0 0 0 1"', '"1e308 0 0 0 1 0 0 0 1"', '"1 2 3 4 5 6 7 8 9"', "1",
    )},
    **{f"force {value}": number(5, value) for value in ("nan", "inf", "1e308", "-1e200")},
    "energy without a value": header("energy=", "energy aenergy="),
    "energy_sigma": header("energy=", "energy_sigma=0 energy="),
    "energy_sigma small": header("energy=", "energy_sigma=1e-160 energy="),
    "force_sigma": header("energy=", 'force_sigma="1 2" energy='),
    "force_mask": header("energy=", 'force_mask="1 0 7 1" energy='),
}  # fmt: skip
SAME: dict[str, Text] = {
    "blank lines": lambda text, rng: "".join("\n" * int(rng.integers(5)) + "".join(frame) for frame in _lines(text)),
    "blank lines of spaces": lambda text, _: "".join(" \t\n" + "".join(frame) for frame in _lines(text)) + "\n \n",
    "CRLF": lambda text, _: text.replace("\n", "\r\n"),
    "CR": lambda text, _: text.replace("\n", "\r"),
    "no last line end": lambda text, _: text.rstrip("\n"),
    "tabs": in_frame(lambda frame, _: frame.__setitem__(2, frame[2].replace("  ", "\t"))),
    "byte order mark": lambda text, _: "\ufeff" + text,
    "upper case": lambda text, _: text.replace("Cu  ", "CU  "),
    "more spaces": words(lambda row: [f"   {word}" for word in row]),
    "an entry more": header("energy", "quux=1 energy"),
}  # fmt: skip
SAME["order of the header"] = in_frame(
    lambda frame, _: frame.__setitem__(1, frame[1].replace(f"{PROPERTIES} ", "", 1).rstrip() + f" {PROPERTIES}\n")
)


def seeded(table: dict[str, Text]) -> list[pytest.ParameterSet]:
    return [
        pytest.param(change, seed, id=f"{name[:40]}-{seed}".encode("ascii", "backslashreplace").decode())
        for name, change in table.items()
        for seed in range(SEEDS)
    ]


def damaged(folder: Path, change: Text, seed: int, source: str = "test.extxyz") -> Path:
    """The file with a change; the sound one is gone."""
    text = (folder / source).read_text()
    (folder / source).unlink()
    content = change(text, np.random.default_rng(seed))
    path = folder / "damaged.extxyz"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape"))
    return path


def turns(seed: int) -> str:
    """One of the commands, so that all see every kind over the seeds."""
    return ("info", "predict", "fit")[seed % 3]


def run(server: Server, folder: Path, command: str, name: str) -> Outcome:
    more = {
        "info": ["info", name], "predict": ["predict", "cu.gapkit", name, "--output", "out.extxyz"],
        "fit": ["fit", name, "--config", "fit.yaml", "--output", "new.gapkit"],
        "evaluate": ["evaluate", "cu.gapkit", name],
    }  # fmt: skip
    return server.run(folder, *more[command])


@pytest.mark.parametrize(("change", "seed"), seeded(REFUSED))
def test_damage(server: Server, folder: Path, change: Text, seed: int) -> None:
    damaged(folder, change, seed)
    done = run(server, folder, turns(seed), "damaged.extxyz")
    if turns(seed) == "info" and done.code == 0:  # which names atoms in one place, and goes on
        assert "coincident_atoms" in done.out
        done.assert_bounded()
    else:
        done.assert_refused()
        assert "damaged.extxyz" in done.err or "frame " in done.err, done.err


@pytest.mark.parametrize(("change", "seed"), seeded(LABELS))
def test_damaged_labels(server: Server, folder: Path, change: Text, seed: int) -> None:
    damaged(folder, change, seed)
    done = run(server, folder, ("info", "evaluate", "fit")[seed % 3], "damaged.extxyz")
    done.assert_refused()
    assert "damaged.extxyz" in done.err or "frame " in done.err, done.err


@pytest.mark.parametrize(("change", "seed"), seeded(SAME))
def test_harmless_differences(server: Server, folder: Path, change: Text, seed: int) -> None:
    sound = run(server, folder, "predict", "test.extxyz")
    (folder / "out.extxyz").rename(folder / "sound.extxyz")
    damaged(folder, change, seed)
    done = run(server, folder, "predict", "damaged.extxyz")
    assert (sound.code, done.code) == (0, 0), done.err
    for first, second in zip(read(folder / "sound.extxyz", ":"), read(folder / "out.extxyz", ":"), strict=True):
        np.testing.assert_array_equal(first.positions, second.positions)
        for one, other in ((first.info, second.info), (first.arrays, second.arrays)):
            for key in one:
                np.testing.assert_array_equal(one[key], other[key])


def test_atoms_many_cells_away(server: Server, folder: Path) -> None:
    code = (
        "from ase.io import read; from gapkit import load; import numpy as np\n"
        "frames = read('test.extxyz', ':'); model = load('cu.gapkit'); sound = model.predict(frames)\n"
        "for atoms in frames: atoms.positions[1] += 2.0**33 * atoms.cell.array[0]\n"
        "found = model.predict(frames)\n"
        "assert np.abs(found.energy - sound.energy).max() < 1e-3, (found.energy, sound.energy)\n"
    )
    done = server.call(folder, code)
    done.assert_bounded()
    assert done.code == 0, done.err


COINCIDENT = """
from ase.io import read
import gapkit, numpy as np
frames = read('test.extxyz', ':')
frames[2].positions[3] = frames[2].positions[1]
frames[2].calc.atoms = frames[2].copy()
one, model = frames[2], gapkit.load('cu.gapkit')
"""
ENTRIES = {
    "predict": "model.predict(frames)",
    "std": "model.predict(frames, return_std=True)",
    "local": "model.predict(frames, return_std='local')",
    "fit": "model.fit(frames)",
    "calibrate": "model.calibrate(frames * 3)",
    "score": "model.score(frames)",
    "extrapolating": "model.is_extrapolating(frames)",
    "covariance": "model.covariance(frames)",
    "sample": "model.sample(2).predict(frames)",
    "calculator": "one.calc = gapkit.GAPCalculator(model); one.get_forces()",
    "calculator with skin": (
        "sound = frames[1]; sound.calc = gapkit.GAPCalculator(model, skin=1.0); sound.get_forces()\n"
        "sound.positions[3] = sound.positions[1]; sound.get_forces()"
    ),
    "evaluate": "from gapkit.validation import evaluate; evaluate(model, frames)",
    "select": "from gapkit.selection import select; select(frames, 2, 'farthest_point')",
    "v_optimal": "from gapkit.selection import select; select(frames, 2, model=model)",
    "descriptor": "from gapkit import SOAP; SOAP(cutoff=4.0).fit_transform(frames)",
}


@pytest.mark.parametrize("entry_", ENTRIES)
def test_atoms_in_one_place(server: Server, folder: Path, entry_: str) -> None:
    server.call(folder, COINCIDENT + ENTRIES[entry_]).assert_raised("atoms must be at least 0.001 Å apart", "frame")


@pytest.mark.parametrize(
    "options", [("predict", "--std"), ("predict",), ("evaluate",), ("evaluate", "--uncertainty"), ("fit",)]
)
def test_commands_on_atoms_in_one_place(server: Server, folder: Path, options: tuple[str, ...]) -> None:
    damaged(folder, in_frame(doubled_row), 5)
    command, *flags = options
    words = {
        "predict": ["cu.gapkit", "damaged.extxyz", "--output", "out.extxyz"],
        "evaluate": ["cu.gapkit", "damaged.extxyz"],
        "fit": ["damaged.extxyz", "--config", "fit.yaml", "--output", "new.gapkit"],
    }  # fmt: skip
    done = server.run(folder, command, *words[command], *flags)
    done.assert_refused("atoms must be at least 0.001 Å apart", "frame")


PACK = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
BOMBS = {
    "zeros": bytes(200_000_000), "lines": b"\n" * 50_000_000, "frames": b"1\n\nH 0 0 0\n" * 5_000_000,
    "one header": b"1\n" + b"a" * 50_000_000,
}  # fmt: skip


@pytest.mark.parametrize("command", ["info", "predict", "fit"])
@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("kind", ["zeros", "frames"])
def test_bombs(server: Server, folder: Path, suffix: str, kind: str, command: str) -> None:
    if suffix == "xz" and kind == "zeros":
        pytest.skip("minutes to pack")
    (folder / f"bomb.extxyz.{suffix}").write_bytes(_packed(kind, suffix))
    run(server, folder, command, f"bomb.extxyz.{suffix}").assert_refused(f"bomb.extxyz.{suffix}", "unpack it")


_PACKED: dict[tuple[str, str], bytes] = {}


def _packed(kind: str, suffix: str) -> bytes:
    if (kind, suffix) not in _PACKED:
        _PACKED[kind, suffix] = PACK[suffix](BOMBS[kind])
    return _PACKED[kind, suffix]


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("seed", range(4))
def test_damaged_packed_files(server: Server, folder: Path, suffix: str, seed: int) -> None:
    content = bytearray(PACK[suffix]((folder / "test.extxyz").read_bytes()))
    place = int(np.random.default_rng(seed).integers(20, len(content) - 20))
    broken = content[:place] if seed % 2 else bytes([*content[:place], content[place] ^ 0xFF, *content[place + 1 :]])
    (folder / f"a.extxyz.{suffix}").write_bytes(broken)
    run(server, folder, turns(seed), f"a.extxyz.{suffix}").assert_refused(f"a.extxyz.{suffix}")


@pytest.mark.parametrize("command", ["info", "predict", "fit", "evaluate"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "socket", "missing", "no name"])
def test_what_is_no_file(server: Server, folder: Path, command: str, kind: str) -> None:
    name = {"device": "/dev/zero", "missing": "nowhere.extxyz", "no name": ""}.get(kind, "input.extxyz")
    if kind == "pipe":
        os.mkfifo(folder / name)
    elif kind == "folder":
        (folder / name).mkdir()
    elif kind == "socket":
        name = "/dev/null"
    run(server, folder, command, name).assert_refused()


CLAIMS = {
    "POSCAR": "Si\n1.0\n5 0 0\n0 5 0\n0 0 5\nSi\n1000000000\nDirect\n0 0 0\n",
    "a.json": '{"1": {"numbers": {"__ndarray__": [[1000000000], "int64", [0]]}}, "ids": [1], "nextid": 2}',
    "a.cube": "c\nc\n1 0 0 0\n10000 1 0 0\n10000 0 1 0\n10000 0 0 1\n14 0 0 0 0\n1 2 3\n",
    "dump.lammpstrj": "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1000000000\nITEM: BOX BOUNDS pp pp pp\n0 5\n0 5\n0 5\n"
    "ITEM: ATOMS id type x y z\n1 1 0 0 0\n",
}


@pytest.mark.parametrize("name", CLAIMS)
def test_other_formats_that_claim_more_than_they_hold(server: Server, folder: Path, name: str) -> None:
    (folder / name).write_text(CLAIMS[name])
    server.run(folder, "info", name).assert_refused(name, "frame 0")


BOUNDED = """
from gapkit.exceptions import InputError
from gapkit.structures.bounds import bounded
try:
    with bounded(100 << 20, 1.0):
        {}
except {}:
    raise InputError("told")
"""


@pytest.mark.parametrize(
    ("does", "error"),
    [("bytearray(300 << 20)", "MemoryError"), ("while True: pass", "TimeoutError")],
    ids=["memory", "time"],
)
def test_bounds_on_code_that_is_not_ours(server: Server, folder: Path, does: str, error: str) -> None:
    server.call(folder, BOUNDED.format(does, error)).assert_raised("told")


def test_bounds_are_lifted_behind_it(server: Server, folder: Path) -> None:
    lines = "\nfrom gapkit.structures.bounds import bounded\nwith bounded(100 << 20, 0.2): pass\n"
    after = "import time\nbytearray(300 << 20)\nwhile time.process_time() < 5.0: pass\n"
    assert server.call(folder, lines + after).code == 0
