"""`rebuild`: what derives from something is as it was, what does not is listed, and nobody gets anything twice."""

import os

import duckdb
import pytest

from journey.problems import LedgerError
from pipelines.publish import publish
from resources.analyst_db import connect
from resources.damage import refuse_damage
from resources.rebuild import NO_FILE, rebuild
from tests.lived_in import lived_in

TABLES = (
    "contacts", "events", "entries", "participants", "participant_steps", "messages", "message_events", "replies",
    "skips", "consent_history", "quarantine", "campaign_funnel", "step_funnel",
)  # fmt: skip


@pytest.fixture
def stage(make_home):
    return lived_in(make_home)


def shown(stage):
    con = connect(stage.home.paths.analytics)
    try:
        return {name: sorted(con.execute(f"FROM {name}").fetchall(), key=repr) for name in TABLES}
    finally:
        con.close()


def lose(stage, *names, cut=False):
    for name in names:
        for path in (stage.home.lake.root / name).rglob("*.parquet"):
            if cut:
                path.write_bytes(path.read_bytes()[:-8])
            else:
                path.unlink()


@pytest.mark.parametrize("cut", [False, True], ids=["gone", "cut short"])
def test_all_that_is_derived_is_row_for_row_what_it_was(stage, cut):
    before, files = shown(stage), stage.rows("SELECT count(*) FROM participant")
    lose(stage, "export", "events", "message_events", "contacts", "contacts_delta", cut=cut)
    stage.home.paths.analytics.unlink()
    done = rebuild(stage.home, stage.lease, stage.now)
    assert not stage.home.paths.tallies.exists(), "what files came to is counted again too"
    publish(stage.home, stage.lease)
    after = shown(stage)
    assert [row[:2] + row[4:] for row in after.pop("contacts")] == [row[:2] + row[4:] for row in before.pop("contacts")]
    assert after == before
    assert {what for _, _, what in done.lost} == {NO_FILE}
    assert stage.rows("SELECT count(*) FROM participant") == files


def test_files_that_are_alike_are_read_again_in_the_order_in_which_they_came(make_home):
    stage = make_home(contacts=1)
    for number, city in enumerate(("Lyon", "Nice", "Lyon")):
        stage.contacts([{"contact_id": "c0", "city": city}], f"{number}.csv")
        stage.later(hours=1).turn()
    for at, name in enumerate(("people", "2", "1", "0")):  # as an archive may bring them back
        os.utime(stage.path / f"landing/contacts/{name}.csv", (at, at))
    lose(stage, "contacts", "contacts_delta")
    rebuild(stage.home, stage.lease, stage.now)
    assert stage.home.contacts.frame(["city"]).item() == "Lyon"


def test_events_that_are_made_again_start_nothing(stage):
    with stage.home.ledger.read() as tx:
        seen = stage.home.events.mark(tx)
    lose(stage, "events")
    rebuild(stage.home, stage.lease, stage.now)
    assert len(stage.lake("events")) == 3
    assert stage.home.events.since(seen).is_empty(), "nobody has to look at them"
    entered, outcomes = stage.entered(), stage.outcomes()
    stage.later(minutes=1).happens("seen", "c1").turn()
    assert stage.home.events.since(seen)["event"].to_list() == ["seen"], "nor when others come"
    assert (stage.entered(), stage.outcomes()) == (entered, outcomes)
    assert stage.send() == []


def test_a_pass_decides_nothing_by_half_of_what_is_known(stage):
    refuse_damage(stage.home)
    file = next((stage.home.lake.root / "events").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(LedgerError, match="estafette rebuild"):
        refuse_damage(stage.home)
    rebuild(stage.home, stage.lease, stage.now)
    refuse_damage(stage.home)


def test_what_derives_from_nothing_is_listed_once_and_its_place_is_empty(stage):
    lose(stage, "bodies", "entries")
    done = rebuild(stage.home, stage.lease, stage.now)
    assert {file.split("/")[0] for file, _, _ in done.lost} == {"bodies", "entries"}
    publish(stage.home, stage.lease)
    found = shown(stage)
    assert found["entries"] == []
    assert len(found["messages"]) == 3
    assert rebuild(stage.home, stage.lease, stage.now).lost == []
    assert stage.send() == []


def test_what_waits_and_has_lost_its_text_is_written_again_and_goes_out_once(stage):
    stage.later(minutes=1).happens("ordered", "c2", amount=9, event_id="again").turn()
    (before,) = stage.rows("SELECT uid FROM message WHERE state = 'planned'")
    lose(stage, "bodies")
    assert rebuild(stage.home, stage.lease, stage.now).planned_anew == 1
    stage.turn()
    (claimed,) = stage.send()
    assert (claimed.uid,) == before
    assert stage.home.bodies.get(claimed.body_file, claimed.body_row)
    assert stage.send() == []


def test_the_analysts_database_comes_back_by_the_next_publish(stage):
    before = shown(stage)
    stage.home.paths.analytics.unlink()
    lose(stage, "export")
    publish(stage.home, stage.lease)
    assert shown(stage) == before


def test_the_command_says_what_is_lost(cli, home, tmp_path):
    file = tmp_path / "people.csv"
    file.write_text("contact_id,phone\nc1,0612345678\n")
    assert cli("import", str(file)).code == 0
    for path in (home / "data/lake").rglob("*.parquet"):
        path.unlink()
    assert cli("tick").code == 1
    found = cli("rebuild", "--json")
    assert found.code == 0
    assert found.json["made_again"] == {"contacts": 1}
    con = duckdb.connect(str(home / "data/analytics.duckdb"), read_only=True)
    assert con.execute("SELECT contact_id, phone FROM contacts").fetchall() == [("c1", "+33612345678")]
    con.close()
