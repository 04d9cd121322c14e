"""Two project homes on one number by mistake: whose statuses come, and how often Meta slows us down, says so."""

import json
import re
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

from estafette.cli import app
from journey.pacing import slowed_below
from pipelines.run import run_pass
from resources.sharing import OFTEN, sharing
from sandbox import Config
from sandbox.testing import Box
from tests.faults.killing import FORKS, MIX, answers, free_port, gateway, lanes_only
from tests.pipelines.sending_home import NOW, open_home, plan_all, process, sql, wait_for, write_home
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
    assert sharing(stage.home, stage.home.project.settings.senders) == {
        "main": [
            "another installation of Estafette (0badc0de) sends with its number: 3 statuses of its messages came here,"
            " the last at 2026-12-01 12:00 UTC"
        ]
    }
    assert "shared? another installation of Estafette (0badc0de)" in told(stage.path, "status")
    doctor = json.loads(CliRunner().invoke(app, ["--home", str(stage.path), "--json", "doctor"]).stdout)
    lines = [one for one in doctor["lines"] if "another installation" in one["found"]]
    stage.later(days=2)
    assert sharing(stage.home, stage.home.project.settings.senders) == {}, "that was long ago"
    assert all(one["level"] == "warn" and "one project home" in one["mend"] for one in lines)


def test_our_own_statuses_of_any_epoch_and_those_of_no_estafette_tell_nothing(make_home):
    stage = make_home(contacts=1)
    stage.run()
    stage.send()
    own = stage.home.ledger.meta("installation")
    for callback in (f"estafette:{own}:7:1:5", "campaign 7", None, "estafette", "estafette::1:1:1"):
        stage.webhook(status_value(f"w{callback}", "sent", stage.now, callback=callback))
    stage.turn()
    assert sharing(stage.home, stage.home.project.settings.senders) == {}


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
        assert sharing(stage.home, stage.home.project.settings.senders) == {}
    stage.wall += 7
    stage.send(refused(130429), want=1)
    [what] = sharing(stage.home, stage.home.project.settings.senders)["main"]
    assert what == ("Meta asked for slower sending 5 times although less than the configured 80 a second went out here")
    stage.wall += 600
    assert sharing(stage.home, stage.home.project.settings.senders) == {}, "it has stopped"


def test_one_storm_of_130429_tells_nothing(make_home):
    stage = make_home(contacts=30)
    stage.run()
    for _ in range(20):
        stage.wall += 1
        stage.send(refused(130429), want=1)
    assert sharing(stage.home, stage.home.project.settings.senders) == {}


# -- two homes at work -------------------------------------------------------------------------------------------------

RATE = 20  # what the number takes a second, and what each home believes to have alone
WINDOW = 15.0  # seconds: how long more than the rate may be asked of Meta


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_homes_that_send_with_one_number_keep_to_its_rate_and_each_is_told(tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as stack:
        server = stack.enter_context(
            process(
                "-m", "sandbox", "--port", "0", "--rate", str(RATE), "--now", NOW.isoformat(), "--mix", json.dumps(MIX),
                "--callback", f"http://127.0.0.1:{port}/webhooks/whatsapp", "--batch", "20",
            )
        )  # fmt: skip
        assert server.stdout is not None
        url = re.search(r"http\S+", server.stdout.readline())
        assert url is not None
        box = Box(url[0], Config())
        stack.callback(box.http.close)
        homes = [write_home(tmp_path / name, box.url, people=3_000, pace=RATE) for name in ("one", "two")]
        for home in homes:
            plan_all(home)
        # Meta tells a number's statuses to one address: the first home hears of both's messages.
        door = FORKS.Process(target=gateway, args=(homes[0], port))
        door.start()
        stack.callback(door.join)
        stack.callback(door.kill)
        wait_for(lambda: answers(port))
        at_work = [FORKS.Process(target=lanes_only, args=(home, ("main",))) for home in homes]
        for one in at_work:
            one.start()
            stack.callback(one.join)
            stack.callback(one.kill)
        wait_for(lambda: box.summary()["requests"], 300)
        asked: list[tuple[float, int]] = []
        told: set[Path] = set()
        deadline = time.monotonic() + 600
        while len(told) < 2 and time.monotonic() < deadline:
            time.sleep(1)
            asked.append((time.monotonic(), int(box.summary()["requests"])))
            for home in homes:
                opened = open_home(home)
                if any(
                    "slower sending" in one for one in sharing(opened, opened.project.settings.senders).get("main", [])
                ):
                    told.add(home)
                opened.close()
        assert told == set(homes), "Meta asked both for slower sending, again and again"
        began = next(number for number, (at, _) in enumerate(asked) if at > asked[0][0] + WINDOW)
        (start, before), (end, after) = asked[began], asked[-1]
        assert after - before <= 1.35 * RATE * (end - start), "two that asked for all of it would be at twice the rate"
        shown = told_by(homes[1], "status")
        assert "shared? Meta asked for slower sending" in shown and "one project home" in shown
        doctor = json.loads(CliRunner().invoke(app, ["--home", str(homes[1]), "--json", "doctor"]).stdout)
        assert [one for one in doctor["lines"] if "slower sending" in one["found"] and one["level"] == "warn"]
        for one in at_work:
            one.kill()
            one.join()
        box.drain(60)
        sql(homes[0], "UPDATE lease SET until = 0")
        sql(homes[0], "UPDATE sender SET stopped_at = 1, stopped_why = 'a test'")  # statuses only
        run_pass(homes[0], NOW)
        assert "another installation of Estafette" in told_by(homes[0], "status")


def told_by(home: Path, *command: str) -> str:
    shown = CliRunner().invoke(app, ["--home", str(home), "--now", NOW.isoformat(), *command])
    return " ".join(shown.stdout.split())
