"""What goes wrong for real is seen as that kind, and no longer once it is mended: no rows are written by hand here.

The clock of the machine can't be set by a test, so a process stands in for it whose own clock is two hours ahead. An
error of Estafette's own can't be had but by a patch: one that is known is mended.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from journey.problems import EstafetteError
from pipelines import advance
from pipelines.run import run_pass
from resources.failures import failures
from tests.faults.test_containing import fails_for
from tests.stage import OFFER, TEMPLATES, template

ROOT = Path(__file__).parents[2]
AHEAD = """
import sys, time
real = time.time
time.time = lambda: real() + 7200
from estafette.cli import main
sys.exit(main(sys.argv[1:]))
"""
CODES = OFFER.replace("{template: hello, language: fr}", "{template: voucher, language: fr, coupons: {pool: autumn}}")
VOUCHER = template("voucher", body="Code {{voucher}}")


def told(stage, kind):
    return [one for one in failures(stage.home, stage.home.project, stage.now) if one.kind == kind]


def test_a_pool_that_runs_out_in_the_middle_of_a_campaign(make_home):
    stage = make_home(campaigns=[CODES], templates=(*TEMPLATES, VOUCHER))
    pool = stage.path / "landing/coupons"
    pool.mkdir()
    (pool / "autumn.csv").write_text("code\nA-1\nA-2\n")
    stage.turn()
    assert told(stage, "coupons_out") == []
    stage.run()
    assert stage.skips() == {"coupons_exhausted": 1}
    [found] = told(stage, "coupons_out")
    assert found.about == "autumn"
    (pool / "autumn.csv").write_text("code\nA-1\nA-2\nA-3\n")
    stage.later(minutes=1).turn()
    assert told(stage, "coupons_out") == []


def test_messages_that_were_taken_and_of_which_no_status_ever_comes(make_home):
    """The sender's own turns, with answers as Meta gives them; what should come by webhooks does not."""
    stage = make_home()
    stage.run()
    assert len(stage.send()) == 3
    stage.later(minutes=10)
    assert told(stage, "no_webhooks") == [], "they may be on their way"
    stage.later(minutes=10)
    [found] = told(stage, "no_webhooks")
    assert found.values["number"] == 3
    stage.status(1, "delivered")
    assert told(stage, "no_webhooks") == [], "some came, and wait to be read"
    stage.turn()
    assert told(stage, "no_webhooks") == []


def test_a_publish_that_cannot_be_made(make_home):
    """A container that was given the file as a volume before it was there has a folder in its place. That others have
    the database open keeps nobody from publishing: it is replaced and not written."""
    stage = make_home(templates=())
    stage.turn()
    stage.home.ledger.release(stage.lease)
    stage.home.paths.analytics.mkdir()
    with pytest.raises((EstafetteError, OSError)):
        run_pass(stage.path, stage.now)
    assert [one.kind for one in told(stage, "not_published") + told(stage, "pass_failed")] == [
        "not_published",
        "pass_failed",
    ]
    stage.home.paths.analytics.rmdir()
    run_pass(stage.path, stage.now)
    assert told(stage, "not_published") + told(stage, "pass_failed") == []


def test_a_clock_that_was_two_hours_ahead_and_was_set_right(make_home):
    stage = make_home(templates=())
    stage.home.ledger.release(stage.lease)
    command = [sys.executable, "-c", AHEAD, "tick", "--home", str(stage.path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    home = stage.home
    home.wall = time.time
    [found] = told(stage, "clock_back")
    assert 7_000 < found.values["since"].timestamp() - home.wall() < 7_300
    run_pass(stage.path, stage.now)
    assert told(stage, "clock_back") == []


def test_an_error_of_estafettes_own_in_a_campaign(make_home, monkeypatch):
    stage = make_home()
    stage.run()
    stage.send()
    mended = fails_for(monkeypatch, advance, "decide")
    stage.later(days=2).turn()
    [found] = told(stage, "campaign_trouble")
    assert found.about == "offer" and "Broken: a page of a book" in found.detail
    mended()
    stage.wall += 120
    stage.turn()
    assert told(stage, "campaign_trouble") == []
