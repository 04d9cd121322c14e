"""YAML text → data with lines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journey.source import MAX_CHARACTERS, dotted, parse_source


def data(text: str) -> object:
    source, problems = parse_source(text, "a.yaml")
    assert source is not None, problems
    return source.data


def refused(text: str) -> tuple[int, str]:
    source, problems = parse_source(text, "a.yaml")
    assert source is None
    assert problems and all(problem.file == "a.yaml" and problem.mend for problem in problems)
    return problems[0].line, problems[0].message


@pytest.mark.parametrize("word", ["no", "yes", "on", "off", "y", "n", "NO", "18:00", "2026-12-24T09:00", "2026-11-01"])
def test_words_that_older_yaml_took_for_booleans_and_times_are_words(word: str) -> None:
    assert data(f"key: {word}") == {"key": word}
    assert data(f"{word}: key") == {word: "key"}
    assert data(f"[{word}, {{a: {word}}}]") == [word, {"a": word}]


@pytest.mark.parametrize(
    "word", ["30d", "-24h", "5%", "20 %", "1_000", "0b1", "1:30:00", "v1.2", "+33612345678x", "<<", "="]
)
def test_what_only_looks_like_a_number_is_a_word(word: str) -> None:
    assert data(f"key: {word}") == {"key": word}


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("~", None),
        ("null", None),
        ("", None),
        ("12", 12),
        ("-7", -7),
        ("+7", 7),
        ("0o17", 15),
        ("0xff", 255),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ('"12"', "12"),
        ("'true'", "true"),
        ('""', ""),
        ("!!str 12", "12"),
        ("!!int 12", 12),
        ("! 12", "12"),
        ("|\n  12", "12"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(written: str, value: object) -> None:
    found = data(f"key: {written}")
    assert found == {"key": value}
    assert type(found["key"]) is type(value)


def test_a_version_line_does_not_bring_yaml_1_1_back() -> None:
    assert data("%YAML 1.1\n---\nlanguage: no\n") == {"language": "no"}


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_the_data() -> None:
    source, _ = parse_source("\ufeffname: a\r\nsteps: {b: c}\r\n", "a.yaml")
    assert source is not None
    assert source.data == {"name": "a", "steps": {"b": "c"}}
    assert source.line(("steps", "b")) == 2


TEXT = """\
name: autumn

steps:
  offer:
    message:
      buttons: {0: {user: a},
                Acheter: {user: b}}
  list:
    - one
    -
      two: 2
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 1),
        (("name",), 1),
        (("steps",), 3),
        (("steps", "offer", "message", "buttons"), 6),
        (("steps", "offer", "message", "buttons", 0, "user"), 6),
        (("steps", "offer", "message", "buttons", "0"), 6),
        (("steps", "offer", "message", "buttons", "Acheter", "user"), 7),
        (("steps", "list", 0), 9),
        (("steps", "list", 1, "two"), 11),
        (("steps", "offer", "nothing", "here"), 4),
        (("unknown",), 1),
    ],
)
def test_every_path_knows_its_line_and_a_missing_one_that_of_its_nearest_ancestor(
    path: tuple[str | int, ...], line: int
) -> None:
    source, _ = parse_source(TEXT, "a.yaml")
    assert source is not None
    assert source.line(path) == line


def test_paths_are_written_as_a_reader_would_say_them() -> None:
    assert dotted(("entries", 0, "audience", "when")) == "entries[0].audience.when"
    assert dotted(("steps", "offer", "message", "buttons", 0)) == "steps.offer.message.buttons.0"
    assert dotted(()) == ""


def test_a_key_written_twice_is_an_error_with_both_lines() -> None:
    source, problems = parse_source("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\na: 2\n", "a.yaml")
    assert source is None
    assert [(one.line, one.field) for one in problems] == [(5, "b.c"), (6, "a")]
    assert "first on line 3" in problems[0].message


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: c: d\n", 2, "mapping values"),
        ("a:\n\tb: 1\n", 2, "'\\t'"),
        ("a: [1,\n", 1, "flow"),
        ("a: 1\nb: 'x\n", 2, "quoted"),
        ("a: @x\n", 1, "cannot start"),
        ("a: 1\nb: \x01\n", 2, "not allowed"),
        ("a: 1\n b: 2\n", 2, ""),
        ("a: *nowhere\n", 1, "refers to no anchor"),
        ("a: &x [*x]\n", 1, "refers to no anchor"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: !!python/object:os.system x\n", 1, "tag"),
        ("a: !secret x\n", 1, "tag"),
        ("a: !!int x\n", 1, "tag"),
        ("a: !!set {x}\n", 1, "tag"),
        ("true: 1\n", 1, "key"),
        ("? [a]\n: 1\n", 1, "key"),
        ("", 1, "empty"),
        ("# only a remark\n", 1, "empty"),
        ("x" * (MAX_CHARACTERS + 1), 1, "characters"),
        ("[" * 60 + "]" * 60, 1, "levels deep"),
    ],
)
def test_what_is_not_understood_is_a_finding_with_its_line(text: str, line: int, words: str) -> None:
    found_line, message = refused(text)
    assert found_line == line
    assert words in message


def test_anchors_repeat_values() -> None:
    source, _ = parse_source("a: &x\n  b: 1\nc: *x\n", "a.yaml")
    assert source is not None
    assert source.data == {"a": {"b": 1}, "c": {"b": 1}}
    assert source.line(("c",)) == 3
    assert source.line(("c", "b")) == 2


def test_aliases_that_unfold_without_measure_are_refused() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 9):
        bomb += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    line, message = refused(bomb)
    assert "aliases" in message
    assert 4 <= line <= 6


def test_a_number_of_thousands_of_digits_is_text_and_no_crash() -> None:
    assert data(f"a: {'9' * 10_000}") == {"a": "9" * 10_000}


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:1-[]{}&*!|>'\"#,? \n\t~%@\x00é"), max_size=40))
def test_any_text_is_read_or_refused_and_never_raises(text: str) -> None:
    source, problems = parse_source(text, "a.yaml")
    assert (source is None) == bool(problems)
    assert all(1 <= problem.line <= text.count("\n") + 1 for problem in problems)
