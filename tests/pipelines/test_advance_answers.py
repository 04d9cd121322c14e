"""Answers: who moves when, along which branch, by what people write back."""

import pytest

from tests.pipelines.test_advance_steps import BOUGHT, campaign, entered, standing
from tests.stage import unknown

ASKS = campaign(
    "  asks:\n    message: {template: order, language: fr}\n    on_reply:\n      within: 24h\n"
    '      answers: {"Oui, ça m’intéresse": reminder, "Non, merci": end}\n'
    "      other: last_call\n      silence: hello\n"
)


def asked(make_home, text=ASKS, people=1, outcome=None):
    stage = entered(make_home, text, people)
    stage.send(outcome)
    stage.turn()
    return stage


@pytest.mark.parametrize(
    "text, branch, to",
    [
        ("OUI, ÇA M'INTÉRESSE !", "Oui, ça m’intéresse", "reminder"),
        ("non, merci", "Non, merci", "end"),
        ("Qui êtes-vous ?", "other", "last_call"),
    ],
)
def test_who_answers_moves_as_soon_as_it_is_known_along_the_answer(make_home, text, branch, to):
    stage = asked(make_home)
    stage.later(hours=1).says("+33600000000", text).turn()
    assert stage.moves() == [("c0", "asks", branch, to)]


def test_who_says_nothing_moves_at_the_deadline(make_home):
    stage = asked(make_home)
    stage.later(hours=24, microseconds=-1).turn()
    assert standing(stage) == {"c0": "asks"}
    stage.later(microseconds=1).turn()
    assert stage.moves() == [("c0", "asks", "silence", "hello")]


def test_the_first_answer_by_time_decides_whatever_comes_in_first(make_home):
    stage = asked(make_home)
    stage.later(hours=2)
    later = stage.now
    stage.later(hours=1).says("+33600000000", "Non, merci", at=later)
    stage.says("+33600000000", "Oui, ça m’intéresse", at=later.replace(minute=0, hour=13)).turn()
    assert stage.moves() == [("c0", "asks", "Oui, ça m’intéresse", "reminder")]


def test_an_answer_after_the_deadline_is_none_even_if_nobody_has_moved_yet(make_home):
    stage = asked(make_home)
    stage.later(hours=24, seconds=1).says("+33600000000", "Non, merci").turn()
    assert stage.moves() == [("c0", "asks", "silence", "hello")]


def test_full_wait_keeps_who_answered_until_the_deadline(make_home):
    stage = asked(make_home, ASKS.replace("within: 24h", "within: 24h\n      full_wait: true"))
    stage.later(hours=1).says("+33600000000", "Non, merci").turn()
    assert standing(stage) == {"c0": "asks"}
    stage.later(hours=23).turn()
    assert stage.reasons() == {"end": 1}


def test_an_answer_to_an_unknown_message_shows_that_it_arrived(make_home):
    stage = asked(make_home, outcome=unknown)
    stage.later(hours=1).says("+33600000000", "Oui, ça m’intéresse").turn()
    assert standing(stage) == {"c0": "reminder"}


def test_the_wait_for_an_answer_runs_from_the_attempt_where_it_stayed_unknown(make_home):
    stage = asked(make_home, ASKS.replace("within: 24h", "within: 30h"), outcome=unknown)
    stage.later(hours=29).turn()
    assert standing(stage) == {"c0": "asks"}
    stage.later(hours=1).turn()
    assert standing(stage) == {"c0": "hello"}


def test_a_reaction_is_no_answer(make_home):
    stage = asked(make_home)
    stage.later(hours=1).webhook(
        {
            "contacts": [{"profile": {"name": "S"}, "wa_id": "33600000000"}],
            "messages": [
                {
                    "from": "33600000000",
                    "id": "wamid.r",
                    "timestamp": str(int(stage.now.timestamp())),
                    "type": "reaction",
                    "reaction": {"message_id": "wamid.1", "emoji": "👍"},
                }
            ],
        }
    ).turn()
    assert standing(stage) == {"c0": "asks"}


def test_an_answer_that_a_wait_asks_for_moves_and_another_does_not(make_home):
    stage = entered(make_home, BOUGHT, 2)
    stage.send()
    stage.turn()
    stage.later(hours=1).says("+33600000000", "yes!").says("+33600000001", "peut-être").turn()
    assert standing(stage) == {"c0": "reminder", "c1": "bought"}
