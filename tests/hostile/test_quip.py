"""gap.xml files that are damaged, tampered with or out of bounds: refused with place and remedy, or read as they were.

The mutations are drawn from a seed.  A model that QUIP would read just so (another label, an e0 of an element that is
not there) may be read; what it gives must then be finite.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.hostile.trial import Outcome, Server

SOUND = Path(__file__).parents[1] / "potential" / "files_of_0_1"
LOAD = """
import warnings
import numpy as np
from ase import Atoms
from gapkit.interop.quip import load
warnings.simplefilter("ignore")
model = load("gap.xml")
p = model.predict(Atoms("Cu2", [[0, 0, 0], [0, 0, 2.4]]))
assert np.isfinite(p.energy).all() and np.isfinite(p.forces).all()
print(repr(float(p.energy[0])))
"""


@pytest.fixture
def gap(tmp_path: Path) -> Path:
    """The folder of a sound model of two species."""
    for path in SOUND.glob("gap.xml*"):
        shutil.copy(path, tmp_path / path.name)
    return tmp_path


@pytest.fixture(scope="module")
def energy(tmp_path_factory: pytest.TempPathFactory, server: Server) -> str:
    """What the sound model says of a dimer."""
    folder = tmp_path_factory.mktemp("sound")
    for path in SOUND.glob("gap.xml*"):
        shutil.copy(path, folder / path.name)
    done = server.call(folder, LOAD)
    assert done.code == 0, done.err
    return done.out


def rewrite(gap: Path, change: Callable[[str], str]) -> None:
    text = (gap / "gap.xml").read_text()
    new = change(text)
    assert new != text
    (gap / "gap.xml").write_text(new)


def convert(server: Server, gap: Path, *words: str) -> Outcome:
    return server.run(gap, "convert", "gap.xml", "model.gapkit", *words)


# ---------------------------------------------------------------------- attributes and options, one by one

BAD = ("", "x", "nan", "inf", "-inf", "1e400", "-1", "1e9", "1.5.2", "0x10", "9" * 400, "\u0663")
OF_ELEMENTS = {
    "GAP_params": ("gap_version",),
    "gpSparse": ("n_coordinate", "fitted"),
    "gpCoordinates": (
        "dimensions", "signal_variance", "covariance_type", "n_sparseX", "n_permutations", "sparsified", "zeta",
    ),
    "sparseX": ("i", "alpha", "sparseCutoff"),
    "permutation": ("i",),
}  # fmt: skip
OF_DESCRIPTORS = ("cutoff", "cutoff_transition_width", "n_max", "l_max", "atom_sigma", "n_species", "Z", "Z1")
HARMLESS = {("signal_variance", "-1"), ("alpha", "-1"), ("alpha", "1e9")}


def attribute(tag: str, name: str, value: str) -> Callable[[str], str]:
    return lambda text: re.sub(rf'(<{tag}\b[^>]*? {name}=)"[^"]*"', lambda m: f'{m[1]}"{value}"', text, count=1)


CASES = [
    (tag, name, value)
    for tag, names in OF_ELEMENTS.items()
    for name in names
    for value in BAD
    if (name, value) not in HARMLESS
]


@pytest.mark.parametrize(("tag", "name", "value"), CASES)
def test_an_attribute_out_of_its_range(server: Server, gap: Path, tag: str, name: str, value: str) -> None:
    rewrite(gap, attribute(tag, name, value))
    if name == "zeta":  # that of a soap: the first has none
        assert f'zeta="{value}"' in (gap / "gap.xml").read_text()
    convert(server, gap).assert_refused(name, "copy it again")


@pytest.mark.parametrize("value", [value for value in BAD if value])
@pytest.mark.parametrize("name", OF_DESCRIPTORS)
def test_an_option_out_of_its_range(server: Server, gap: Path, name: str, value: str) -> None:
    pattern = rf"(<descriptor>[^<]*?\b{name}=)(\{{[^}}]*\}}|[^\s<]+)"
    rewrite(gap, lambda text: re.sub(pattern, lambda m: m[1] + value, text, count=1))
    convert(server, gap).assert_refused(name, "copy it again")


@pytest.mark.parametrize(("tag", "names"), OF_ELEMENTS.items())
def test_an_attribute_that_is_missing(server: Server, gap: Path, tag: str, names: tuple[str, ...]) -> None:
    sound = (gap / "gap.xml").read_text()
    for name in set(names) - {"fitted", "gap_version"}:
        (gap / "gap.xml").write_text(re.sub(rf'(<{tag}\b[^>]*?) {name}="[^"]*"', r"\1", sound, count=1))
        convert(server, gap).assert_refused(name)


# ---------------------------------------------------------------------- damage at random


def damages() -> Iterator[Callable[[str], str]]:
    rng = np.random.default_rng(13)

    def cut(text: str, at: float) -> str:
        return text[: int(at * len(text))]

    def without(text: str, at: float) -> str:
        lines = text.splitlines(keepends=True)
        del lines[int(at * len(lines))]
        return "".join(lines)

    def doubled(text: str, at: float) -> str:
        lines = text.splitlines(keepends=True)
        lines.insert(int(at * len(lines)), lines[int(at * len(lines))])
        return "".join(lines)

    def digit(text: str, at: float) -> str:
        found = list(re.finditer(r"\d", text))
        place = found[int(at * len(found))].start()
        return text[:place] + "-" + text[place + 1 :]

    def other(text: str, at: float) -> str:
        place = int(at * len(text))
        return text[:place] + chr(rng.integers(33, 126)) + text[place + 1 :]

    for at in rng.random(24):
        for damage in (cut, without, doubled, digit, other):
            yield lambda text, damage=damage, at=at: damage(text, at)


@pytest.mark.parametrize("damage", damages())
def test_damage_is_refused_or_harms_nothing(
    server: Server, gap: Path, damage: Callable[[str], str], energy: str
) -> None:
    text = (gap / "gap.xml").read_text()
    (gap / "gap.xml").write_text(damage(text))
    done = server.call(gap, LOAD)
    done.assert_bounded()
    if done.code == 2:
        assert done.err.startswith(("ModelFileError: ", "InputError: ", "UnknownSpeciesError: ")), done.err
    else:  # a number that is another number now, or nothing that counts
        assert done.code == 0, done.err
        assert abs(float(done.out) - float(energy)) < 100.0


@pytest.mark.parametrize("seed", range(16))
def test_bytes_of_a_file_of_points(server: Server, gap: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = sorted(gap.glob("gap.xml.sparseX.*"))[seed % 5]
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(7)
    path.write_bytes(bytes(content))
    convert(server, gap).assert_refused("md5 sum", "copy both again")


# ---------------------------------------------------------------------- where sparse points are read from

SECRET = "root:x:0:0 secret"


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret", "sub/secret", "..", ".", "a\\b", "\u202esecret", "~/x"])
def test_sparse_points_are_read_beside_the_xml_alone(server: Server, gap: Path, name: str) -> None:
    rewrite(gap, attribute("gpCoordinates", "sparseX_filename", name))
    rewrite(gap, lambda text: re.sub(' sparseX_md5sum="[^"]*"', "", text))
    done = convert(server, gap)
    done.assert_refused("beside the gap.xml")
    assert "root" not in done.err


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "device"])
def test_no_links_out_and_no_devices(server: Server, gap: Path, kind: str, tmp_path_factory) -> None:
    rewrite(gap, lambda text: re.sub(' sparseX_md5sum="[^"]*"', "", text))
    path = sorted(gap.glob("gap.xml.sparseX.*"))[0]
    content = path.read_bytes()
    path.unlink()
    if kind == "link":
        outside = tmp_path_factory.mktemp("outside") / "points"
        outside.write_bytes(content)
        path.symlink_to(outside)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    convert(server, gap).assert_refused("file of sparse points")


@pytest.mark.parametrize("text", [SECRET, "1.0\n2.0\nsecret\n", "nan nan nan nan", "1e999 1 1 1", "1 2 3", " \n", ""])
def test_nothing_of_a_file_is_quoted(server: Server, gap: Path, text: str) -> None:
    rewrite(gap, lambda old: re.sub(' sparseX_md5sum="[^"]*"', "", old))
    sorted(gap.glob("gap.xml.sparseX.*"))[0].write_text(text)
    done = convert(server, gap)
    done.assert_refused("finite numbers", "copy the file again")
    assert "secret" not in done.err


# ---------------------------------------------------------------------- without bound

ENTITIES = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10 if i else "x" * 10}">' for i in range(10))
BOMBS = {
    "laughs": f"<!DOCTYPE GAP [{ENTITIES}]><GAP>&e9;</GAP>",
    "external": '<!DOCTYPE GAP [<!ENTITY x SYSTEM "file:///etc/passwd">]><GAP>&x;</GAP>',
    "dtd": '<!DOCTYPE GAP SYSTEM "http://127.0.0.1:9/x.dtd"><GAP/>',
    "deep": "<a>" * 100_000 + "</a>" * 100_000,
    "wide": "<a>" + "<b/>" * 3_000_000 + "</a>",
    "attributes": "<a " + " ".join(f'x{i}=""' for i in range(300_000)) + "/>",
    "encoding": '<?xml version="1.0" encoding="no-such"?><GAP/>',
    "binary": "\x00\x01\x02",
    "empty": "",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_without_bounds(server: Server, tmp_path: Path, name: str) -> None:
    (tmp_path / "gap.xml").write_text(BOMBS[name])
    convert(server, tmp_path).assert_refused("gap.xml")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (r'n_sparseX="\d+"', 'n_sparseX="1000000000"', "n_sparseX"),
        (r'n_sparseX="\d+"', 'n_sparseX="400000"', "sparse points"),
        (r'dimensions="\d+"', 'dimensions="10000000"', "numbers"),
        (r"l_max=\d+", "l_max=1000", "l_max"),
        (r"l_max=\d+", "l_max=20", "elements"),
        (r"n_max=\d+", "n_max=24", "elements"),
        (r"cutoff=[\d.]+", "cutoff=1e5", "cutoff"),
        (r"n_species=2", "n_species=118", "n_species"),
        (r'<e0 Z="29" value="[^"]*"', '<e0 Z="29" value="inf"', "e0"),
        (r'<e0 Z="29" value="[^"]*"', '<e0 Z="29" value="nan"', "e0"),
        (r'<e0 Z="29"', '<e0 Z="-1"', "Z"),
        (r'<e0 Z="29"', '<e0 Z="119"', "Z"),
    ],
)
def test_numbers_without_bounds(server: Server, gap: Path, old: str, new: str, word: str) -> None:
    rewrite(gap, lambda text: re.sub(old, new, text))
    convert(server, gap).assert_refused(word)


# ---------------------------------------------------------------------- what does not concern the model


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('(<e0 Z="2" value=)"[^"]*"', r'\1"nan"'),
        ('(<e0 Z="118" value=)"[^"]*"', r'\1"x"'),
        ('(<e0 Z="3" value=)"[^"]*"', r'\1"1.0e300"'),
        ("<descriptor>", "<descriptor> "),
        ('(<Potential )label="[^"]*"', r"\1"),
        ("(<descriptor>[^<]*)<", r"\1 n_sparseX=7 jitter=1e-3 some_option<"),
        ("(<gpCoordinates )", r'\1comment="x" '),
        ("(<GAP_params )", r'\1svn_version="1234" '),
        ("</GAP_params>", "<XYZ_data>" + "<row>x</row>" * 100 + "</XYZ_data></GAP_params>"),
    ],
)
def test_what_the_model_does_not_use(server: Server, gap: Path, energy: str, old: str, new: str) -> None:
    rewrite(gap, lambda text: re.sub(old, new, text))
    done = server.call(gap, LOAD)
    assert done.code == 0, done.err
    assert done.out == energy


def test_species_of_wildcards(server: Server, gap: Path) -> None:
    """One e0 for all elements says nothing; with `--species` the model is read."""
    rewrite(gap, lambda text: re.sub(r'(<e0 Z="\d+" value=)"[^"]*"', r'\1"-0.79"', text))
    rewrite(gap, lambda text: re.sub("<gpCoordinates.*</gpCoordinates>", lambda m: m[0], text, flags=re.S) + "\n")
    text = (gap / "gap.xml").read_text()
    only = re.search("<gpCoordinates(?:(?!</gpCoordinates>).)*</gpCoordinates>", text, re.S)
    assert only is not None
    one = re.sub(r"\bZ[12]=\d+", "", only[0])
    text = re.sub("<gpCoordinates.*</gpCoordinates>", lambda _: one, text, flags=re.S)
    (gap / "gap.xml").write_text(re.sub(r'n_coordinate="\d+"', 'n_coordinate="1"', text))
    convert(server, gap).assert_refused("names no species", "`species`")
    convert(server, gap, "--species", "Xx").assert_refused("species")
    done = convert(server, gap, "--species", "Cu,Au")
    assert done.code == 0, done.err
    done.assert_bounded()
    assert "Cu, Au" in done.err
