"""What the command line says and does of limits: Meta's limit of people in 24 hours, and a number of low quality."""

import pytest

from journey import growth
from sandbox.config import Config
from sandbox.testing import running
from tests.estafette.conftest import NOW, TOKEN, write_env

CAMPAIGN = """
name: planned
sender: main
entries:
  - audience: {segment: everyone}
steps:
  hello:
    message: {template: autumn_last_call, language: fr, expires: %s}
"""
NEXT_DAY, DAY_AFTER = "2026-10-06T08:01:00Z", "2026-10-07T08:02:00Z"


@pytest.fixture
def small_box(home):
    """A sandbox whose account may write to 4 people a day."""
    with running(Config(port=0, token=TOKEN, now=NOW, rate=0, tier=4, quality_rating="YELLOW")) as box:
        write_env(home, box.url)
        yield box


def ten_people(cli, home, tmp_path, expires="4d"):
    (home / "campaigns" / "planned.yaml").write_text(CAMPAIGN % expires)
    (home / "segments" / "everyone.sql").write_text("SELECT contact_id FROM contacts ORDER BY contact_id\n")
    file = tmp_path / "people.csv"
    file.write_text("contact_id,phone,opted_in\n" + "".join(f"c{n},061234567{n},true\n" for n in range(10)))
    assert cli("import", str(file)).code == 0


def test_a_campaign_over_the_limit_goes_over_days_and_meta_never_has_to_refuse(cli, home, small_box, tmp_path):
    ten_people(cli, home, tmp_path)
    assert cli("tick").code == 0
    told = cli("plan", "planned", "--json").json["messaging_limit"]
    assert (told["people_in_24_hours"], told["needed"], told["days"], told["too_late"]) == (4, 10, 3, 0)
    found = cli("run", "planned", "--json").json
    assert found["accepted"] == 4
    assert sum(number for why, number in found["held"].items() if "messaging limit" in why) == 6
    assert "4 of 4 people in 24 hours; 6 messages wait for a place" in cli("status").out
    assert "4 people in 24 hours" in cli("doctor").out
    for now, sent in ((NEXT_DAY, 8), (DAY_AFTER, 10)):
        small_box.turn(to=now)
        assert cli("tick", now=now).code == 0
        assert len(small_box.accepted()) == sent
    assert {row["to"] for row in small_box.accepted()} == {f"+3361234567{n}" for n in range(10)}
    assert small_box.summary()["max_copies"]["per_person_and_template"] == 1
    refused = cli("query", "SELECT count(*) AS n FROM messages WHERE error_code IS NOT NULL", "--json").json["rows"]
    assert refused in ([[0]], [{"n": 0}])


def test_a_plan_says_who_would_wait_too_long(cli, home, small_box, tmp_path):
    ten_people(cli, home, tmp_path, expires="24h")
    assert cli("tick").code == 0
    found = cli("plan", "planned").out
    assert "4 people in 24 hours, 0 of them taken; 10 people are new: it goes over 3 days." in found
    assert "About 6 of them would be skipped (messaging_limit)" in found
    assert "expires: 3d" in found


def test_a_limit_that_meta_does_not_tell_is_said_to_be_unknown(cli, home):
    found = cli("doctor").out
    assert "not known, so that none is kept" in found


def test_doctor_status_and_resume_speak_of_a_number_of_low_quality(cli, home, tmp_path):
    with running(Config(port=0, token=TOKEN, now=NOW, rate=0, quality_rating="RED")) as box:
        write_env(home, box.url)
        ten_people(cli, home, tmp_path)
        found = cli("run", "planned", "--json").json
        assert found["accepted"] == 0
        assert any("bulk of main rests: Meta calls the number's quality RED" in why for why in found["held"])
        doctor = cli("doctor")
        assert doctor.code == 1
        assert "its bulk messages rest since" in doctor.out and "estafette resume --sender main" in doctor.out
        assert "bulk rests since" in cli("status").out
        assert "sends again" in cli("resume", "--sender", "main").out
        assert cli("tick").code == 0
        assert len(box.accepted()) == 10
        assert "rest since" not in cli("doctor").out, "the operator has said yes to this quality"


def test_a_test_message_takes_a_place_as_it_does_at_meta(cli, home, small_box, tmp_path):
    ten_people(cli, home, tmp_path)
    assert cli("tick").code == 0
    for _ in range(2):
        assert cli("test", "planned", "hello", "--to", "+33698765432").code == 0
    assert cli("run", "planned", "--json").json["accepted"] == 3
    assert small_box.summary()["refused"] == {}


def test_a_sudden_crowd_waits_for_a_yes_that_the_command_line_gives(cli, home, small_box, tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "LEAST", 5)
    (home / "campaigns" / "planned.yaml").write_text(CAMPAIGN % "4d")
    (home / "segments" / "everyone.sql").write_text("SELECT contact_id FROM contacts ORDER BY contact_id\n")

    def people(first, last):
        rows = "".join(f"c{n},0612345{n:03d},true\n" for n in range(first, last))
        file = tmp_path / f"people{first}.csv"
        file.write_text("contact_id,phone,opted_in\n" + rows)
        assert cli("import", str(file)).code == 0

    people(0, 1)
    assert cli("run", "planned", "--json").json["accepted"] == 1
    people(1, 12)
    refused = cli("run", "planned")
    assert "an audience of 12 is more than 10 times as large as usual (1" in refused.out + refused.err
    assert "estafette resume planned" in refused.out + refused.err
    assert refused.code == 1
    assert len(small_box.accepted()) == 1
    assert "10 times as large as usual" in " ".join(cli("status").out.split())
    assert cli("resume", "planned").code == 0
    assert cli("tick").code == 0
    assert len(small_box.accepted()) == 4  # as many as Meta allows in a day
