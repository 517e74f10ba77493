"""Dataclasses of options: the same checks for values of files and of Python, and messages that name the place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from gapkit.exceptions import ConfigError
from gapkit.options import Options, check_value, entries, option, parse, read_options, section, sections
from gapkit.options.values import (
    between,
    count,
    flag,
    fraction,
    inside,
    jobs,
    number,
    one_of,
    positive,
    seed,
    sigmas,
    text,
)


@dataclass(frozen=True, kw_only=True)
class Part(Options):
    """Of a whole."""

    file: str = option(text, "where it is")
    size: float | None = option(positive, "how large", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.file == "twice" and self.size is not None:
            raise ConfigError("`file` and `size` contradict each other")


@dataclass(frozen=True, kw_only=True)
class Step(Options):
    """That can be switched off."""

    n: int = option(count, "how often", 3)
    deep: bool = option(flag, "how far", False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.deep and self.n < 2:
            raise ConfigError("`deep` needs `n` of 2")


@dataclass(frozen=True, kw_only=True)
class Whole(Options):
    """Of parts."""

    parts: list[Part] = sections(Part, "what it is made of")
    name: str = option(text, "what it is called", "whole")
    usual: Step | None = section(Step, "usually done", Step)
    rare: Step | None = section(Step, "usually not done", None)
    table: Mapping[str, float] = entries(one_of(("red", "blue")), positive, "a number for each")


def read(tmp_path: Path, words: str, name: str = "w.yaml") -> Whole:
    path = tmp_path / name
    path.write_text(dedent(words))
    return parse(Whole, read_options(path), path)


def refused(tmp_path: Path, words: str, *parts: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, words)
    message = str(caught.value)
    assert [part for part in ("w.yaml", *parts) if part not in message] == [], message
    assert message.count("w.yaml") == 1, message


def test_what_is_left_out_has_the_default(tmp_path: Path) -> None:
    whole = read(tmp_path, "parts: [{file: a}]")
    assert whole == Whole(parts=[Part(file="a")])
    assert (whole.name, whole.usual, whole.rare, whole.table) == ("whole", Step(n=3), None, {})


def test_yaml_toml_and_python_agree(tmp_path: Path) -> None:
    yaml = read(tmp_path, "parts:\n - {file: a, size: 2}\n - file: b\nusual: {n: 4}\nrare: true\ntable: {red: 1}\n")
    toml = read(
        tmp_path,
        '[[parts]]\nfile = "a"\nsize = 2\n[[parts]]\nfile = "b"\n[usual]\nn = 4\n[rare]\n[table]\nred = 1\n',
        "w.toml",
    )
    assert yaml == toml == Whole(parts=[Part(file="a", size=2.0), Part(file="b")], usual=Step(n=4), rare=Step(),
                                 table={"red": 1.0})  # fmt: skip
    assert type(yaml.parts[0].size) is float


def test_steps_are_switched_by_true_and_false(tmp_path: Path) -> None:
    whole = read(tmp_path, "parts: [{file: a}]\nusual: false\nrare: true\n")
    assert (whole.usual, whole.rare) == (None, Step())
    assert read(tmp_path, "parts: [{file: a}]\nrare: {}\n").rare == Step()


@pytest.mark.parametrize(
    ("value", "got"), [("", "nothing"), ("0.1", "0.1"), ("yes please", "'yes please'"), ("[]", "[]")]
)
def test_a_step_that_is_neither_switched_nor_described_is_refused(tmp_path: Path, value: str, got: str) -> None:
    words = f"parts: [{{file: a}}]\nrare: {value}\n"
    refused(
        tmp_path, words, "`rare`", "line 2", "a mapping of options, true (the defaults) or false (off)", f"got {got}"
    )


def test_unknown_names_have_a_line_and_a_hint(tmp_path: Path) -> None:
    refused(tmp_path, "parts: [{file: a}]\nnmae: x\n", "unknown option `nmae`", "line 2", "did you mean `name`?")
    refused(
        tmp_path, "parts:\n  - file: a\n  - file: b\n    sise: 1\n",
        "unknown option of `parts` `sise`", "line 4", "did you mean `size`?",
    )  # fmt: skip
    refused(tmp_path, "parts: [{file: a}]\nusual:\n  n: 1\n  dep: true\n", "of `usual`", "`dep`", "line 4", "`deep`")


def test_a_missing_option_is_described(tmp_path: Path) -> None:
    refused(tmp_path, "name: x\n", "`parts` is missing", "line 1", "what it is made of")
    refused(
        tmp_path, "parts:\n  - file: a\n  - size: 1\n", "`file` of `parts` is missing", "line 3", "where it is",
    )  # fmt: skip


def test_a_wrong_value_has_the_line_of_its_name(tmp_path: Path) -> None:
    refused(tmp_path, "parts: [{file: a}]\nname:\n  - x\n", "`name`", "line 2", "text", "['x']")
    refused(tmp_path, "parts:\n  - file: a\n    size: -1\n", "`size`", "line 3", "a number > 0", "got -1")
    refused(tmp_path, "parts: [{file: 300}]\n", "`file`", "text", "quotation marks", "got 300")
    refused(tmp_path, "parts: [{file: }]\n", "`file`", "text", "got None")


@pytest.mark.parametrize("value", ["", "[]", "a.xyz", "{file: a}", "[a.xyz]", "[[]]"])
def test_a_list_of_parts_must_be_one(tmp_path: Path, value: str) -> None:
    refused(tmp_path, f"name: x\nparts: {value}\n", "`parts`", "line 2", "mapping")


def test_a_part_that_is_only_a_name_is_told_how_to_be_one(tmp_path: Path) -> None:
    refused(tmp_path, "parts:\n  - a.xyz\n", "`parts`", "line 2", "such as `file: ...`", "'a.xyz'")


def test_entries_are_named_by_their_own_lines(tmp_path: Path) -> None:
    head = "parts: [{file: a}]\ntable:\n  red: 1\n"
    refused(tmp_path, head + "  green: 2\n", "`table`", "line 4", "one of red, blue", "'green'")
    refused(tmp_path, head + "  blue: much\n", "`blue` in `table`", "line 4", "a number", "'much'")
    refused(tmp_path, "parts: [{file: a}]\ntable: 3\n", "`table`", "line 2", "a mapping", "got 3")


def test_options_that_are_wrong_together_name_the_line_of_their_group(tmp_path: Path) -> None:
    refused(
        tmp_path, "name: x\nparts:\n  - file: a\n  - file: twice\n    size: 1\n", "line 4", "contradict each other"
    )  # fmt: skip
    refused(tmp_path, "parts: [{file: a}]\nname: x\nusual:\n  deep: true\n  n: 1\n", "line 3", "`deep` needs")


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"parts": []}, "`parts` must be a list of the class Part"),
        ({"parts": [{"file": "a"}]}, "`parts` must be a list of the class Part"),
        ({"parts": Part(file="a")}, "`parts` must be a list of the class Part"),
        ({"usual": True}, "`usual` must be of the class Step, or None, got True"),
        ({"rare": {"n": 2}}, "`rare` must be of the class Step"),
        ({"name": ""}, "`name` must be text"),
        ({"table": [1]}, "`table` must be a mapping"),
        ({"table": {"red": 0}}, "`red` in `table` must be a number > 0, got 0"),
        ({"table": {"green": 1}}, "names in `table` must be one of red, blue"),
    ],
)
def test_python_is_checked_like_a_file(changes: dict[str, object], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Whole(**{"parts": [Part(file="a")], **changes})  # type: ignore[arg-type]
    assert part in str(caught.value)


def test_none_is_allowed_only_where_it_is_the_default() -> None:
    assert check_value(Part, "size", None, "`size`") is None
    with pytest.raises(ConfigError, match="`n` must be a whole number >= 1, got None"):
        check_value(Step, "n", None, "`n`")
    assert Whole(parts=[Part(file="a")], usual=None).usual is None


def test_options_describe_themselves() -> None:
    assert Whole.help("parts") == "what it is made of"
    assert Step.help("n") == "how often"


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (text, ["a"], ["", 1, None]),
        (flag, [True, False], [0, 1, "true"]),
        (number, [1, -2.5], [True, "1", float("nan"), float("inf"), 10**400]),
        (positive, [1e-9, 3], [0, -1, True]),
        (count, [1, 7], [0, 1.0, True]),
        (seed, [0, 7], [-1, 1.5, False]),
        (jobs, [-1, 1, 4], [0, -2, True, "all"]),
        (fraction, [0.1, 0.999], [0, 1, 1.5, True]),
        (one_of(("a", "b")), ["a"], ["c", 1, ["a"], None]),
        (between(0.0, 0.01), [0, 1e-7, 0.01], [-1e-9, 0.011, True, float("nan"), None]),
        (inside(0.0, 0.5), [1e-9, 0.499], [0, 0.5, True]),
        (sigmas, [{"forces_sigma": 1}], [1, {"forces": 1}, {"forces_sigma": 0}, {}, [], None]),
    ],
)
def test_checks_take_and_refuse(check, good: list[object], bad: list[object]) -> None:
    for value in good:
        assert check(value) == value
    for value in bad:
        with pytest.raises(ValueError, match=r"\w"):
            check(value)
