"""Placeholders in braces, and braces that are meant."""

import pytest

from journey.braces import cut, names_in


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", [""]),
        ("Bonjour {name} !", ["Bonjour ", "name", " !"]),
        ("{a}{ b }", ["", "a", "", "b", ""]),
        ("{{name}} {{{name}}}", ["{name} {", "name", "}"]),
        ("{order.number}\n", ["", "order.number", "\n"]),
    ],
)
def test_a_text_is_cut_at_its_placeholders(text: str, pieces: list[str]) -> None:
    assert cut(text) == pieces


@pytest.mark.parametrize("text", ["{", "a } b", "{a", "a}", "{{a}", "{}", "{ }", "{a{b}}"])
def test_a_brace_that_stands_alone_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"brace|name"):
        cut(text)


def test_a_name_that_is_used_twice_is_one_name() -> None:
    assert names_in("{b} {a} {b}") == ("b", "a")
