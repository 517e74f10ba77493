"""What files of options may hold, and how much of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gapkit.exceptions import ConfigError
from gapkit.options import read_options, require_known
from gapkit.printing import quoted
from tests.options.test_files import read


def test_a_file_may_begin_and_end_lines_as_other_systems_do(tmp_path: Path) -> None:
    for name, text in (("r.yaml", "\ufeffa: 1\r\nb: 2\r\n"), ("r.toml", "\ufeffa = 1\r\nb = 2\r\n")):
        (tmp_path / name).write_bytes(text.encode())
        assert read_options(tmp_path / name).plain() == {"a": 1, "b": 2}
    (tmp_path / "r.yaml").write_bytes("a: 1".encode("utf-16"))
    with pytest.raises(ConfigError, match="UTF-16; save it in UTF-8"):
        read_options(tmp_path / "r.yaml")


def test_dates_are_text_in_yaml_and_refused_in_toml(tmp_path: Path) -> None:
    assert read(tmp_path, "a: 2020-01-31\n2020-01-31: b\n").plain() == {"a": "2020-01-31", "2020-01-31": "b"}
    with pytest.raises(ConfigError, match="quotation marks"):
        read(tmp_path, "a = 2020-01-31", "r.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: !!binary aGk=", "`!!binary`|binary"),
        ("a: !!set {x}", "set"),
        ("a: !!int x", "'x' cannot be read as int .line 1"),
        ("a: !!bool x", "'x' cannot be read as bool"),
        ("a: !!float ''", "cannot be read as float"),
        ("a: !mine x", "!mine"),
        ("a: " + "9" * 5000, "cannot be read as int"),
        ("\n\na: \x1b[31m", r"U\+001B.*line 3"),
        ("? {x: 1}\n: y", "a name must be text"),
        ("~: y", "a name must be text, got None"),
    ],
    ids=str,
)
def test_what_is_no_number_text_list_or_mapping(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(tmp_path, text)


def test_aliases_stand_for_no_more_than_there_is_room_for(tmp_path: Path) -> None:
    doubled = "a0: &a0 [x, x, x, x, x, x, x, x]\n"
    for i in range(1, 9):
        names = ", ".join([f"*a{i - 1}"] * 8)
        doubled += f"a{i}: &a{i} [{names}]\n"
    merged = "a0: &a0 {x: 1}\n"
    for i in range(1, 9):
        names = ", ".join([f"*a{i - 1}"] * 8)
        merged += f"a{i}: &a{i} {{<<: [{names}]}}\n"
    in_a_name = doubled.replace("a8: &a8 ", "? ") + "\n: 1"
    for text in (doubled, merged, in_a_name):
        with pytest.raises(ConfigError, match="aliases stand for more than"):
            read(tmp_path, text)
    assert len(read(tmp_path, "a: &a {x: 1, y: 2}\nb: [" + "*a, " * 3000 + "]").value["b"].value) == 3000


DEEP = {
    "r.yaml": [
        "a: " + "[" * 60 + "]" * 60, "a: " + "{a: " * 5000, "- " * 5000, "? " * 5000, "[" * 100_000,
        "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 70))]),
    ],
    "r.toml": [
        "a = " + "[" * 60 + "]" * 60, "a = " + "[" * 100_000, "a = " + "{a=" * 5000, "a." * 60 + "a = 1",
        "a." * 50_000 + "a = 1", "[" + "a . " * 50_000 + "a]", "x = { " + "'a'.\"b\"." * 1000 + "a = 1 }",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in DEEP.items() for text in texts])
def test_nesting_is_bounded(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ConfigError, match="must not nest deeper than 50"):
        read(tmp_path, text, name)


def test_a_value_is_shown_in_one_line() -> None:
    assert quoted("x" * 1000).endswith("... (1,002 characters)")
    assert quoted(10**5000) == "a number of thousands of digits"
    with pytest.raises(ConfigError, match=r"unknown option `'xxx.*\(3,002 characters\)"):
        require_known("x" * 3000, ["a"], "option", "r.yaml")
