"""What Meta says of our numbers: limits and quality, in the order of its own times."""

from datetime import timedelta

import pytest

from journey.clock import to_us
from journey.messaging_limit import NO_LIMIT
from resources.cloud_api import PhoneNumber
from resources.numbers import ASK, ASK_AGAIN, ASK_RESTING, note_number, note_silence, to_ask
from resources.stopping import resume_sender
from tests.stage import NOON, SETTINGS

WABA = "102290129340398"
OTHER = SETTINGS.replace(
    "consent:",
    '  second: {phone_number_id: "206540352242922", waba_id: "102290129340398"}\n'
    '  elsewhere: {phone_number_id: "306540352242922", waba_id: "999999999999999"}\n'
    "consent:",
).replace("  second", "  second", 1)


def says(stage, field, value, at=NOON):
    """A webhook about numbers, of Meta's time `at`."""
    body = {"object": "whatsapp_business_account"}
    body["entry"] = [{"id": WABA, "time": int(at.timestamp()), "changes": [{"field": field, "value": value}]}]
    import json

    with (stage.path / "landing/webhooks/numbers.ndjson").open("a") as log:
        log.write(json.dumps(body) + "\n")
    return stage.turn()


def number(**said):
    return PhoneNumber(id="1", **{"quality": "GREEN", "status": "CONNECTED", **said})


def answers(stage, name="main", **said):
    """Meta is asked, and answers."""
    with stage.home.ledger.write() as tx:
        note_number(tx, name, number(**said), stage.us, int(stage.wall * 1_000_000))


def limits(stage):
    return dict(stage.rows("SELECT name, messaging_limit FROM sender"))


def resting(stage):
    return dict(stage.rows("SELECT name, paused_why FROM sender WHERE paused_at IS NOT NULL"))


# -- the limit ---------------------------------------------------------------------------------------------------------


def test_what_meta_answers_is_kept_with_when_it_was_said(make_home):
    stage = make_home()
    answers(stage, messaging_limit="TIER_2K", display_phone_number="+33 6 00 00 00 99")
    assert stage.rows("SELECT messaging_limit, limit_at, display_phone, quality FROM sender") == [
        (2_000, stage.us, "33600000099", "GREEN")
    ]
    answers(stage, messaging_limit="TIER_NOT_SET")
    assert limits(stage) == {"main": 2_000}, "what says nothing takes nothing back"


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    [
        ("business_capability_update", {"max_daily_conversations_per_business": "TIER_10K"}, 10_000),
        ("business_capability_update", {"max_daily_conversations_per_business": 2000}, 2_000),
        ("business_capability_update", {"max_daily_conversation_per_phone": 1000}, 1_000),
        ("phone_number_quality_update", {"event": "UPGRADE", "current_limit": "TIER_UNLIMITED"}, NO_LIMIT),
    ],
)
def test_webhooks_tell_the_limit_of_an_account(make_home, field, value, limit):
    stage = make_home(settings=OTHER)
    says(stage, field, value)
    assert limits(stage) == {"main": limit, "second": limit, "elsewhere": None}


def test_a_limit_of_one_number_is_that_numbers(make_home):
    stage = make_home(settings=OTHER)
    answers(stage, "main", display_phone_number="+1 555 0001", messaging_limit="TIER_10K")
    answers(stage, "second", display_phone_number="+1 555 0002", messaging_limit="TIER_10K")
    update = {"display_phone_number": "15550002", "event": "DOWNGRADE", "current_limit": "TIER_2K"}
    says(stage, "phone_number_quality_update", update)
    assert limits(stage) == {"main": 10_000, "second": 2_000, "elsewhere": None}


def test_a_limit_that_comes_late_or_twice_changes_nothing(make_home):
    stage = make_home()
    for limit, hour in (("TIER_10K", 2), ("TIER_2K", 1), ("TIER_250", 0), ("TIER_2K", 1)):
        news = {"max_daily_conversations_per_business": limit}
        says(stage.at(NOON + timedelta(hours=3)), "business_capability_update", news, NOON + timedelta(hours=hour))
    assert limits(stage) == {"main": 10_000}


def test_another_number_begins_without_a_word_of_meta(make_home):
    stage = make_home()
    answers(stage, messaging_limit="TIER_2K", quality="RED")
    (stage.path / "estafette.yaml").write_text(SETTINGS.replace("106540352242922", "777"))
    stage.reload()
    assert limits(stage) == {"main": None}
    assert resting(stage) == {}


# -- quality -----------------------------------------------------------------------------------------------------------

FLAGGED = {"display_phone_number": "1", "event": "FLAGGED", "current_limit": "TIER_10K"}
WELL = {**FLAGGED, "event": "UNFLAGGED"}


def test_a_flagged_number_rests_its_bulk_until_it_is_well_again(make_home):
    stage = make_home()
    says(stage, "phone_number_quality_update", FLAGGED)
    assert "flagged" in resting(stage)["main"]
    says(stage.later(minutes=1), "phone_number_quality_update", WELL, NOON + timedelta(seconds=1))
    assert resting(stage) == {}


def test_news_in_another_order_leave_the_same(make_home):
    stage = make_home()
    stage.at(NOON + timedelta(hours=1))
    says(stage, "phone_number_quality_update", WELL, NOON + timedelta(minutes=5))
    says(stage, "phone_number_quality_update", FLAGGED, NOON)
    says(stage, "phone_number_quality_update", FLAGGED, NOON)
    assert resting(stage) == {}


@pytest.mark.parametrize(("said", "rests"), [({"quality": "RED"}, True), ({"status": "RESTRICTED"}, True), ({}, False)])
def test_what_meta_answers_rests_bulk_too(make_home, said, rests):
    stage = make_home()
    answers(stage, **said)
    assert (resting(stage) != {}) == rests
    answers(stage.later(hours=1))
    assert resting(stage) == {}


def test_an_operator_says_yes_to_what_is_and_not_to_what_comes(make_home):
    stage = make_home()
    answers(stage, quality="RED")
    assert resume_sender(stage.home.ledger, "main")
    answers(stage.later(hours=1), quality="RED")
    assert resting(stage) == {}
    answers(stage.later(hours=1), quality="RED", status="RESTRICTED")
    assert "restricted" in resting(stage)["main"]
    answers(stage.later(hours=1))
    answers(stage.later(hours=1), quality="RED")
    assert resting(stage) != {}, "it was well meanwhile"
    assert resume_sender(stage.home.ledger, "main")
    assert not resume_sender(stage.home.ledger, "main")


def test_a_restricted_account_rests_all_its_numbers_until_then_whatever_the_numbers_are(make_home):
    stage = make_home(settings=OTHER)
    until = NOON + timedelta(days=3)
    info = [{"restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING", "expiration": str(int(until.timestamp()))}]
    says(stage, "account_update", {"event": "ACCOUNT_RESTRICTION", "restriction_info": info})
    assert set(resting(stage)) == {"main", "second"}
    answers(stage.later(hours=1))
    stage.turn()
    assert set(resting(stage)) == {"main", "second"}
    stage.at(until).turn()
    assert resting(stage) == {}
    assert stage.value("SELECT paused_until FROM sender WHERE name = 'main'") is None
    assert to_us(until) == stage.us


def test_a_restriction_of_something_else_rests_nothing(make_home):
    stage = make_home()
    info = [{"restriction_type": "RESTRICTED_ADD_PHONE_NUMBER_ACTION", "expiration": "1999999999"}]
    says(stage, "account_update", {"event": "ACCOUNT_RESTRICTION", "restriction_info": info})
    assert resting(stage) == {}


# -- when Meta is asked ------------------------------------------------------------------------------------------------


def test_meta_is_asked_now_and_then_and_more_often_while_bulk_rests(make_home):
    stage = make_home()
    wall = int(stage.wall * 1_000_000)

    def asks(after):
        with stage.home.ledger.read() as tx:
            return to_ask(tx, ["main"], wall + after) == ["main"]

    assert asks(0), "it was never asked"
    answers(stage)
    assert not asks(ASK - 1)
    assert asks(ASK)
    answers(stage, quality="RED")
    assert not asks(ASK_RESTING - 1)
    assert asks(ASK_RESTING)
    with stage.home.ledger.write() as tx:
        note_silence(tx, "main", wall)
    assert not asks(ASK_AGAIN - 1)
    assert asks(ASK_AGAIN)
