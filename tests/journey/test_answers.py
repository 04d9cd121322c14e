"""What counts as the same answer; the form for frames says the same as the form for one."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journey.answers import answer_key, answer_keys, compared

KEYS = ["Oui, ça m’intéresse", "Non, merci", "En savoir plus", "?", "20 %"]


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ("Oui, ça m’intéresse", "Oui, ça m’intéresse"),
        ("  OUI, ÇA M'INTÉRESSE !  ", "Oui, ça m’intéresse"),
        ("oui, c\u0327a mʼinte\u0301resse\u202f!!\n", "Oui, ça m’intéresse"),
        ("oui, ça m`intéresse…", "Oui, ça m’intéresse"),
        ("\u200enon, merci.\u200b", "Non, merci"),
        ("Non merci", None),  # punctuation inside counts
        ("Non,  merci", None),  # and so do spaces
        ("oui, ca m'interesse", None),  # and accents
        ("?", "?"),
        ("!", None),
        ("20 %", "20 %"),
        ("20", None),
        ("", None),
        (" \u00a0", None),
    ],
)
def test_case_outer_spaces_apostrophes_and_final_punctuation_make_no_difference(said, key):
    assert answer_key(None, said, KEYS) == key
    assert answer_key(said, None, KEYS) == key


def test_the_payload_is_looked_at_before_the_text():
    assert answer_key("Non, merci", "En savoir plus", KEYS) == "Non, merci"
    assert answer_key("some-id", "En savoir plus", KEYS) == "En savoir plus"
    assert answer_key("some-id", None, KEYS) is None
    assert answer_key(None, None, KEYS) is None


def test_of_two_keys_that_are_the_same_the_first_counts():
    assert answer_key(None, "oui", ["Oui", "OUI !"]) == "Oui"


def test_nothing_said_is_no_answer_even_to_an_empty_key():
    assert answer_key("", " ", ["", "Oui"]) is None


texts = st.one_of(
    st.none(),
    st.text("ouiOUI'’ʼ`!?…. \u202fçÇ\u0327", max_size=8),
    st.sampled_from(KEYS),
    st.text(max_size=6),
)


@given(st.lists(st.tuples(texts, texts), max_size=12), st.lists(st.sampled_from([*KEYS, "oui", "Oui !", "ç"])))
def test_a_frame_of_answers_says_what_each_answer_says(rows, keys):
    payload = pl.Series("payload", [one for one, _ in rows], pl.String)
    text = pl.Series("text", [one for _, one in rows], pl.String)
    assert answer_keys(payload, text, keys).to_list() == [answer_key(*row, keys) for row in rows]


@given(st.text(max_size=12), st.sampled_from(["", " ", "\t", "\u00a0"]), st.sampled_from(["", ".", " !", "…", "?!"]))
def test_what_makes_no_difference_makes_none(text, space, mark):
    assert compared(compared(text)) == compared(text)
    if any(char.isalnum() for char in text):
        assert compared(f"{space}{text}{mark}{space}") == compared(text)
    assert compared(text.replace("'", "’")) == compared(text)
