"""Media that can't be fetched holds its messages; what never can be skips them."""

from datetime import timedelta

import polars as pl
import pytest

from pipelines.media import still_unreachable
from tests.media_server import Page, media_server
from tests.stage import OFFER, SETTINGS, Stage, person, template

PICTURE = OFFER.replace("template: hello, language: fr}", "template: picture, language: fr, header: {image: %s}}")
CHECKED = SETTINGS.replace("media: {check: false}", "media: {check: true, allow_private: true}")
PUBLIC_ONLY = SETTINGS.replace("media: {check: false}", "media: {check: true}")


@pytest.fixture
def server():
    with media_server() as made:
        made.pages["/good.jpg"] = Page()
        yield made


def messages(stage):
    return stage.rows("SELECT contact_id, state, held_why FROM message ORDER BY contact_id")


def test_who_has_a_picture_that_is_there_gets_it_and_the_others_wait(make_home, server):
    pictures = [f"{server.url}/good.jpg", f"{server.url}/gone.jpg", f"{server.url}/good.jpg"]
    people = [person(n, picture=url) for n, url in enumerate(pictures)]
    stage = make_home(campaigns=[PICTURE % "{user: picture}"], contacts=people, settings=CHECKED)
    stage.run()
    assert messages(stage) == [
        ("c0", "planned", None), ("c1", "held", "media_unreachable"), ("c2", "planned", None)
    ]  # fmt: skip
    assert sorted({path for _, path, _ in server.asked}) == ["/gone.jpg", "/good.jpg"]
    assert len([path for _, path, _ in server.asked if path == "/good.jpg"]) == 1
    assert [one.id for one in stage.send()] == [1, 3]


def test_a_picture_in_a_private_network_skips_at_once_and_says_where(make_home, server):
    stage = make_home(campaigns=[PICTURE % f'"{server.url}/good.jpg"'], contacts=2, settings=PUBLIC_ONLY)
    stage.run()
    ((reason, detail), _) = stage.rows("SELECT reason, detail FROM skip")
    assert reason == "media_unreachable"
    assert f"{server.url}/good.jpg: 127.0.0.1 is in a private network" in detail
    assert server.asked == []


def test_nothing_is_asked_where_the_check_is_off(make_home, server):
    stage = make_home(campaigns=[PICTURE % f'"{server.url}/gone.jpg"'], contacts=2)
    stage.run()
    assert stage.states() == {"planned": 2}
    assert server.asked == []


def test_who_would_get_nothing_anyway_costs_no_look(make_home, server):
    people = [person(0, opted_in="false", picture=f"{server.url}/gone.jpg")]
    stage = make_home(campaigns=[PICTURE % "{user: picture}"], contacts=people, settings=CHECKED)
    stage.run()
    assert stage.skips() == {"not_opted_in": 1}
    assert server.asked == []


def test_a_message_that_waits_for_its_template_says_so_whatever_its_picture(make_home, server):
    picture = template("picture", header={"type": "HEADER", "format": "IMAGE"}, status="PAUSED")
    text = PICTURE % f'"{server.url}/gone.jpg"'
    stage = make_home(campaigns=[text], contacts=1, settings=CHECKED, templates=[picture])
    stage.run()
    assert messages(stage) == [("c0", "held", "template_not_approved")]


def test_planned_messages_tell_which_of_them_still_have_no_picture(make_home, server):
    pictures = [f"{server.url}/gone.jpg?é={n}" for n in range(3)]
    people = [person(n, picture=url) for n, url in enumerate(pictures)]
    stage = make_home(campaigns=[PICTURE % "{user: picture}"], contacts=people, settings=CHECKED)
    stage.run()
    assert stage.states() == {"held": 3}
    held = stage.home.ledger.frame(
        "SELECT id, body_file, body_row FROM message ORDER BY id DESC",
        {"id": pl.Int64, "body_file": pl.Int64, "body_row": pl.Int64},
    )
    server.pages["/gone.jpg?%C3%A9=1"] = Page()
    stage.later(minutes=2)
    found = still_unreachable(stage.home, held)
    assert found["id"].to_list() == [3, 1]
    assert found["detail"][1] == f"{server.url}/gone.jpg?%C3%A9=0: its server answers HTTP 404"
    assert not found["private"].any()
    assert still_unreachable(stage.home, held.clear()).is_empty()


def test_a_message_without_media_is_never_unreachable(make_home):
    stage = make_home(contacts=1, settings=CHECKED)
    stage.run()
    schema = {"id": pl.Int64, "body_file": pl.Int64, "body_row": pl.Int64}
    planned = stage.home.ledger.frame("SELECT id, body_file, body_row FROM message", schema)
    assert still_unreachable(stage.home, planned).is_empty()


def test_the_next_pass_looks_again_however_short_the_wait_where_the_clock_is_turned(make_home, server):
    first = make_home(campaigns=[PICTURE % f'"{server.url}/late.jpg"'], contacts=1, settings=CHECKED)
    first.run()
    assert messages(first) == [("c0", "held", "media_unreachable")]
    server.pages["/late.jpg"] = Page()
    later = Stage(first.path, first.now + timedelta(hours=1))
    later.wall = first.wall + 3  # seconds of real time lie between two commands
    later.turn()
    assert [one.id for one in later.send()] == [1]
    later.home.close()
