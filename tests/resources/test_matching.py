"""Matching: the conditions of events and contacts mean what they mean in segments."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import pytest

from journey.conditions import Clock, Condition, Operator
from resources.matching import key_texts, matching, matching_each, meeting

PARIS = ZoneInfo("Europe/Paris")
CLOCK = Clock(datetime(2026, 12, 1, 12, tzinfo=UTC), PARIS)


def events(*properties):
    texts = [None if one is None else msgspec.json.encode(one).decode() for one in properties]
    return pl.DataFrame({"event_id": [str(n) for n in range(len(texts))], "properties": texts})


def where(**conditions):
    return {
        name.replace("__", "."): Condition(*one) if isinstance(one, tuple) else Condition(Operator.is_, one)
        for name, one in conditions.items()
    }


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        (where(status="Ready for pickup"), [True, False, False, False]),
        (where(status=(Operator.is_not, "Ready for pickup")), [False, True, True, True]),
        (where(amount=(Operator.at_least, 20)), [True, True, False, False]),
        (where(order__number="A1"), [False, True, False, False]),
        (where(at=(Operator.before, "2026-12-01")), [True, False, False, False]),
        (where(status=(Operator.exists, False)), [False, False, True, True]),
        (where(paid=True, amount=20), [True, False, False, False]),
        (where(tags=(Operator.contains, "vip")), [False, True, False, False]),
        ({}, [True, True, True, True]),
    ],
)
def test_conditions_on_properties(conditions, expected):
    rows = events(
        {"status": "Ready for pickup", "amount": 20, "paid": True, "at": "2026-11-30T23:59:59+01:00"},
        {"status": "Lost", "amount": "21.5", "order": {"number": "A1"}, "tags": ["vip"], "at": "2026-12-01"},
        {"amount": "many", "status": None},
        None,
    )
    assert matching(rows, conditions, CLOCK).to_list() == expected


def test_a_time_without_a_zone_is_in_the_settings_zone():
    rows = events({"at": "2026-12-01 00:30"}, {"at": "2026-11-30T23:30:00Z"}, {"at": "2026-11-30T22:30:00Z"})
    after = where(at=(Operator.at_least, "2026-12-01"))
    assert matching(rows, after, CLOCK).to_list() == [True, True, False]
    new_york = Clock(CLOCK.now, ZoneInfo("America/New_York"))
    assert matching(rows, after, new_york).to_list() == [True, False, False]


def test_several_questions_are_answered_in_their_order():
    rows = events({"a": 1}, {"a": 2}, {"b": "x"})
    answers = matching_each(rows, [where(a=1), {}, where(b="x"), where(a=(Operator.more_than, 1))], CLOCK)
    assert [one.to_list() for one in answers] == [
        [True, False, False], [True, True, True], [False, False, True], [False, True, False],
    ]  # fmt: skip


def test_no_rows_match_nothing():
    assert matching(events(), where(a=1), CLOCK).to_list() == []
    assert key_texts(events(), "a").to_list() == []


def test_many_rows_keep_their_order():
    rows = events(*({"n": n} for n in range(50_000)))
    found = matching(rows, where(n=(Operator.at_least, 49_990)), CLOCK)
    assert found.arg_true().to_list() == list(range(49_990, 50_000))


def test_conditions_on_the_columns_of_contacts():
    people = pl.DataFrame(
        {
            "contact_id": ["a", "b", "c"],
            "Country": ["FR", "BE", None],
            "born": [date(1990, 1, 1), None, date(2000, 1, 1)],
        }
    )
    kinds = {"contact_id": "text", "Country": "text", "born": "date"}
    assert meeting(people, where(country="FR"), kinds, CLOCK).to_list() == [True, False, False]
    assert meeting(people, where(born=(Operator.before, "1995-01-01")), kinds, CLOCK).to_list() == [True, False, False]
    assert meeting(people, where(nothing=(Operator.exists, False)), kinds, CLOCK).to_list() == [True, True, True]
    both = where(country=(Operator.is_not, "FR"), nothing="x")
    assert meeting(people, both, kinds, CLOCK).to_list() == [False, False, False]


def test_the_text_of_a_key():
    rows = events({"n": "A-1"}, {"n": 17}, {"n": True}, {"n": 1.5}, {"n": " "}, {"n": None}, {}, None, {"n": " A "})
    assert key_texts(rows, "n").to_list() == ["A-1", "17", "true", "1.5", None, None, None, None, " A "]
    assert key_texts(events({"order": {"number": 7}}, {"order.number": "x"}), "order.number").to_list() == ["7", "x"]
