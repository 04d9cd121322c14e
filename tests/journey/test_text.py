"""Single spaces, cases, fallbacks and escaping, on a column."""

import json
import sys

import polars as pl
import pytest

from journey.text import by_distinct, json_escaped, percent_encoded, settled, single_spaces
from journey.words import Case


def settle(value: str | None, case: Case = Case.regular, fallback: str | None = None) -> str | None:
    text: str | None = pl.DataFrame({"x": pl.Series([value], dtype=pl.String)}).select(
        settled(pl.col("x"), case, fallback)
    )[0, 0]
    return text


@pytest.mark.parametrize(
    ("case", "value", "expected"),
    [
        (Case.CapitalizeFirst, "jean dupont", "Jean dupont"),
        (Case.CapitalizeAllFirst, "jean dupont", "Jean Dupont"),
        (Case.UPPERCASE, "jean dupont", "JEAN DUPONT"),
        (Case.lowercase, "JEAN DUPONT", "jean dupont"),
        (Case.regular, "jEAN dupont", "jEAN dupont"),
        (Case.CapitalizeAllFirst, "JEAN DUPONT", "JEAN DUPONT"),
        (Case.CapitalizeAllFirst, "élodie", "Élodie"),
        (Case.CapitalizeAllFirst, "e\u0301lodie", "E\u0301lodie"),
        (Case.CapitalizeAllFirst, "o'neil d'artagnan", "O'neil D'artagnan"),
        (Case.CapitalizeAllFirst, "l’été à paris", "L’été À Paris"),
        (Case.CapitalizeAllFirst, "jean-pierre", "Jean-pierre"),
        (Case.CapitalizeAllFirst, "mcDonald iPhone", "McDonald IPhone"),
        (Case.CapitalizeAllFirst, "ß ﬁona ǆ", "SS FIona Ǆ"),
        (Case.CapitalizeAllFirst, "123abc def", "123abc Def"),
        (Case.CapitalizeAllFirst, "a\u00a0b\u202fc", "A\u00a0B\u202fC"),
        (Case.CapitalizeAllFirst, "a\tb\n\nc", "A B C"),
        (Case.CapitalizeFirst, "  jean", " Jean"),
        (Case.CapitalizeAllFirst, " jean paul ", " Jean Paul "),
        (Case.CapitalizeFirst, "ß", "SS"),
        (Case.CapitalizeFirst, "istanbul", "Istanbul"),
        (Case.lowercase, "ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
        (Case.UPPERCASE, "straße", "STRASSE"),
        (Case.CapitalizeAllFirst, "مرحبا بك", "مرحبا بك"),
        (Case.CapitalizeAllFirst, "👩‍🚀 léa", "👩‍🚀 Léa"),
    ],
)
def test_a_case_changes_the_first_characters_of_words_or_the_whole_text(case: Case, value: str, expected: str) -> None:
    assert settle(value, case) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a\nb", "a b"),
        ("a\r\nb", "a b"),
        ("a\tb", "a b"),
        ("a     b", "a b"),
        ("a \u00a0 b", "a b"),
        ("a\u2028b\u0085c\x1cd", "a b c d"),
        ("20\u00a0%", "20\u00a0%"),
        ("東京\u3000大阪", "東京\u3000大阪"),
        ("\n a \n", " a "),
    ],
)
def test_breaks_and_runs_become_one_space_and_a_single_no_break_space_stays(value: str, expected: str) -> None:
    assert settle(value) == expected


def test_white_space_is_what_python_calls_so() -> None:
    characters = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF]
    doubled = pl.DataFrame({"x": [one * 2 for one in characters]}).select(single_spaces(pl.col("x")))["x"]

    assert [one for one, text in zip(characters, doubled, strict=True) if text == " "] == [
        one for one in characters if one.isspace()
    ]


@pytest.mark.parametrize("blank", [None, "", " ", "\n\t ", "\u00a0\u2003", "\u200b", "\ufeff \u202e", "\x1c"])
def test_a_blank_gives_way_to_the_fallback_as_written(blank: str | None) -> None:
    assert settle(blank, Case.UPPERCASE, "cher  client") == "cher  client"
    assert settle(blank) is None
    assert settle(blank, fallback=" ") is None
    assert settle(None, fallback=blank) is None


def test_what_can_be_seen_is_kept() -> None:
    assert settle("0", fallback="rien") == "0"
    assert settle(".", fallback="rien") == "."
    assert settle("👩‍🚀", fallback="rien") == "👩‍🚀"


def test_json_escapes_come_back_as_they_went_in() -> None:
    nasty = [chr(code) for code in range(160)] + [
        '\\"',
        "\\u0041",
        "\u2028\u2029",
        "\ufffe\uffff",
        "😀",
        "\u202e",
        "\\\\",
    ]
    escaped = pl.DataFrame({"x": nasty}).select(json_escaped(pl.col("x")))["x"]

    assert [json.loads(f'"{one}"') for one in escaped] == nasty


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("sku-1_2.3~4", "sku-1_2.3~4"),
        ("a b", "a%20b"),
        ("été", "%C3%A9t%C3%A9"),
        ("?q=1&r=2#top", "?q=1&r=2#top"),
        ("a/b:c@d[e]!$'()*+,;=", "a/b:c@d[e]!$'()*+,;="),
        ("20%", "20%25"),
        ("a%20b%zz%c3", "a%20b%25zz%c3"),
        ('<"{|}^`\\>', "%3C%22%7B%7C%7D%5E%60%5C%3E"),
        ("\x00\x7f", "%00%7F"),
        ("😀", "%F0%9F%98%80"),
        (None, None),
    ],
)
def test_only_what_is_not_legal_in_a_url_is_percent_encoded(value: str | None, expected: str | None) -> None:
    assert percent_encoded(pl.Series([value], dtype=pl.String)).to_list() == [expected]


@pytest.mark.parametrize("texts", [["a", "b", "c"], ["a", "a", None, "b", "a", None, "b", "a"], [None, None, None], []])
def test_each_row_gets_the_result_of_its_own_text(texts: list[str | None]) -> None:
    seen: list[int] = []

    def transform(values: pl.Series) -> pl.DataFrame:
        seen.append(len(values))
        return pl.DataFrame({"text": values.str.to_uppercase(), "length": values.str.len_chars()})

    result = by_distinct(pl.Series("x", texts, pl.String), transform)

    assert result["text"].to_list() == [None if one is None else one.upper() for one in texts]
    assert result["length"].to_list() == [None if one is None else len(one) for one in texts]
    assert seen[0] <= max(len(set(texts)) + 1, 1)
