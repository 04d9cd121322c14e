"""Stop words: the whole of what a person wrote, whatever its case, accents and punctuation."""

import pytest

from journey.stop_words import is_one_of

WORDS = ["STOP", "ARRET", "UNSUBSCRIBE", "NE PLUS RECEVOIR"]


DRESSED = [
    "STOP",
    "stop",
    " Stop. ",
    "«Stop !»",
    "ARRÊT",
    "arrêt",
    "Arre\u0302t",
    "ＳＴＯＰ",
    "s.t.o.p",
    "ne plus  recevoir",
]


@pytest.mark.parametrize("text", DRESSED)
def test_a_stop_word_is_known_in_any_dress(text):
    assert is_one_of([text], WORDS)


@pytest.mark.parametrize("text", ["stop it", "non-stop", "je ne dis pas stop", "", "  ", "!!!", "stopp", "👋"])
def test_a_stop_word_is_the_whole_message(text):
    assert not is_one_of([text], WORDS)


def test_the_text_or_the_payload_of_a_button_counts():
    assert is_one_of([None, "STOP"], WORDS)
    assert is_one_of(["Se désinscrire", "unsubscribe"], WORDS)
    assert not is_one_of([None, None], WORDS)


def test_a_list_with_blank_words_stops_nobody():
    assert not is_one_of(["", "!", None], ["", "…"])
