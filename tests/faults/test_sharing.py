"""Two project homes on one number by mistake: whose statuses come, and how often Meta slows us down, says so."""

import json
from pathlib import Path

from typer.testing import CliRunner

from estafette.cli import app
from journey.pacing import slowed_below
from resources.sharing import OFTEN, sharing
from tests.stage import refused, status_value


def told(path: Path, *command: str) -> str:
    shown = CliRunner().invoke(app, ["--home", str(path), "--now", "2026-12-01T12:00:00Z", *command])
    return " ".join(shown.stdout.split())


def test_statuses_of_another_installation_are_told_with_the_number_that_it_sends_with(make_home):
    stage = make_home(contacts=1)
    stage.run()
    stage.send()
    for number in range(3):
        value = status_value(f"w{number}", "sent", stage.now, callback=f"estafette:0badc0de:1:{number}:7")
        stage.webhook(value, value)
    stage.status(1, "delivered").turn()
    assert sharing(stage.home) == {
        "main": [
            "another installation of Estafette (0badc0de) sends with its number: 3 statuses of its messages came here,"
            " the last at 2026-12-01 12:00 UTC"
        ]
    }
    assert "shared? another installation of Estafette (0badc0de)" in told(stage.path, "status")
    doctor = json.loads(CliRunner().invoke(app, ["--home", str(stage.path), "--json", "doctor"]).stdout)
    lines = [one for one in doctor["lines"] if "another installation" in one["found"]]
    stage.later(days=2)
    assert sharing(stage.home) == {}, "that was long ago"
    assert all(one["level"] == "warn" and "one project home" in one["mend"] for one in lines)


def test_our_own_statuses_of_any_epoch_and_those_of_no_estafette_tell_nothing(make_home):
    stage = make_home(contacts=1)
    stage.run()
    stage.send()
    own = stage.home.ledger.meta("installation")
    for callback in (f"estafette:{own}:7:1:5", "campaign 7", None, "estafette", "estafette::1:1:1"):
        stage.webhook(status_value(f"w{callback}", "sent", stage.now, callback=callback))
    stage.turn()
    assert sharing(stage.home) == {}


def test_being_asked_again_and_again_below_the_pace_is_strange_and_above_it_or_in_a_storm_is_not():
    count = 0
    for _ in range(OFTEN):  # with time to recover between, and never back at the configured pace
        count = slowed_below(count, 44.0, 80.0, 9.0)
    assert count == OFTEN
    assert slowed_below(count, 80.0, 80.0, 100.0) == count
    assert slowed_below(count, 44.0, 80.0, 1.0) == count, "one storm"
    assert slowed_below(count, 44.0, 80.0, 3_600.0) == 1, "that was long ago"
    assert slowed_below(0, 80.0, 80.0, None) == 0


def test_a_sender_that_meta_slows_down_below_its_pace_again_and_again_is_told(make_home):
    stage = make_home(contacts=30)
    stage.run()
    for _ in range(OFTEN):  # the first of them at the configured pace: that is how it finds out what Meta takes
        stage.wall += 7
        assert stage.send(refused(130429), want=1)
        assert sharing(stage.home) == {}
    stage.wall += 7
    stage.send(refused(130429), want=1)
    [what] = sharing(stage.home)["main"]
    assert what == ("Meta asked for slower sending 5 times although less than the configured 80 a second went out here")
    stage.wall += 600
    assert sharing(stage.home) == {}, "it has stopped"


def test_one_storm_of_130429_tells_nothing(make_home):
    stage = make_home(contacts=30)
    stage.run()
    for _ in range(20):
        stage.wall += 1
        stage.send(refused(130429), want=1)
    assert sharing(stage.home) == {}
