"""Files are read as the recipe says, and named when they cannot be."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from gapkit.curation.recipe import Source
from gapkit.curation.recipe.sources import read_sources, without_frame
from gapkit.exceptions import InputError
from tests.curation.recipe.data import copper, plain, put


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    put(folder, "a.extxyz", copper(7))
    (folder / "sub").mkdir()
    put(folder, "sub/b.xyz", copper(3, seed=1))
    return folder


@pytest.mark.parametrize("frames", [":", ":3", "2:", "::3", "-2:", "1:-1:2", ":100"])
def test_slices_keep_the_numbers_of_the_file(folder: Path, frames: str) -> None:
    files, entries = read_sources([Source(file="a.extxyz", frames=frames)], folder)
    start, stop, step = (*(int(part) if part else None for part in frames.split(":")), None)[:3]
    expected = list(range(7))[slice(start, stop, step)]
    assert [e.index for e in entries] == expected
    assert [e.id for e in entries] == [f"a:{k}" for k in expected]
    assert (files[0].n_frames, files[0].n_read) == (7, len(expected))
    whole = copper(7)
    for entry in entries:
        np.testing.assert_allclose(entry.atoms.positions, whole[entry.index].positions, atol=1e-8)


def test_a_slice_of_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"`frames` of a\.extxyz must be some of its 7 frames, got '7:'"):
        read_sources([Source(file="a.extxyz", frames="7:")], folder)


def test_hashes_roles_and_names(folder: Path) -> None:
    sources = [Source(file="a.extxyz", name="first"), Source(file="sub/b.xyz", role="test", frames=":1")]
    files, entries = read_sources(sources, folder)
    for file, path in zip(files, ("a.extxyz", "sub/b.xyz"), strict=True):
        assert file.sha256 == hashlib.sha256((folder / path).read_bytes()).hexdigest()
    assert [(e.id, e.source, e.role, e.file) for e in entries[-2:]] == [
        ("first:6", 0, "pool", "a.extxyz"), ("b:0", 1, "test", "sub/b.xyz"),
    ]  # fmt: skip


def test_a_truncated_file_is_named_with_its_frame(folder: Path) -> None:
    (folder / "cut.extxyz").write_text("\n".join((folder / "a.extxyz").read_text().splitlines()[:15]))
    with pytest.raises(InputError, match=r"cut\.extxyz.*frame 2"):
        read_sources([Source(file="a.extxyz"), Source(file="cut.extxyz")], folder)


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.xyz.*does not exist"):
        read_sources([Source(file="nowhere.xyz")], folder)


def test_frames_that_cannot_be_read_say_why(folder: Path) -> None:
    frames = [plain(atoms) for atoms in copper(3)]
    frames[1].info["REF_energy"] = 5.0
    frames[2].info["energy"] = np.nan
    frames[2].info["config_type"] = "a: b"
    put(folder, "bad.extxyz", frames)
    entries = read_sources([Source(file="bad.extxyz")], folder)[1]
    assert [e.problem for e in entries] == ["", "conflicting_labels", "unusable"]
    assert entries[1].message.startswith("has different values under `energy` and `REF_energy`")
    assert entries[2].message.startswith("`energy` must be finite")


def test_the_number_of_a_frame_is_taken_off_a_message() -> None:
    assert without_frame("frame 3 (config_type 'a: b (c)'): `energy` must be: x") == "`energy` must be: x"
    assert without_frame("frame 3: what: ever") == "what: ever"
    assert without_frame("no frame here: at all") == "no frame here: at all"
