"""Models and checkpoints that are damaged, or edited and sealed again, or no files: refused, or as good as sound."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.hostile.tampering import Opened, npy, other_arrays, other_values, places, write
from tests.hostile.trial import Outcome, Server

OLD = Path(__file__).parents[1] / "potential" / "files_of_0_1"
AT_ONCE = 40  # files that one trial uses
MODELS, OLD_MODELS, CHECKPOINTS = 10, 2, 4  # trials

USE = """
from pathlib import Path
from tests.hostile.tampering import judge, predicted
use = lambda path: predicted(path, Path({frames!r}))
judge(sorted(Path().glob("tampered*")), use, use(Path({sound!r})))
"""
FIT = """
import shutil
from pathlib import Path
from tests.hostile.tampering import judge, small_fit
judge(sorted(Path().glob("tampered*")), small_fit, small_fit())
"""


def all_header_changes(sound: Opened) -> list[Callable[[], Opened]]:
    changes = []
    for place in places(sound.header):
        if place[:2] != ("metadata", "config"):  # which is never read
            inside = sound.header
            for key in place:
                inside = inside[key]
            for value in other_values(inside):
                changes.append(lambda place=place, value=value: sound.with_value(place, value))
    return changes


def all_array_changes(sound: Opened) -> list[Callable[[], Opened]]:
    return [
        lambda name=name, other=other: sound.with_array(name, other)
        for name, array in sound.arrays.items()
        for other in other_arrays(array)
        if name != "novelty_pairs" or other is None or other.shape != (0, 3)  # a training set may have none
    ]


def spoil(sound: Path, folder: Path, changes: list[Callable[[], Opened]], rng: np.random.Generator, n: int) -> None:
    for i in rng.permutation(len(changes))[:n]:
        changes[i]().seal(folder / f"tampered{i}{sound.suffix}")


def assert_judged(done: Outcome, n: int) -> list[str]:
    done.assert_bounded()
    assert done.code == 0, done.err
    verdicts = dict(map(json.loads, done.out.splitlines()))
    assert len(verdicts) == n
    faults = {name: verdict for name, verdict in verdicts.items() if verdict not in ("refused", "same")}
    assert not faults, faults
    return list(verdicts.values())


@pytest.mark.parametrize("seed", range(MODELS))
def test_tampered_models(server: Server, made: Path, tmp_path: Path, seed: int) -> None:
    sound = Opened.of(made / "cu.gapkit")
    rng = np.random.default_rng(seed)
    spoil(made / "cu.gapkit", tmp_path, all_header_changes(sound), rng, AT_ONCE // 2)
    for path in tmp_path.iterdir():
        path.rename(path.with_stem(f"{path.stem}-header"))
    spoil(made / "cu.gapkit", tmp_path, all_array_changes(sound), rng, AT_ONCE // 2)
    code = USE.format(frames=str(made / "test.extxyz"), sound=str(made / "cu.gapkit"))
    verdicts = assert_judged(server.call(tmp_path, code), AT_ONCE)
    assert verdicts.count("refused") > AT_ONCE // 2


@pytest.mark.parametrize("seed", range(OLD_MODELS))
def test_tampered_models_of_the_old_format(server: Server, tmp_path: Path, seed: int) -> None:
    path = OLD / "one_species.gapkit"
    spoil(path, tmp_path, all_array_changes(Opened.of(path)), np.random.default_rng(seed), AT_ONCE)
    code = USE.format(frames=str(OLD / "test_1.extxyz"), sound=str(path))
    verdicts = assert_judged(server.call(tmp_path, code), AT_ONCE)
    assert verdicts.count("refused") > AT_ONCE // 2


@pytest.fixture(scope="module")
def checkpoints(server: Server, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    code = "from pathlib import Path; from tests.hostile.tampering import interrupted_fit; "
    for name in ("half", "complete"):
        done = server.call(folder, f"{code}interrupted_fit(Path('{name}.ckpt'), complete={name == 'complete'})")
        assert (folder / f"{name}.ckpt").exists(), done.err
    return sorted(folder.iterdir())


@pytest.mark.parametrize("seed", range(CHECKPOINTS))
def test_tampered_checkpoints(server: Server, checkpoints: list[Path], tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for which, path in enumerate(checkpoints):
        sound = Opened.of(path)
        for kind, changes in (("header", all_header_changes(sound)), ("array", all_array_changes(sound))):
            for i in rng.permutation(len(changes))[: AT_ONCE // 4]:
                changes[i]().seal(tmp_path / f"tampered{which}-{kind}{i}.ckpt")
    shutil.copy(checkpoints[0], tmp_path / "tampered-not.ckpt")
    done = server.call(tmp_path, FIT)
    verdicts = assert_judged(done, 4 * (AT_ONCE // 4) + 1)
    assert verdicts.count("refused") > AT_ONCE // 4
    assert '["tampered-not.ckpt", "same"]' in done.out


def test_any_flipped_bit_of_a_checkpoint(server: Server, checkpoints: list[Path], tmp_path: Path) -> None:
    content = checkpoints[0].read_bytes()
    rng = np.random.default_rng(0)
    for i, place in enumerate(rng.integers(0, len(content), AT_ONCE)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        (tmp_path / f"tampered{i}.ckpt").write_bytes(flipped)
    verdicts = assert_judged(server.call(tmp_path, FIT), AT_ONCE)
    assert verdicts.count("refused") > AT_ONCE // 2


# ---------------------------------------------------------------------- sizes


def _copied(folder: Path, compression: int) -> bytes:
    with zipfile.ZipFile(folder / "cu.gapkit") as old, zipfile.ZipFile(folder / "x", "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return (folder / "x").read_bytes()


def _bomb(folder: Path) -> bytes:
    """What claims to be gigabytes, and is a hundred megabytes of zeros in a few bytes."""
    with zipfile.ZipFile(folder / "x", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("header.json", bytes(30 << 22))
    return (folder / "x").read_bytes().replace(struct.pack("<L", 30 << 22), struct.pack("<L", 0x7FFF0000))


def _claims(folder: Path, size: int) -> bytes:
    """Entries that say they are larger than the file."""
    content = bytearray((folder / "cu.gapkit").read_bytes())
    place = 0
    while (place := content.find(b"PK\1\2", place)) >= 0:
        content[place + 20 : place + 28] = struct.pack("<LL", size, size)
        place += 4
    return bytes(content)


def _overlapping(folder: Path) -> bytes:
    """All entries of one place."""
    content = bytearray((folder / "cu.gapkit").read_bytes())
    place = 0
    while (place := content.find(b"PK\1\2", place)) >= 0:
        content[place + 42 : place + 46] = struct.pack("<L", 0)
        place += 4
    return bytes(content)


def _many_entries(folder: Path) -> bytes:
    with zipfile.ZipFile(folder / "x", "w") as archive:
        for i in range(66_000):
            archive.writestr(f"entry{i}" + 10 * "long", b"")
    return (folder / "x").read_bytes()


def _table_claim(folder: Path) -> bytes:
    content = bytearray((folder / "cu.gapkit").read_bytes())
    content[-10:-6] = struct.pack("<L", 0x7FFFFFFF)
    return bytes(content)


def _twice(folder: Path) -> bytes:
    shutil.copy(folder / "cu.gapkit", folder / "x")
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(folder / "x", "a") as archive:
        archive.writestr("weights.npy", npy(np.zeros(28)))
    return (folder / "x").read_bytes()


def _named(name: str) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        shutil.copy(folder / "cu.gapkit", folder / "x")
        with zipfile.ZipFile(folder / "x", "a") as archive:
            archive.writestr(name, b"")
        return (folder / "x").read_bytes()

    return make


def _header(text: bytes) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        write(folder / "x", text, {})
        return (folder / "x").read_bytes()

    return make


def _array_header(text: str) -> Callable[[Path], bytes]:
    """Weights whose own header says something else."""

    def make(folder: Path) -> bytes:
        sound = Opened.of(folder / "cu.gapkit")
        contents = {name: npy(array) for name, array in sound.arrays.items()}
        body = text.encode().ljust(117) + b"\n"
        contents["weights"] = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body + bytes(8 * 28)
        checksums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        write(folder / "x", json.dumps({**sound.header, "checksums": checksums}).encode(), contents)
        return (folder / "x").read_bytes()

    return make


_FORMAT = b'{"format": "gapkit-model", "format_version": 2, "a": '
BOMBS: dict[str, Callable[[Path], bytes]] = {
    "compressed": lambda folder: _copied(folder, zipfile.ZIP_DEFLATED),
    "lzma": lambda folder: _copied(folder, zipfile.ZIP_LZMA),
    "bomb": _bomb,
    "claims": lambda folder: _claims(folder, 0x7FFFFFFF),
    "claims nothing": lambda folder: _claims(folder, 0),
    "overlapping": _overlapping,
    "many entries": _many_entries,
    "long table": _table_claim,
    "twice": _twice,
    **{f"named {name}": _named(name) for name in ("../up", "/etc/x", "a//b", "a b", "x.npy", "\u202e")},
    "deep lists": _header(_FORMAT + 100_000 * b"[" + 100_000 * b"]" + b"}"),
    "deep mappings": _header(_FORMAT + 50_000 * b'{"a":' + b"1" + 50_000 * b"}" + b"}"),
    "many lists": _header(_FORMAT + b"[" + 3_000_000 * b"[]," + b"[]]}"),
    "long number": _header(_FORMAT + 100_000 * b"9" + b"}"),
    "twins": _header(_FORMAT + b'1, "a": 2}'),
    "no mapping": _header(b"[]"),
    "no text": _header(b"\xff\xfe{}"),
    "array of a billion": _array_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000,), }"),
    "negative": _array_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-28,), }"),
    "objects": _array_header("{'descr': '|O', 'fortran_order': False, 'shape': (28,), }"),
    "code": _array_header("{'descr': '<f8', 'fortran_order': __import__('os'), 'shape': (28,), }"),
    "nested": _array_header(50 * "(" + 50 * ")"),
    "big endian": _array_header("{'descr': '>f8', 'fortran_order': False, 'shape': (28,), }"),
    "nothing": lambda folder: b"",
    "end alone": lambda folder: b"PK\5\6" + bytes(18),
    "half": lambda folder: (folder / "cu.gapkit").read_bytes()[:5000],
    "the other half": lambda folder: (folder / "cu.gapkit").read_bytes()[5000:],
}


@pytest.mark.parametrize("name", list(BOMBS))
def test_archives_of_odd_sizes(server: Server, folder: Path, name: str) -> None:
    content = BOMBS[name](folder)
    (folder / "x").unlink(missing_ok=True)
    (folder / "cu.gapkit").write_bytes(content)
    server.run(folder, "info", "cu.gapkit").assert_refused("cu.gapkit")
    if name in ("bomb", "many lists", "compressed"):
        server.run(folder, "predict", "cu.gapkit", "test.extxyz", "--output", "o.extxyz").assert_refused("cu.gapkit")
        options = ("--config", "fit.yaml", "--output", "new.gapkit", "--checkpoint", "cu.gapkit", "--quiet")
        server.run(folder, "fit", "train.extxyz", *options).assert_refused("cu.gapkit")


# ---------------------------------------------------------------------- what is no file


@pytest.fixture
def no_files(folder: Path) -> Iterator[Path]:
    (folder / "folder.gapkit").mkdir()
    os.mkfifo(folder / "pipe.gapkit")
    os.symlink("/dev/zero", folder / "link.gapkit")
    here = socket.socket(socket.AF_UNIX)
    os.chdir(folder)  # its name may be too long
    here.bind("socket.gapkit")
    yield folder
    here.close()


@pytest.mark.parametrize(
    "given",
    ["None", "3", "0", "-1", "b'cu.gapkit'", "['cu.gapkit']", "1.5", "''", "'a\\0b'", "'/dev/zero'", "'/dev/stdin'",
     "'folder.gapkit'", "'pipe.gapkit'", "'link.gapkit'", "'socket.gapkit'", "'missing.gapkit'", "'x' * 5000", "'/'",
     "'cu.gapkit/'", "'train.extxyz'", "'/proc/self/mem'", "'\\udcff'"],
)  # fmt: skip
def test_what_is_no_model(server: Server, no_files: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.chdir(no_files)
    server.call(no_files, f"import gapkit; gapkit.load({given})").assert_raised("Error: ")
