"""Meta's words about a number: how many people it may write to, and whether bulk should rest."""

import pytest

from journey.messaging_limit import NO_LIMIT, days, people, show, worry


@pytest.mark.parametrize(
    ("word", "limit"),
    [
        ("TIER_50", 50),
        ("TIER_250", 250),
        ("TIER_1K", 1_000),
        ("TIER_2K", 2_000),
        ("TIER_10K", 10_000),
        ("TIER_100K", 100_000),
        ("TIER_UNLIMITED", NO_LIMIT),
        ("-1", NO_LIMIT),
        (2000, 2_000),
        ("2000", 2_000),
        ("10k", 10_000),
        ("unlimited", NO_LIMIT),
        ("TIER_NOT_SET", None),
        ("", None),
        (None, None),
        ("TIER_-3", None),
        ("many", None),
    ],
)
def test_a_tier_is_a_number_of_people(word, limit):
    assert people(word) == limit


def test_a_limit_is_said_in_words():
    assert [show(one) for one in (None, NO_LIMIT, 2000)] == ["not known", "no limit", "2,000 people in 24 hours"]


@pytest.mark.parametrize(
    ("needed", "room", "expected"),
    [(100, 250, 1), (250, 250, 1), (251, 250, 2), (500, 250, 2), (501, 250, 3), (10, 0, 2), (600, -20, 4)],
)
def test_what_the_limit_makes_of_a_campaign(needed, room, expected):
    assert days(needed, room, 250) == expected


@pytest.mark.parametrize(
    ("quality", "status", "rests"),
    [
        ("GREEN", "CONNECTED", False),
        ("YELLOW", "CONNECTED", False),
        ("RED", "CONNECTED", True),
        ("GREEN", "FLAGGED", True),
        ("GREEN", "RESTRICTED", True),
        ("NA", None, False),
        (None, "UNFLAGGED", False),
    ],
)
def test_bulk_rests_while_meta_thinks_little_of_the_number(quality, status, rests):
    assert (worry(quality, status) is not None) == rests
