"""Clocks that jump, days on which they are set, schedules missed over a weekend, files changed with people inside."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from journey.clock import to_us
from journey.pacing import faster
from pipelines.sending import Sending, lane_jobs, open_lane
from pipelines.sensors import held_and_waiting
from resources.home import Home
from resources.ledger import LEASE_SECONDS, Ledger
from sandbox import Config
from sandbox.testing import Box, running
from tests.pipelines.sending_home import copies, open_home, plan_all, states, wait_for, write_home
from tests.stage import OFFER, person, refused

HOURS = 3 * 3600.0


@pytest.fixture
def box() -> Iterator[Box]:
    with running(Config(now="2026-12-01T10:00:00Z", rate=0, mode="silent")) as started:
        yield started


# -- leases ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[tuple[Ledger, list[float]]]:
    """A ledger and the wall that it goes by, in the test's hand."""
    wall = [1_800_000_000.0]
    opened = Ledger.open(tmp_path / "ledger.sqlite", lambda: wall[0])
    yield opened, wall
    opened.close()


def test_a_lease_of_the_dead_ends_in_time_although_the_clock_was_set_back(ledger) -> None:
    opened, wall = ledger
    assert opened.take("pass", "the dead")
    wall[0] -= HOURS
    assert opened.take("pass", "another") is None, "perhaps its holder is alive"
    wall[0] += LEASE_SECONDS + 1
    assert opened.take("pass", "another")


def test_whoever_is_alive_keeps_a_lease_over_a_clock_that_was_set_back(ledger) -> None:
    opened, wall = ledger
    lease = opened.take("pass", "alive")
    wall[0] -= HOURS
    for _ in range(5):
        assert opened.take("pass", "another") is None
        opened.renew(lease)
        wall[0] += LEASE_SECONDS / 3
    with opened.write(lease):
        pass


def test_nobody_takes_a_lease_by_looking_at_leases_but_the_sensors_let_it_end(make_home) -> None:
    class Instance:
        def get_runs_count(self, _: object) -> int:
            return 0

    stage = make_home()
    home = Home(stage.path, stage.home.clock, lambda: stage.wall)
    stage.wall -= HOURS
    assert held_and_waiting(home, Instance()) == (True, 0)
    stage.wall += LEASE_SECONDS + 1
    assert held_and_waiting(home, Instance()) == (False, 0)
    home.close()


def test_a_clock_that_is_set_forward_stops_a_lane_at_once_and_the_next_one_sends_the_rest(
    tmp_path: Path, box: Box
) -> None:
    assert _jump(tmp_path, box, HOURS) == "its lease ran out while the process slept"


def test_a_process_that_slept_through_its_lease_posts_nothing_although_the_clock_was_set_back_meanwhile(
    tmp_path: Path, box: Box
) -> None:
    path = write_home(tmp_path / "home", box.url, people=1)
    plan_all(path)
    home = open_home(path)
    home.reload()
    lane = open_lane(home, lane_jobs(home, "main")[0], threading.Event())
    assert lane is not None
    lane._renew()
    assert lane._may_post()
    assert lane._fence is not None
    lane._fence = (lane._fence[0] - LEASE_SECONDS, lane._fence[1] + HOURS)  # slept for the lease; the wall fell behind
    assert not lane._may_post()
    assert lane._ended(0) == "its lease ran out while the process slept"
    home.close()


def test_a_clock_that_is_set_back_keeps_a_lane_going(tmp_path: Path, box: Box) -> None:
    _jump(tmp_path, box, -HOURS)


def _jump(tmp_path: Path, box: Box, seconds: float) -> str:
    """The wall jumps in the middle of sending; whatever follows, nobody gets two and all get one. Gives why the first
    lane ended."""
    path = write_home(tmp_path / "home", box.url, people=120, pace=60)
    plan_all(path)
    off = [0.0]
    home = open_home(path)
    home.wall = lambda: time.time() + off[0]
    home.reload()
    box.faults({"kind": "error", "code": 131000, "next": 3}, {"kind": "storm_130429", "next": 1})
    with Sending(home, threading.Event()) as lanes:
        lanes.start()
        wait_for(lambda: lanes.reports[0].accepted >= 20)
        off[0] = seconds

        def over() -> bool:
            lanes.start()
            return states(path).get("accepted", 0) + states(path).get("unknown", 0) == 120

        wait_for(over)
        ended = lanes.reports[0].ended
    home.close()
    assert copies(box) == 1
    assert states(path).get("unknown", 0) <= 20
    return ended


# -- waits and pace on the wall ----------------------------------------------------------------------------------------


def test_what_was_to_be_tried_again_in_seconds_is_tried_again_although_the_clock_was_set_back(make_home):
    stage = make_home(contacts=1)
    stage.run()
    stage.send(refused(131000))
    assert stage.send() == [], "not yet"
    stage.wall -= HOURS
    assert len(stage.send()) == 1


def test_a_pace_that_was_lowered_comes_back_although_the_clock_was_set_back_and_can_be_lowered_again(make_home):
    assert faster(40.0, 80.0, -HOURS) == 80.0
    stage = make_home(contacts=5)
    stage.run()
    stage.send(refused(130429), want=1)
    assert stage.value("SELECT pace FROM sender") == 40.0
    stage.wall -= HOURS
    stage.send(refused(130429), want=1)
    assert stage.rows("SELECT pace, slowed_at FROM sender") == [(40.0, int(stage.wall * 1_000_000))]


# -- the campaign's clock ----------------------------------------------------------------------------------------------

EVERY_NIGHT = OFFER.replace(
    "{segment: everyone}", '{segment: everyone, when: {cron: "30 2 * * *", timezone: Europe/Paris, late: 2h}}'
).replace("steps:", "settings: {re_entry: always}\nsteps:")


@pytest.mark.parametrize(
    ("from_", "times"),
    [
        ("2026-03-28T22:00:00Z", ["2026-03-29T01:00", "2026-03-30T00:30"]),  # 02:30 is left out on the 29th
        ("2026-10-24T22:00:00Z", ["2026-10-25T00:30", "2026-10-26T01:30"]),  # 02:30 comes twice on the 25th
    ],
)
def test_over_a_night_in_which_clocks_are_set_a_schedule_fires_once_a_night(make_home, from_, times):
    stage = make_home(from_, campaigns=[EVERY_NIGHT], contacts=1)
    for _ in range(2):
        for _ in range(10):
            stage.turn()
            with stage.home.ledger.write() as tx:  # everyone is through by the next time
                tx.exec_driver_sql("UPDATE participant SET left_at = 1, state = 'ended' WHERE left_at IS NULL")
            stage.later(minutes=30)
        stage.later(hours=19)
    entered = [row["met_at"].strftime("%Y-%m-%dT%H:%M") for row in stage.lake("entries")]
    assert entered == times


def test_a_clock_that_goes_back_over_a_scheduled_time_fires_it_no_second_time(make_home):
    stage = make_home("2026-12-01T01:00:00Z", campaigns=[EVERY_NIGHT], contacts=1)
    stage.turn()
    stage.later(hours=1).turn()
    assert stage.outcomes() == {"entered": 1}
    stage.send()
    for _ in range(4):
        stage.later(minutes=-30).turn()
    for _ in range(6):
        stage.later(minutes=30).turn()
    assert stage.value("SELECT count(*) FROM occurrence") == 1
    assert stage.value("SELECT count(*) FROM message") == 1


@pytest.mark.parametrize(
    ("rule", "outcomes"),
    [
        ("late: 2h", {"too_late": 3}),
        ("late: 72h", {"entered": 3}),
        ('late: 72h, not_after: "2026-12-06 12:00"', {"too_late": 3}),
    ],
)
def test_of_a_schedule_that_was_missed_over_a_weekend_late_and_not_after_decide(make_home, rule, outcomes):
    when = f'when: {{at: "2026-12-05 10:00", {rule}}}'
    stage = make_home("2026-12-04T16:00:00Z", campaigns=[OFFER.replace("everyone}", f"everyone, {when}}}")])
    stage.turn()
    stage.at("2026-12-07T08:00:00Z").turn()  # nobody was there from Friday to Monday
    found = stage.outcomes()
    assert found == outcomes or (found == {} and "entered" not in outcomes)
    assert stage.states() == ({"planned": 3} if "entered" in outcomes else {})


def test_a_clock_that_leaps_ahead_and_is_set_right_again_sends_nobody_anything_twice_and_keeps_nobody_for_good(
    make_home,
):
    waits = f"{OFFER}    next: pause\n  pause: {{delay: {{for: 2d}}, next: reminder}}\n"
    stage = make_home(campaigns=[waits + "  reminder:\n    message: {template: reminder, language: fr}\n"])
    stage.run()
    stage.send()
    stage.turn()
    start = stage.now
    stage.later(days=3).turn()  # for a moment the machine believes so: the wait is over, and that can't be known better
    stage.send()
    assert stage.counts("message", "template") == {"hello": 3, "reminder": 3}
    stage.at(start.isoformat()).contacts([person(7)]).turn()
    stage.run()
    stage.send()
    for _ in range(5):
        stage.later(hours=20).turn()
        stage.send()
    assert stage.counts("message", "template") == {"hello": 4, "reminder": 4}
    assert stage.value("SELECT count(*) FROM participant WHERE left_at IS NULL AND step <> 'reminder'") == 0
    assert stage.states() == {"accepted": 8}


@pytest.mark.parametrize("day", ["2026-03-28", "2026-10-24"])
def test_a_wait_of_a_day_over_a_night_in_which_clocks_are_set_is_as_long_as_ever_and_a_time_of_day_is_by_the_clock(
    make_home, day
):
    waits = """
  pause: {delay: {for: 1d}, next: evening}
  evening: {delay: {until: "18:00"}, next: reminder}
  reminder:
    message: {template: reminder, language: fr}
"""
    stage = make_home(f"{day}T12:00:00Z", campaigns=[f"{OFFER}    next: pause{waits}"], contacts=1)
    stage.run()
    stage.send()
    stage.turn()
    arrived = stage.now
    stage.at((arrived + timedelta(days=1, seconds=-1)).isoformat()).turn()
    assert stage.value("SELECT step FROM participant") == "pause"
    stage.later(seconds=1).turn()
    assert stage.value("SELECT step FROM participant") == "evening"
    offset = 2 if day.startswith("2026-03") else 1  # of Paris, after the night
    evening = datetime.fromisoformat(day).replace(hour=18 - offset, tzinfo=UTC) + timedelta(days=1)
    assert stage.value("SELECT wake_at FROM participant") == to_us(evening)
    stage.at(evening.isoformat()).turn()
    assert stage.counts("message", "template") == {"hello": 1, "reminder": 1}


# -- files with people inside ------------------------------------------------------------------------------------------

WAITS = f"""{OFFER}    next: pause
  pause: {{delay: {{for: 2d}}, next: reminder}}
  reminder:
    message: {{template: reminder, language: fr}}
"""


@pytest.fixture
def inside(make_home):
    """Three people wait between two messages."""
    stage = make_home(campaigns=[WAITS])
    stage.run()
    stage.send()
    stage.turn()
    return stage


def test_whoever_is_inside_follows_the_file_as_it_is_when_their_wait_ends(inside):
    inside.campaign(WAITS.replace("template: reminder", "template: last_call"))
    inside.later(days=2).turn()
    assert inside.counts("message", "template") == {"hello": 3, "last_call": 3}


def test_a_file_that_was_deleted_keeps_its_people_and_goes_on_where_it_comes_back(inside):
    file = inside.path / "campaigns/offer.yaml"
    text = file.read_text()
    file.unlink()
    inside.reload().later(days=3).turn()
    assert inside.counts("message", "template") == {"hello": 3}
    assert inside.value("SELECT count(*) FROM participant WHERE left_at IS NULL") == 3
    file.write_text(text)
    inside.reload().turn()
    assert inside.counts("message", "template") == {"hello": 3, "reminder": 3}


def test_a_file_that_was_renamed_is_another_campaign_and_the_people_of_the_old_one_stay_where_they_are(inside):
    (inside.path / "campaigns/offer.yaml").unlink()
    inside.campaign(WAITS.replace("name: offer", "name: autumn"))
    inside.later(days=3).turn()
    assert inside.rows("SELECT campaign, count(*) FROM participant WHERE left_at IS NULL GROUP BY 1") == [("offer", 3)]
    inside.contacts([person(9)]).turn()
    inside.run("autumn")
    assert inside.value("SELECT count(*) FROM participant WHERE campaign = 'autumn'") == 4
    assert inside.value("SELECT max(planned_at) FROM message WHERE campaign = 'offer'") < to_us(
        inside.now - timedelta(days=1)
    )


def test_what_is_planned_when_a_file_is_deleted_waits_for_it_and_goes_out_when_it_is_back(make_home):
    stage = make_home()
    stage.run()
    file = stage.path / "campaigns/offer.yaml"
    text = file.read_text()
    file.unlink()
    stage.reload().turn()
    assert stage.send() == []
    assert stage.states() == {"planned": 3}
    file.write_text(text)
    stage.reload().turn()
    assert len(stage.send()) == 3
