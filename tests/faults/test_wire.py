"""A bad wire, and a Meta that refuses: what becomes of each message, what the operator is told, and how it goes on."""

import functools
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from estafette.cli import app
from journey.pacing import RECOVER_SECONDS
from resources.posting import Sender
from resources.stopping import resume_campaign, resume_sender
from sandbox import Config
from sandbox.testing import Box, running
from tests.pipelines.sending_home import (
    NOW,
    copies,
    open_home,
    plan_all,
    send,
    sending,
    sql,
    states,
    wait_for,
    write_home,
)


@pytest.fixture
def box() -> Iterator[Box]:
    with running(Config(now="2026-12-01T10:00:00Z", rate=0, mode="silent")) as started:
        yield started


@pytest.fixture
def home(tmp_path: Path, box: Box) -> Path:
    path = write_home(tmp_path / "home", box.url, people=12, pace=200)
    plan_all(path)
    return path


def told(home: Path, *command: str) -> str:
    """What a command prints for people, in one line."""
    shown = CliRunner().invoke(app, ["--home", str(home), "--now", NOW.isoformat(), *command])
    return " ".join(shown.stdout.split())


def send_again(home: Path) -> None:
    """Lanes once more, as soon as the last ones have left their second behind them."""
    opened = open_home(home)
    wait_for(lambda: not opened.ledger.leases())
    opened.close()
    send(home)


@pytest.mark.parametrize(
    ("kind", "accepted"),
    [("nonsense", 9), ("nonsense_after_accept", 12), ("cut_after_accept", 12), ("drip_after_accept", 12)],
)
def test_an_answer_of_200_that_is_none_leaves_its_message_unknown_and_is_not_sent_again(
    home: Path, box: Box, monkeypatch: pytest.MonkeyPatch, kind: str, accepted: int
) -> None:
    monkeypatch.setattr("resources.home.Poster", functools.partial(Sender, timeout=1.0))
    box.faults({"kind": kind, "next": 3, "ms": 30_000})
    send(home)
    send_again(home)
    assert states(home) == {"accepted": 9, "unknown": 3}
    assert len(box.accepted()) == accepted
    assert copies(box) == 1


def test_an_answer_that_drips_in_time_is_an_answer(home: Path, box: Box) -> None:
    box.faults({"kind": "drip_after_accept", "ms": 500})
    send(home)
    assert states(home) == {"accepted": 12}


def test_a_wire_of_every_fault_at_once_sends_nobody_two_and_loses_nobody(tmp_path: Path, box: Box) -> None:
    home = write_home(tmp_path / "home", box.url, people=150, pace=200)
    plan_all(home)
    after = ("timeout_after_accept", "reset_after", "5xx_after_accept", "html_after_accept", "cut_after_accept")
    before = ("reset_before", "5xx", "html", "nonsense")
    box.faults(*[{"kind": kind, "probability": 0.05, "ms": 300} for kind in (*after, *before)])
    box.faults({"kind": "storm_130429", "probability": 0.05}, {"kind": "error", "code": 131056, "probability": 0.03})
    with sending(home, threading.Event()) as lanes:
        wait_for(lambda: not lanes.busy())
    box.clear_faults()
    sql(home, "UPDATE message SET not_before = 0")
    send_again(home)
    found = states(home)
    assert set(found) == {"accepted", "unknown"}
    assert copies(box) == 1
    in_doubt = {phone for (phone,) in sql(home, "SELECT phone FROM message WHERE state = 'unknown'")}
    assert {row["to"] for row in box.accepted()} | in_doubt == {f"+336{n:08d}" for n in range(150)}


@pytest.mark.parametrize(
    ("code", "why", "mend"),
    [
        (190, "190 Token expired", "Make a new token in Meta's business settings, put it in WHATSAPP_TOKEN"),
        (131031, "131031 Account locked", "See Account quality in WhatsApp Manager."),
        (131042, "131042 Payment problem", "Set or mend the payment method in WhatsApp Manager"),
    ],
)
def test_a_code_that_stops_the_sender_is_one_line_with_what_to_do_and_nothing_is_lost(
    home: Path, box: Box, code: int, why: str, mend: str
) -> None:
    box.faults({"kind": "error", "code": code})
    [report] = send(home)
    assert report.stopped is not None
    assert states(home) == {"planned": 12}
    assert len(box.messages()) <= 40
    status = told(home, "status")
    assert why in status
    assert f"{mend}" in status
    assert "Then go on with: `estafette resume --sender main`" in status
    doctor = json.loads(CliRunner().invoke(app, ["--home", str(home), "--json", "doctor"]).stdout)
    [line] = [one for one in doctor["lines"] if one["what"] == "sender main" and "stopped" in one["found"]]
    assert line["level"] == "FAIL"
    assert why in line["found"]
    assert mend in line["mend"]
    box.clear_faults()
    opened = open_home(home)
    resume_sender(opened.ledger, "main")
    opened.close()
    send_again(home)
    assert states(home) == {"accepted": 12}
    assert copies(box) == 1


def test_a_token_that_is_mended_serves_the_lanes_of_a_pass_that_is_at_work_already(home: Path, box: Box) -> None:
    good = (home / ".env").read_text()
    (home / ".env").write_text(good.replace("sandbox-token", "expired"))
    with sending(home, threading.Event()) as lanes:
        wait_for(lambda: not lanes.busy())
        assert lanes.reports[0].stopped is not None
        assert lanes.reports[0].stopped.startswith("190 ")
        (home / ".env").write_text(good)
        resume_sender(lanes.home.ledger, "main")
        wait_for(lanes.start)
        wait_for(lambda: not lanes.busy())
    assert states(home) == {"accepted": 12}


def test_a_limit_for_what_people_thought_stops_the_campaign_with_what_to_look_at(home: Path, box: Box) -> None:
    box.faults({"kind": "error", "code": 131048})
    send(home)
    assert states(home) == {"planned": 12}
    assert "131048 Limited for spam" in told(home, "status")
    box.clear_faults()
    opened = open_home(home)
    opened.reload()
    resume_campaign(opened.ledger, opened.project, "offer_main", 0)
    opened.close()
    send_again(home)
    assert states(home) == {"accepted": 12}


def test_a_template_that_meta_pauses_is_said_to_keep_its_messages(home: Path, box: Box) -> None:
    box.faults({"kind": "error", "code": 132015})
    send(home)
    assert set(states(home)) <= {"held", "planned"}
    assert "Template autumn_reminder (fr) is PAUSED: its messages wait." in told(home, "status")


def test_a_pace_that_was_lowered_is_said_and_comes_back_to_the_configured_one(home: Path, box: Box) -> None:
    box.faults({"kind": "storm_130429", "next": 3})
    send(home)
    assert states(home) == {"accepted": 12}
    [(pace, ceiling)] = sql(home, "SELECT pace, ceiling FROM sender")
    assert pace < ceiling
    assert "main: 200 a second, slowed to" in told(home, "status")
    back = int((ceiling - pace) / (0.05 * ceiling) + 1) * RECOVER_SECONDS
    sql(home, "UPDATE sender SET slowed_at = slowed_at - ?", int(back * 1_000_000))
    assert "slowed" not in told(home, "status")
