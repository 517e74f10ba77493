"""YAML and TOML files: the same values as any parser, and the line of each of them."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from gapkit.exceptions import ConfigError
from gapkit.options import Located, read_options, require_known


def read(tmp_path: Path, text: str, name: str = "r.yaml") -> Located:
    path = tmp_path / name
    path.write_text(dedent(text), encoding="utf-8")
    return read_options(path)


def lines(item: Located) -> Any:
    """The lines in the shape of the values: of a mapping or list its own line, then those within."""
    if isinstance(item.value, dict):
        return item.line, {name: lines(each) for name, each in item.value.items()}
    if isinstance(item.value, list):
        return item.line, [lines(each) for each in item.value]
    return item.line


NESTED = """\
# a comment
name: silicon
sources:
  - file: a.xyz
    frames: "::2"
  - {file: b.xyz,
     role: test}
split:
  test_fraction: 0.2
deep: [1, [2,
  3], {x: 4}]
"""


def test_values_are_those_of_yaml(tmp_path: Path) -> None:
    assert read(tmp_path, NESTED).plain() == yaml.safe_load(NESTED)


def test_every_value_knows_its_line(tmp_path: Path) -> None:
    assert lines(read(tmp_path, NESTED)) == (
        2,
        {
            "name": 2,
            "sources": (3, [(4, {"file": 4, "frames": 5}), (6, {"file": 6, "role": 7})]),
            "split": (8, {"test_fraction": 9}),
            "deep": (10, [10, (10, [10, 11]), (11, {"x": 11})]),
        },
    )


def test_place_names_file_and_line() -> None:
    assert Located(1, 3).place("r.yaml") == "r.yaml, line 3"
    assert Located(1).place("r.toml") == "r.toml"


def test_an_alias_stands_for_its_anchor(tmp_path: Path) -> None:
    found = read(tmp_path, "a: &one {x: 1}\nb: *one\nc: [*one, *one]\n")
    assert found.plain() == {"a": {"x": 1}, "b": {"x": 1}, "c": [{"x": 1}, {"x": 1}]}
    assert found.value["b"].line == 2
    assert found.value["b"].value["x"].line == 1


def test_merged_names_have_the_line_where_they_are_written_and_own_ones_win(tmp_path: Path) -> None:
    text = """\
        base: &base
          energy_unit: Hartree
          role: pool
        other: &other {role: train, frames: ":5"}
        one:
          <<: *base
          role: test
        two:
          role: test
          <<: [*other, *base]
        three:
          <<: [*base, *other]
        """
    found = read(tmp_path, text)
    assert lines(found.value["one"]) == (5, {"energy_unit": 2, "role": 7})
    assert {name: found.value[name].plain() for name in ("one", "two", "three")} == {
        "one": {"energy_unit": "Hartree", "role": "test"},
        "two": {"energy_unit": "Hartree", "role": "test", "frames": ":5"},
        "three": {"energy_unit": "Hartree", "role": "pool", "frames": ":5"},
    }


def test_a_merge_of_a_merge(tmp_path: Path) -> None:
    """By https://yaml.org/type/merge.html, not by `yaml.safe_load`: PyYAML 6.0.4 lets the inner mapping win."""
    text = "a: &a {x: 1, yy: 1}\nb: &b {<<: *a, yy: 2}\nc: {<<: *b, z: 3}\nd: {<<: *b, x: 4}\ne: {<<: [*b, *a]}\n"
    assert read(tmp_path, text).plain() == {
        "a": {"x": 1, "yy": 1}, "b": {"x": 1, "yy": 2}, "c": {"x": 1, "yy": 2, "z": 3}, "d": {"x": 4, "yy": 2},
        "e": {"x": 1, "yy": 2},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("seed: 1\nname: x\nseed: 2\n", ["`seed`", "twice", "lines 1 and 3"]),
        ("sources:\n - file: a\n   role: x\n   file: b\n", ["`file`", "lines 2 and 4"]),
        ("a: &a {x: 1}\nb:\n  <<: *a\n  y: 1\n  y: 2\n", ["`y`", "lines 4 and 5"]),
        ("a: &a {x: 1, x: 2}\n", ["`x`", "lines 1 and 1"]),
        ("b:\n  <<: 3\n", ["`<<`", "got 3", "line 2"]),
        ("a: 1\n[x, y]: 2\n", ["a name must be text", "['x', 'y']", "line 2"]),
        ("a: 1\nb: &x [1, *x]\n", ["alias", "line 2"]),
        ("a: &x {<<: *x}\n", ["alias", "line 1"]),
        ("a: 1\n\tb: 2\n", ["line 2"]),
        ("a: *nowhere\n", ["nowhere", "line 1"]),
        ("a: 1\n---\nb: 2\n", ["line 2"]),
        ("a: !!python/name:os.system x\n", ["python", "line 1"]),
    ],
)
def test_what_is_wrong_in_yaml_is_named_with_its_lines(tmp_path: Path, text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError, match="is not valid YAML") as caught:
        read(tmp_path, text)
    assert [part for part in [*parts, "r.yaml"] if part not in str(caught.value)] == [], str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1E5", 1e5), ("-2e+2", -200.0), (".5e1", 5.0), ("1.e2", 100.0), ("3", 3), ("'1e-3'", "1e-3")],
)
def test_exponents_are_numbers_unless_quoted(tmp_path: Path, text: str, value: object) -> None:
    found = read(tmp_path, f"x: {text}").value["x"].value
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["1e", "e3", "1e-3x", "v1e3"])
def test_what_only_looks_like_an_exponent_is_text(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, f"x: {text}").value["x"].value == text


def test_reading_does_not_change_how_others_read_yaml(tmp_path: Path) -> None:
    read(tmp_path, "x: 1e-3")
    assert yaml.safe_load("x: 1e-3") == {"x": "1e-3"}


def test_toml_has_no_lines(tmp_path: Path) -> None:
    text = 'name = "x"\n[split]\ntest_fraction = 1e-1\n[[sources]]\nfile = "a.xyz"\n[[sources]]\nfile = "b.xyz"\n'
    found = read(tmp_path, text, "r.toml")
    assert found.plain() == {
        "name": "x",
        "split": {"test_fraction": 0.1},
        "sources": [{"file": "a.xyz"}, {"file": "b.xyz"}],
    }
    assert lines(found) == (
        None,
        {"name": None, "split": (None, {"test_fraction": None}), "sources": (None, [(None, {"file": None})] * 2)},
    )


def test_duplicates_and_mistakes_in_toml(tmp_path: Path) -> None:
    for text in ("a = 1\na = 2\n", "a = \n"):
        with pytest.raises(ConfigError, match=r"r\.toml is not valid TOML: .*line"):
            read(tmp_path, text, "r.toml")


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    for name in ("r.yaml", "r.yml", "r.toml", "r.YAML"):
        assert read(tmp_path, "# nothing\n", name).plain() == {}


def test_files_that_hold_no_options(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must hold options and their values, .* got a list"):
        read(tmp_path, "- a\n- b\n")
    with pytest.raises(ConfigError, match="got a str"):
        read(tmp_path, "just words\n")
    with pytest.raises(ConfigError, match=r"must end in \.yaml, \.yml or \.toml, got no suffix"):
        read(tmp_path, "", "recipe")
    (tmp_path / "latin.yaml").write_bytes("name: Å".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.yaml is not valid YAML: byte 0xc5 is not text in UTF-8 \(line 1\)"):
        read_options(tmp_path / "latin.yaml")
    for path, words in (
        (tmp_path / "missing.yaml", "does not exist"),
        (tmp_path, "a folder"),
        ("/dev/zero", "a device"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_options(Path(path))


def test_the_nearest_known_name_is_a_hint() -> None:
    known = ["test_fraction", "by"]
    require_known("by", known, "option", "r.yaml")
    for slip in ("test_fracton", "test-fraction", "Test_Fraction"):
        with pytest.raises(ConfigError, match=f"unknown option `{slip}` in r.yaml; did you mean `test_fraction`"):
            require_known(slip, known, "option", "r.yaml")
    with pytest.raises(ConfigError) as caught:
        require_known(7, known, "option", "r.yaml")
    assert "did you mean" not in str(caught.value)
    assert "Valid are: test_fraction, by" in str(caught.value)
