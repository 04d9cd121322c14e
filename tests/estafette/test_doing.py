"""What a pass is at while it evaluates a segment for long: an operator sees the segment and not only a process."""

import json
import threading
import time

import pytest

from estafette.session import Session
from estafette.status import status
from pipelines.audiences import add_occurrence
from pipelines.run import run_pass
from resources import segments
from resources.doing import Evaluating, evaluating, noted
from resources.failures import failures
from resources.ledger import Ledger
from tests.stage import OFFER

ENDLESS = "select contact_id from contacts where levenshtein(repeat(contact_id, 200000), repeat('ab', 200000)) > 0"
ASKS = OFFER.replace("segment: everyone", "segment: endless")
FILES = {"campaigns": [ASKS], "segments": {"endless.sql": ENDLESS}}


def wait_for(what):
    for _ in range(1_500):
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError("it never came")


@pytest.fixture
def stage(make_home):
    made = make_home(**FILES)
    made.turn()
    add_occurrence(made.home, made.home.project.campaigns["offer"], made.now)
    return made


def slow(stage):
    return [one for one in failures(stage.home, stage.home.project, stage.now) if one.kind == "segment_slow"]


def test_a_pass_that_is_at_a_segment_for_long_says_at_which_and_since_when(stage, monkeypatch, capsys):
    stage.wall = time.time()  # as the pass has it
    stage.home.ledger.release(stage.lease)
    before = int(time.time())
    monkeypatch.setattr("resources.alive.LEASE_SECONDS", 0.3)
    passing = threading.Thread(target=run_pass, args=(stage.path, stage.now))
    passing.start()
    try:
        [lease] = wait_for(lambda: [one for one in stage.home.ledger.leases() if evaluating(one.note)])
        doing = evaluating(lease.note)
        assert lease.note.startswith("run ") and doing.segment == "endless"
        assert before <= doing.since.timestamp() <= time.time()
        stage.wall = time.time()
        assert slow(stage) == [], "a segment may take some seconds"
        monkeypatch.setattr("resources.pass_trouble.SLOW", -1.0)
        [found] = slow(stage)
        assert (found.about, found.values) == ("endless", {"since": doing.since})
        monkeypatch.setattr("estafette.failing._error", lambda *_: pytest.fail("it is evaluated beside the pass"))
        status(Session(str(stage.path), stage.now.isoformat()), None)
        said = " ".join(capsys.readouterr().out.split())
        assert "A pass evaluates the segment endless since" in said and f"; {doing})" in said
        status(Session(str(stage.path), stage.now.isoformat(), json=True), None)
        told = json.loads(capsys.readouterr().out)
        assert [one["segment"]["segment"] for one in told["leases"] if one["segment"]] == ["endless"]
    finally:
        segments._process.end()
        passing.join()
    assert slow(stage) == [] and stage.rows("SELECT name FROM lease WHERE until > 0") == []


def test_what_is_told_goes_with_the_next_renewal_and_costs_no_write_of_its_own(make_home, monkeypatch):
    from resources.alive import keep

    stage, writes, real, now = make_home(), [], Ledger.write, [Evaluating.of("endless", 1.0)]
    monkeypatch.setattr("resources.alive.LEASE_SECONDS", 0.3)
    monkeypatch.setattr(Ledger, "write", lambda self, *lease: writes.append(1) or real(self, *lease))

    def note():
        return stage.value("SELECT note FROM lease WHERE name = 'it'")

    with keep(stage.home.ledger, stage.home.ledger.take("it", "me", note="run 1"), lambda: now[0]):
        wait_for(lambda: note() == "run 1; segment endless since 1970-01-01T00:00:01Z")
        now[0] = None
        wait_for(lambda: note() == "run 1")
        stage.home.segment("everyone", stage.now)
        assert len(writes) >= 3
        spent = len(writes)
    assert stage.home.doing() is None
    before = len(writes)
    stage.home.segment("everyone", stage.now)
    assert len(writes) == before >= spent


def test_whoever_looks_waits_less_long_for_a_segment_than_a_pass_and_says_so(stage, monkeypatch, capsys):
    monkeypatch.setattr("estafette.failing.MOST_SECONDS", 0.3)
    status(Session(str(stage.path), stage.now.isoformat()), "offer")
    said = " ".join(capsys.readouterr().out.split())
    assert "segments/endless.sql: it took longer than 0.3 s. A pass gives it 300 s. Narrow it down" in said


@pytest.mark.parametrize("note", [None, "", "run 1", "import", "segment of an import"])
def test_a_note_of_another_kind_names_no_segment(note):
    doing = Evaluating.of("everyone", 1_796_126_400.0)
    assert evaluating(note) is None and evaluating(noted(note, None)) is None
    assert evaluating(noted(note, doing)) == doing
