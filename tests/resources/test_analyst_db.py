"""Publishing for analysts: what they see is one moment, complete, commented, and never in anybody's way."""

import itertools
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import pytest
import sqlalchemy as sa

from journey import schemas
from journey.problems import EstafetteError, LeaseLost
from journey.template import parse_template
from resources import tables
from resources.analyst_db import connect
from resources.bodies import BODIES, Bodies
from resources.lake import Lake, LakeFile
from resources.ledger import BUCKET, US, mark_dirty
from tests.resources.analyst_world import NOW, World, us

TIME = pl.Datetime("us", "UTC")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "l'été home")
    yield made
    made.ledger.close()


# -- the file --------------------------------------------------------------------------------------------------------


def test_an_empty_home_has_every_table_typed_and_commented(world: World) -> None:
    published = world.publish()
    assert published.changed
    assert published.path == world.paths.analytics
    comments = dict(world.sql("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal"))
    comments |= dict(world.sql("SELECT table_name, comment FROM duckdb_tables() WHERE NOT internal"))
    assert comments == {table.name: table.comment for table in schemas.TABLES.values()}
    for table in schemas.TABLES.values():
        columns = world.sql(
            "SELECT column_name, data_type, comment FROM duckdb_columns()"
            f" WHERE table_name = '{table.name}' ORDER BY column_index"
        )
        types = {"TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE"}
        assert columns == [(c.name, types.get(c.dtype.sql, c.dtype.sql), c.comment) for c in table.columns]
        assert world.sql(f"SELECT count(*) FROM {table.name}") == [(1 if table.name == "published" else 0,)]


def test_the_file_can_be_opened_by_older_tools_and_written_by_nobody(world: World) -> None:
    world.publish()
    [(tags,)] = world.sql("SELECT tags FROM duckdb_databases() WHERE database_name = 'estafette'")
    assert tags["storage_version"].startswith("v1.2.0")
    assert world.paths.analytics.stat().st_mode & 0o777 == 0o444
    assert [path.name for path in world.paths.data.iterdir() if "analytics" in path.name] == ["analytics.duckdb"]


def test_published_says_when_and_how_many_rows_each_table_has(world: World) -> None:
    for number in range(3):
        world.participant(contact_id=f"u{number}")
        world.message(contact_id=f"u{number}", accepted_at=us(NOW), state="accepted")
    world.skip()
    world.reply()
    published = world.publish()
    [row] = world.dicts("FROM published")
    assert row.pop("published_at") == NOW
    assert row == published.counts
    assert row == {name: world.sql(f"SELECT count(*) FROM {name}")[0][0] for name in row}
    assert row["messages"] == 3
    assert row["conversations"] == 3


def test_nothing_is_published_twice_when_nothing_changed(world: World) -> None:
    world.participant()
    world.message()
    published = world.publish()
    assert published.changed
    before = (world.paths.analytics.stat(), sorted(world.paths.lake.rglob("*.parquet")))
    again = world.publish(now=NOW + timedelta(hours=1))
    assert not again.changed
    assert again.written == 0
    assert again.counts == published.counts
    assert (world.paths.analytics.stat(), sorted(world.paths.lake.rglob("*.parquet"))) == before


def test_a_file_that_somebody_replaced_or_deleted_is_published_again(world: World) -> None:
    world.publish()
    world.paths.analytics.unlink()
    assert world.publish().changed
    copy = world.paths.analytics.read_bytes()
    world.paths.analytics.unlink()
    world.paths.analytics.write_bytes(copy + b"x")
    assert world.publish().changed
    assert world.sql("SELECT published_at FROM published") == [(NOW,)]


def test_a_young_file_stays_where_that_is_enough(world: World) -> None:
    world.publish()
    world.message()
    age = world.paths.analytics.stat().st_mtime + 20
    assert not world.publish(wall=lambda: age, min_age=30).changed
    assert world.publish(wall=lambda: age, min_age=10).changed
    assert world.sql("SELECT count(*) FROM messages") == [(1,)]


def test_whoever_lost_the_lease_leaves_the_file_as_it_is(world: World) -> None:
    lost = world.ledger.take("pass", "one")
    assert lost is not None
    world.publish(lost)
    world.message()
    world.wall_now += 100
    ours = world.ledger.take("pass", "two")
    with pytest.raises(LeaseLost):
        world.publish(lost)
    assert world.sql("SELECT count(*) FROM messages") == [(0,)]
    world.publish(ours)
    before = world.paths.analytics.stat()
    world.lake_rows("events", [{"event_id": "e1"}], {"event_id": pl.String})  # nothing to export, only to publish
    with pytest.raises(LeaseLost):
        world.publish(lost)
    assert world.paths.analytics.stat() == before
    assert world.publish(ours).counts["events"] == 1


def test_what_a_crashed_publish_left_behind_goes_after_an_hour(world: World) -> None:
    world.publish()
    orphan = world.paths.data / ".analytics-0badcafe.duckdb"
    orphan.write_text("half a file")
    written = orphan.stat().st_mtime
    world.message()
    world.publish(wall=lambda: written + 60)
    assert orphan.exists()
    world.message()
    world.publish(wall=lambda: written + 3700)
    assert not orphan.exists()


# -- who reads -------------------------------------------------------------------------------------------------------

READER = """
import sys
from pathlib import Path
from resources.analyst_db import connect
con = connect(Path(sys.argv[1]))
for line in sys.stdin:
    rows = con.execute("SELECT (SELECT count(*) FROM messages), (SELECT planned FROM campaign_funnel)").fetchall()
    print(rows[0], flush=True)
"""


def test_a_session_of_another_process_keeps_its_cut_and_blocks_nobody(world: World) -> None:
    world.message()
    world.publish()
    command = [sys.executable, "-c", READER, str(world.paths.analytics)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None

        def ask() -> str:
            reader.stdin.write("\n")  # type: ignore[union-attr]
            reader.stdin.flush()  # type: ignore[union-attr]
            return reader.stdout.readline().strip()  # type: ignore[union-attr]

        assert ask() == "(1, 1)"
        for _ in range(3):
            world.message()
            assert world.publish().changed
            assert ask() == "(1, 1)"
        reader.stdin.close()
        assert reader.wait(30) == 0
    assert world.sql("SELECT count(*) FROM messages") == [(4,)]


def test_a_new_session_of_the_same_process_sees_the_new_cut_beside_an_old_one(world: World) -> None:
    world.publish()
    with connect(world.paths.analytics) as old:
        world.message()
        world.publish()
        with connect(world.paths.analytics) as new:
            assert new.execute("SELECT count(*) FROM messages").fetchall() == [(1,)]
        assert old.execute("SELECT count(*) FROM messages").fetchall() == [(0,)]


def test_a_session_can_write_nothing_into_the_database(world: World) -> None:
    world.publish()
    with connect(world.paths.analytics) as con, pytest.raises(duckdb.Error, match="read-only"):
        con.execute("DELETE FROM templates")


def test_without_a_publish_the_error_says_what_to_do(world: World) -> None:
    with pytest.raises(EstafetteError, match="tick"):
        connect(world.paths.analytics)


# -- exporting what changed ------------------------------------------------------------------------------------------


def test_only_the_buckets_that_changed_are_written_again(world: World) -> None:
    for number in (1, BUCKET + 1, 2 * BUCKET):
        world.message(id=number)
    world.publish()
    before = world.exported()
    assert [key for key in before if key[0] == "message"] == [("message", 0), ("message", 1), ("message", 2)]
    with world.ledger.write() as tx:
        tx.execute(tables.message.update().where(tables.message.c.id == BUCKET + 1).values(state="read"))
        mark_dirty(tx, "message", [BUCKET + 1])
    assert world.publish().written == 1
    assert {key for key, path in world.exported().items() if before[key] != path} == {("message", 1)}
    assert world.sql("SELECT message_id, state FROM messages ORDER BY 1") == [
        (1, "planned"),
        (BUCKET + 1, "read"),
        (2 * BUCKET, "planned"),
    ]
    assert world.marks() == set()


class Interfering(Lake):
    """A lake that lets something happen just before a file is written."""

    meanwhile: Callable[[], None] = staticmethod(lambda: None)

    def put(self, name: str, frame: pl.DataFrame, at: str | None = None) -> LakeFile:
        happening, self.meanwhile = self.meanwhile, lambda: None
        happening()
        return super().put(name, frame, at)


def test_a_mark_that_comes_during_an_export_is_not_lost(world: World) -> None:
    lake = Interfering(world.paths.lake, world.ledger, world.wall)
    world.lake = lake
    first = world.message()

    def deliver() -> None:
        with world.ledger.write() as tx:
            tx.execute(tables.message.update().values(state="delivered", delivered_at=us(NOW)))
            mark_dirty(tx, "message", [first])
        world.participant()

    lake.meanwhile = deliver
    world.publish()
    # One moment: the one before anything happened.
    assert world.sql("SELECT state FROM messages") == [("planned",)]
    assert world.sql("SELECT count(*) FROM participants") == [(0,)]
    assert world.marks() == {("message", 0), ("participant", 0)}
    assert world.publish().changed
    assert world.sql("SELECT state FROM messages") == [("delivered",)]
    assert world.sql("SELECT count(*) FROM participants") == [(1,)]
    assert world.marks() == set()


def test_every_cut_is_one_moment_while_another_thread_writes(world: World) -> None:
    """Each transaction adds a participant, a message and a skip, and counts itself in every message: a cut shows as
    many of the one as of the others, and the last publish shows what the ledger has."""
    stop = threading.Event()

    def write() -> None:
        for number in itertools.count(1):
            if stop.wait(0.005):
                return
            with world.ledger.write() as tx:
                ids = [world.participant(tx=tx), world.message(tx=tx), world.skip(tx=tx)]
                tx.execute(tables.message.update().values(error_code=number))
                for name, one in zip(("participant", "message", "skip"), ids, strict=True):
                    mark_dirty(tx, name, [one])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(6):
            world.publish()
            [(participants, messages, skips, least, most)] = world.sql(
                "SELECT (SELECT count(*) FROM participants), (SELECT count(*) FROM messages), (SELECT count(*) FROM"
                " skips), (SELECT min(error_code) FROM messages), (SELECT max(error_code) FROM messages)"
            )
            assert participants == messages == skips
            assert (least, most) == (messages or None, messages or None)
    finally:
        stop.set()
        writer.join()
    world.publish()
    with world.ledger.read() as tx:
        written = tx.execute(sa.select(sa.func.count()).select_from(tables.message)).scalar_one()
    assert world.sql("SELECT count(*), min(error_code) FROM messages") == [(written, written)]


def test_marks_survive_a_crash_in_the_middle_of_an_export(world: World) -> None:
    lake = Interfering(world.paths.lake, world.ledger, world.wall)
    world.lake = lake
    world.message()
    world.publish()
    with world.ledger.write() as tx:
        tx.execute(tables.message.update().values(state="read", read_at=us(NOW)))
        mark_dirty(tx, "message", [1])

    def crash() -> None:
        raise OSError("no space left on device")

    lake.meanwhile = crash
    with pytest.raises(OSError, match="no space"):
        world.publish()
    assert world.sql("SELECT state FROM messages") == [("planned",)]
    assert world.publish().changed
    assert world.sql("SELECT state FROM messages") == [("read",)]


def test_rows_that_are_only_ever_added_need_no_mark(world: World) -> None:
    def history(contact_id: str) -> None:
        world.insert(
            tables.consent_history, mark=False, contact_id=contact_id, change="opted_out", scope="all",
            cause="stop_word", source="webhooks/a.ndjson", changed_at=us(NOW),
        )  # fmt: skip

    def aside(line: int, digest: str) -> None:
        world.insert(
            tables.quarantine, mark=False, source="contacts", file="contacts/a.csv", line=line, reason="no phone",
            raw="a;b", digest=digest, quarantined_at=us(NOW),
        )  # fmt: skip

    history("u1")
    aside(2, "a")
    world.publish()
    history("u2")
    aside(3, "b")
    assert world.publish().changed
    assert world.sql("SELECT contact_id, changed_at FROM consent_history ORDER BY 1") == [("u1", NOW), ("u2", NOW)]
    assert world.sql('SELECT "file", line, raw FROM quarantine ORDER BY 2') == [
        ("contacts/a.csv", 2, "a;b"),
        ("contacts/a.csv", 3, "a;b"),
    ]


def test_rows_that_were_deleted_go_from_the_export(world: World) -> None:
    world.message(id=1)
    world.message(id=BUCKET)
    world.publish()
    with world.ledger.write() as tx:
        tx.execute(tables.message.delete())
        mark_dirty(tx, "message", [1, BUCKET])
    assert world.publish().counts["messages"] == 0
    assert world.sql("SELECT count(*) FROM messages") == [(0,)]
    assert not world.publish().changed


@pytest.mark.parametrize("cut", [False, True], ids=["gone", "cut short"])
def test_an_exported_file_that_is_gone_or_cut_short_is_written_again(world: World, cut: bool) -> None:
    world.message()
    world.people({}, {"contact_id": "u1", "phone": "+33612345678"})
    world.publish()
    for path in (world.paths.lake / "export").rglob("*.parquet"):
        if cut:
            path.write_bytes(path.read_bytes()[:-8])
        else:
            path.unlink()
    assert world.publish().changed
    assert world.sql("SELECT (SELECT count(*) FROM messages), (SELECT count(*) FROM contacts)") == [(1, 1)]


def test_replaced_files_stay_for_a_day_for_whoever_reads_an_older_cut(world: World) -> None:
    world.message()
    world.publish()
    with connect(world.paths.analytics) as old:
        world.message()
        world.publish()
        world.wall_now += 23 * 3600
        world.lake.sweep(None)
        assert old.execute("SELECT count(*) FROM messages").fetchall() == [(1,)]
    world.wall_now += 2 * 3600
    world.lake.sweep(None)
    assert len(list((world.paths.lake / "export" / "messages").rglob("*.parquet"))) == 1
    assert world.sql("SELECT count(*) FROM messages") == [(2,)]


def test_replaced_files_go_sooner_where_they_take_much_room(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resources.export.KEEP_BYTES", 0)
    world.message()
    world.publish()
    world.message()
    world.publish()
    folder = world.paths.lake / "export" / "messages"
    assert len(list(folder.rglob("*.parquet"))) == 2
    world.wall_now += 3700
    world.message()
    world.publish()
    # The first is over an hour old; the second was replaced only now.
    assert len(list(folder.rglob("*.parquet"))) == 2
    assert world.sql("SELECT count(*) FROM messages") == [(3,)]


# -- the rows --------------------------------------------------------------------------------------------------------


def test_a_message_comes_with_its_body_and_its_times(world: World) -> None:
    bodies = Bodies(world.lake)
    rows = [
        {"participant_id": 1, "step": "offer", "visit": 1, "body": '{"to":"+33600000001"}'},
        {"participant_id": 2, "step": "offer", "visit": 1, "body": '{"to":"+33600000002"}'},
    ]
    file = bodies.put(pl.DataFrame(rows, schema=BODIES))
    with world.ledger.write() as tx:
        number = world.lake.register(tx, file)
    at = datetime(2026, 11, 23, 11, 59, 58, 123456, tzinfo=UTC)
    world.message(
        body_file=number, body_row=1, attempted_at=us(at), state="failed", error_code=131026, failed_at=us(at)
    )
    world.message()
    assert world.publish().lost == ()
    [one, other] = world.dicts("FROM messages ORDER BY message_id")
    assert one["body"] == '{"to":"+33600000002"}'
    assert (one["attempted_at"], one["failed_at"], one["read_at"]) == (at, at, None)
    assert (one["error_code"], one["state"], one["price"], one["price_source"]) == (131026, "failed", None, None)
    assert other["body"] is None
    assert world.sql("SELECT body.to FROM messages WHERE message_id = 1") == [('"+33600000002"',)]


def test_bodies_are_kept_by_a_later_export_and_new_ones_added(world: World) -> None:
    bodies = Bodies(world.lake)
    for number in (1, 2):
        text = f'{{"n":{number}}}'
        row = {"participant_id": number, "step": "offer", "visit": 1, "body": text}
        with world.ledger.write() as tx:
            key = world.lake.register(tx, bodies.put(pl.DataFrame([row], schema=BODIES)))
        world.message(body_file=key, body_row=0)
        world.publish()
        bodies.lake.path(key).unlink()  # the first one's text is taken from the last export
    published = world.publish()
    assert published.lost == ()
    assert world.sql("SELECT body FROM messages ORDER BY message_id") == [('{"n":1}',), ('{"n":2}',)]


def test_bodies_are_not_taken_from_an_export_that_the_disk_has_spoilt(world: World) -> None:
    with world.ledger.write() as tx:
        row = {"message_id": 1, "body": '{"text":"' + "abc" * 50 + '"}'}
        key = world.lake.register(tx, Bodies(world.lake).put(pl.DataFrame([row], schema=BODIES)))
    world.message(body_file=key, body_row=0)
    world.publish()
    [path] = (world.paths.lake / "export/messages").rglob("*.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(len(whole) // 2 - 4) + whole[len(whole) // 2 :])
    world.message()
    world.publish()
    assert world.sql("SELECT body FROM messages ORDER BY message_id") == [(row["body"],), (None,)]


def test_a_lost_file_of_bodies_is_told_and_stops_nothing(world: World) -> None:
    row = {"participant_id": 1, "step": "offer", "visit": 1, "body": "{}"}
    with world.ledger.write() as tx:
        key = world.lake.register(tx, Bodies(world.lake).put(pl.DataFrame([row], schema=BODIES)))
    world.lake.path(key).unlink()
    world.message(body_file=key, body_row=0)
    published = world.publish()
    [lost] = published.lost
    assert lost.startswith("bodies/")
    assert world.sql("SELECT body FROM messages") == [(None,)]


def test_contacts_have_typed_columns_for_properties_and_the_settings_consent(world: World) -> None:
    types: dict[str, Any] = {"First name": "text", "total": "double", "born": "date"}
    world.people(
        types,
        {"contact_id": "u1", "phone": "+33612345678", "tags": ["a"], "First name": "Zoé", "born": date(1990, 2, 1)},
        {"contact_id": "u2", "phone": "+33612345679", "opted_in": False, "total": 2.5},
    )
    world.publish()
    assert world.sql('SELECT contact_id, tags, opted_in, "First name", total, born FROM contacts ORDER BY 1') == [
        ("u1", ["a"], True, "Zoé", None, date(1990, 2, 1)),
        ("u2", None, False, None, 2.5, None),
    ]
    names = [row[0] for row in world.sql("DESCRIBE contacts")]
    assert names == [*schemas.CONTACTS.names, "First name", "total", "born"]
    comments = world.sql("SELECT comment FROM duckdb_columns() WHERE table_name = 'contacts'")
    assert all(comment for (comment,) in comments)
    world.opted_in = "not_opted_in"
    assert world.publish().changed
    assert world.sql("SELECT opted_in FROM contacts ORDER BY contact_id") == [(False,), (False,)]


def test_a_changed_contact_and_a_new_property_are_published(world: World) -> None:
    world.people({"city": "text"}, {"contact_id": "u1", "city": "Paris"}, {"contact_id": "u2", "city": "Lille"})
    world.publish()
    world.people({"city": "text", "age": "bigint"}, {"contact_id": "u1", "city": "Lyon", "age": 40})
    assert world.publish().changed
    assert world.sql("SELECT contact_id, city, age FROM contacts ORDER BY 1") == [
        ("u1", "Lyon", 40),
        ("u2", "Lille", None),
    ]
    assert not world.publish().changed


def test_facts_of_the_lake_are_shown_also_from_files_of_an_older_shape(world: World) -> None:
    schema = {"wamid": pl.String, "message_id": pl.Int64, "status": pl.String, "status_at": TIME, "received_at": TIME}
    row = {"wamid": "wamid.1", "message_id": 1, "status": "sent", "status_at": NOW, "received_at": NOW}
    older = world.lake_rows("message_events", [row], schema)
    world.lake_rows("message_events", [row | {"pricing_type": "regular"}], schema | {"pricing_type": pl.String})
    world.publish()
    query = "SELECT wamid, status_at, pricing_type, error_code FROM message_events ORDER BY pricing_type NULLS FIRST"
    assert world.sql(query) == [("wamid.1", NOW, None, None), ("wamid.1", NOW, "regular", None)]
    with world.ledger.write() as tx:
        world.lake.drop(tx, [older])
    assert world.publish().counts["message_events"] == 1


def test_the_properties_of_events_can_be_asked_for(world: World) -> None:
    rows = [
        {"event_id": "e1", "event": "purchase", "contact_id": "u1", "occurred_at": NOW, "properties": '{"amount":20}'}
    ]
    schema = {"event_id": pl.String, "event": pl.String, "contact_id": pl.String, "occurred_at": TIME}
    world.lake_rows("events", rows, schema | {"properties": pl.String})
    world.publish()
    assert world.sql("SELECT (properties->>'amount')::INT, properties.amount::INT FROM events") == [(20, 20)]


def test_templates_show_what_was_pulled_and_what_meta_refused_since(world: World) -> None:
    components = [{"type": "BODY", "text": "Bonjour l’été"}]
    for language in ("fr", "en"):
        template = parse_template(
            {"name": "autumn_offer", "language": language, "status": "APPROVED", "category": "MARKETING",
             "components": components, "quality_score": {"score": "GREEN"}}
        )  # fmt: skip
        world.templates["autumn_offer", language] = template
    folder = world.paths.home / "templates"
    folder.mkdir()
    (folder / "autumn_offer.fr.json").write_text("{}")
    world.insert(
        tables.template_hold, mark=False, name="autumn_offer", language="en", status="PAUSED", changed_at=us(NOW)
    )
    world.publish()
    english, french = world.dicts("FROM templates ORDER BY language")
    assert (english["status"], english["pulled_at"]) == ("PAUSED", None)
    assert (french["status"], french["category"], french["quality"]) == ("APPROVED", "MARKETING", "GREEN")
    pulled = datetime.fromtimestamp((folder / "autumn_offer.fr.json").stat().st_mtime, UTC)
    assert abs(french["pulled_at"] - pulled) < timedelta(milliseconds=1)
    assert world.sql("SELECT components[0].text::VARCHAR FROM templates") == [('"Bonjour l’été"',)] * 2


def test_a_price_is_exact_to_the_millionth(world: World) -> None:
    for price in (85_900, 1, 123_456_789_012, None):
        world.message(price=price, currency="EUR", price_source="estimate", market="France")
    world.publish()
    assert world.sql("SELECT price, currency, price_source, market FROM messages ORDER BY message_id") == [
        (Decimal("0.085900"), "EUR", "estimate", "France"),
        (Decimal("0.000001"), "EUR", "estimate", "France"),
        (Decimal("123456.789012"), "EUR", "estimate", "France"),
        (None, "EUR", "estimate", "France"),
    ]


def test_a_coupon_shows_whose_it_is_and_when_it_was_claimed(world: World) -> None:
    free = world.insert(tables.coupon, pool="autumn", code="A1", state="free", expires_at=us(NOW + timedelta(days=9)))
    world.insert(tables.coupon, pool="autumn", code="B2", state="free", tag=None)
    world.publish()
    with world.ledger.write() as tx:
        claimed = {"state": "claimed", "message_id": 7, "contact_id": "u1", "claimed_at": us(NOW)}
        tx.execute(tables.coupon.update().where(tables.coupon.c.id == free).values(claimed))
        mark_dirty(tx, "coupon", [free])
    world.publish()
    assert world.sql("FROM coupons ORDER BY code") == [
        ("autumn", "A1", NOW + timedelta(days=9), 7, "u1", NOW, "claimed"),
        ("autumn", "B2", None, None, None, None, "free"),
    ]


def test_clicks_and_goals_are_shown_as_they_come_without_a_mark(world: World) -> None:
    world.click(contact_id="u1")
    world.goal(contact_id="u1", value=12.5)
    world.publish()
    world.click(contact_id="u2", button="En savoir plus")
    world.goal(contact_id="u2", arm="control")
    assert world.publish().changed
    assert world.sql("SELECT contact_id, button, clicked_at FROM clicks ORDER BY 1") == [
        ("u1", "Acheter", NOW),
        ("u2", "En savoir plus", NOW),
    ]
    assert world.sql("SELECT contact_id, arm, goal, value FROM goals ORDER BY 1") == [
        ("u1", "treated", "purchase", 12.5),
        ("u2", "control", "purchase", None),
    ]


# -- what is counted -------------------------------------------------------------------------------------------------


def test_conversations_know_when_the_service_window_closes(world: World) -> None:
    # The clocks change in the night of 25 October 2026: 24 hours are 24 hours.
    wrote = datetime(2026, 10, 24, 20, tzinfo=UTC)
    world.message(contact_id="u1", accepted_at=us(NOW), state="accepted")
    world.message(contact_id="u1", accepted_at=us(NOW + timedelta(hours=1)), state="read")
    world.message(contact_id="u2", state="planned")
    world.message(contact_id="u3", accepted_at=us(NOW), sender="other", state="sent")
    world.reply(contact_id="u1", replied_at=us(wrote - timedelta(days=1)))
    world.reply(contact_id="u1", replied_at=us(wrote), kind="reaction", text="👍")
    world.publish()
    assert world.sql("FROM conversations ORDER BY contact_id") == [
        ("u1", "main", NOW + timedelta(hours=1), wrote, wrote + timedelta(hours=24), 2, 2),
        ("u3", "other", NOW, None, None, 1, 0),
    ]


def test_arrivals_at_a_step_count_moves_and_where_people_stand(world: World) -> None:
    schema: dict[str, Any] = {
        "participant_id": pl.Int64,
        "campaign": pl.String,
        "contact_id": pl.String,
        "from_step": pl.String,
    }
    schema |= {"branch": pl.String, "to_step": pl.String, "visit": pl.Int64, "moved_at": TIME}
    moves = [
        (1, "offer", "next", "reminder"),
        (1, "reminder", "next", "offer"),
        (1, "offer", "next", "end"),
        (2, "offer", "next", "reminder"),
    ]
    rows = [
        {"participant_id": who, "campaign": "autumn", "contact_id": f"u{who}", "from_step": step, "branch": branch,
         "to_step": to, "visit": 1, "moved_at": NOW}
        for who, step, branch, to in moves
    ]  # fmt: skip
    world.lake_rows("participant_steps", rows, schema)
    world.participant(contact_id="u1", step="offer", visit=2, state="ended", left_at=us(NOW), reason="end")
    world.participant(contact_id="u2", step="reminder")
    world.participant(contact_id="u3", step="offer", state="ended", left_at=us(NOW), reason="opted_out")
    world.participant(contact_id="u4", step="offer", state="control", left_at=us(NOW), reason="control")
    world.publish()
    # offer: 1 twice, 2, 3; reminder: 1, 2; the control group nowhere.
    assert world.sql("SELECT step, entered FROM step_funnel ORDER BY step") == [("offer", 4), ("reminder", 2)]
    assert world.sql("SELECT entered FROM campaign_funnel") == [(3,)]


FUNNEL = ("entered", "planned", "skipped", "accepted", "delivered", "read", "replied", "clicked", "failed", "unknown")


@pytest.mark.parametrize("seed", range(4))
def test_the_funnels_equal_a_plain_count(world: World, seed: int) -> None:
    chance = random.Random(seed)
    world.timezone = chance.choice(["Europe/Paris", "America/St_Johns", "Pacific/Auckland", "Asia/Kathmandu"])
    zone = ZoneInfo(world.timezone)
    campaign: Counter[tuple[str, str]] = Counter()
    step: Counter[tuple[str, str, str]] = Counter()
    daily: Counter[tuple[str, date, str]] = Counter()
    answered: set[tuple[str, str, date, str]] = set()

    def count(name: str, where: str, what: str, when: datetime) -> None:
        campaign[name, what] += 1
        step[name, where, what] += 1
        daily[name, when.astimezone(zone).date(), what] += 1

    def moment() -> datetime:
        # Around both changes of clocks and midnights in several zones.
        start = chance.choice([datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)])
        return start + timedelta(seconds=chance.randrange(3 * 86_400), microseconds=chance.randrange(US))

    for number in range(200):
        name, where = chance.choice(["autumn", "winter"]), chance.choice(["offer", "reminder"])
        contact = f"u{chance.randrange(40)}"
        entered = moment()
        control = chance.random() < 0.1
        world.participant(
            campaign=name, contact_id=contact, step=where, key=str(number), entered_at=us(entered),
            state="control" if control else "waiting",
        )  # fmt: skip
        if control:
            continue
        count(name, where, "entered", entered)
        if chance.random() < 0.1:
            at = moment()
            world.skip(campaign=name, step=where, contact_id=contact, skipped_at=us(at))
            count(name, where, "skipped", at)
            continue
        times = {what: moment() for what in ("planned", "attempted", "accepted", "sent", "delivered", "read", "failed")}
        state = chance.choice(["planned", "skipped", "accepted", "delivered", "read", "failed", "unknown", "late_read"])
        has = {
            "accepted": ("attempted", "accepted"),
            "delivered": ("attempted", "accepted", "sent", "delivered"),
            "read": ("attempted", "accepted", "delivered", "read"),
            "late_read": ("attempted", "accepted", "failed", "read"),  # read without delivered, after a failed
            "failed": ("attempted", "failed"),
            "unknown": ("attempted",),
        }.get(state, ())
        world.message(
            campaign=name, step=where, contact_id=contact, state=state.removeprefix("late_"),
            planned_at=us(times["planned"]), **{f"{what}_at": us(times[what]) for what in has},
        )  # fmt: skip
        count(name, where, "planned", times["planned"])
        if state == "skipped":
            at = moment()
            world.skip(campaign=name, step=where, contact_id=contact, skipped_at=us(at))
            count(name, where, "skipped", at)
        if state in ("accepted", "delivered", "read", "late_read"):
            count(name, where, "accepted", times["accepted"])
        if state in ("delivered", "read", "late_read"):
            count(name, where, "delivered", times["read" if state == "late_read" else "delivered"])
        if state in ("read", "late_read"):
            count(name, where, "read", times["read"])
        if state == "failed":
            count(name, where, "failed", times["failed"])
        if state == "unknown":
            count(name, where, "unknown", times["attempted"])
        if chance.random() < 0.5:
            at, kind, late = moment(), chance.choice(["text", "button", "reaction"]), chance.random() < 0.3
            world.reply(
                campaign=name, step=where, contact_id=contact, kind=kind, late=late, replied_at=us(at),
            )  # fmt: skip
            if kind != "reaction" and not late:
                answered.add((name, where, at.astimezone(zone).date(), contact))
    world.reply(campaign=None, step=None, contact_id="u1")  # answers nothing
    for name, who in {(name, who) for name, _, _, who in answered}:
        campaign[name, "replied"] += bool(who)
    for name, where, who in {(name, where, who) for name, where, _, who in answered}:
        step[name, where, "replied"] += bool(who)
    for name, day, who in {(name, day, who) for name, _, day, who in answered}:
        daily[name, day, "replied"] += bool(who)

    world.publish()
    found = {
        (row["campaign"], what): row[what]
        for row in world.dicts("FROM campaign_funnel")
        for what in FUNNEL
        if row[what]
    }
    assert found == campaign
    by_step = world.dicts("FROM step_funnel")
    assert {(r["campaign"], r["step"], what): r[what] for r in by_step for what in FUNNEL if r[what]} == step
    by_day = world.dicts("FROM campaign_daily")
    assert {(r["campaign"], r["day"], what): r[what] for r in by_day for what in FUNNEL if r[what]} == daily


def test_clicked_counts_people_once_however_often_they_tap(world: World) -> None:
    world.participant(contact_id="u1")
    for who, step, day in (("u1", "offer", 0), ("u1", "offer", 1), ("u1", "reminder", 1), ("u2", "offer", 1)):
        world.click(contact_id=who, step=step, clicked_at=us(NOW + timedelta(days=day)))
    world.publish()
    assert world.sql("SELECT clicked FROM campaign_funnel") == [(2,)]
    assert world.sql("SELECT step, clicked FROM step_funnel ORDER BY 1") == [("offer", 2), ("reminder", 1)]
    assert world.sql("SELECT day, clicked FROM campaign_daily WHERE clicked > 0 ORDER BY 1") == [
        (date(2026, 11, 23), 1),
        (date(2026, 11, 24), 2),
    ]


# Newcombe, "Interval estimation for the difference between independent proportions", 1998, table II, method 10.
NEWCOMBE = [
    (70, 56, 80, 48, 0.0524, 0.3339),
    (10, 9, 10, 3, 0.1705, 0.8090),
    (7, 6, 7, 2, 0.0582, 0.8062),
    (56, 5, 29, 0, -0.0381, 0.1926),
    (10, 0, 20, 0, -0.1611, 0.2775),
    (10, 0, 10, 0, -0.2775, 0.2775),
    (10, 10, 20, 0, 0.6791, 1.0),
    (10, 10, 10, 0, 0.6075, 1.0),
]


@pytest.mark.parametrize(("treated", "reached", "control", "control_reached", "low", "high"), NEWCOMBE)
def test_the_interval_of_the_lift_is_the_published_one(
    world: World, treated: int, reached: int, control: int, control_reached: int, low: float, high: float
) -> None:
    with world.ledger.write() as tx:
        for arm, people, met in (("treated", treated, reached), ("control", control, control_reached)):
            for number in range(people):
                who = f"{arm}{number}"
                world.participant(tx=tx, contact_id=who, state="control" if arm == "control" else "ended", left_at=0)
                if number < met:
                    world.goal(tx=tx, contact_id=who, arm=arm)
        for name in ("participant", "goal"):
            mark_dirty(tx, name, [1])
    world.publish(goals={"autumn": ["purchase"]})
    [row] = world.dicts("FROM lift")
    assert (row["treated"], row["treated_reached"]) == (treated, reached)
    assert (row["control"], row["control_reached"]) == (control, control_reached)
    assert row["difference"] == pytest.approx(reached / treated - control_reached / control)
    assert row["low"] == pytest.approx(low, abs=5e-5)
    assert row["high"] == pytest.approx(high, abs=5e-5)


def test_lift_has_a_row_for_each_goal_of_a_campaign_that_anyone_entered(world: World) -> None:
    world.participant(contact_id="u1")
    world.participant(contact_id="u1")  # a second passage of the same person
    world.participant(contact_id="u2", state="control", left_at=us(NOW), reason="control")
    world.participant(campaign="winter")
    world.participant(campaign="spring")  # has no goals
    goals = {"autumn": ["purchase", "purchase 2"], "winter": ["visit"], "never_run": ["visit"]}
    world.publish(goals=goals)
    columns = "campaign, goal, treated, treated_reached, control, control_reached, difference"
    assert world.sql(f"SELECT {columns} FROM lift ORDER BY 1, 2") == [
        ("autumn", "purchase", 1, 0, 1, 0, 0.0),
        ("autumn", "purchase 2", 1, 0, 1, 0, 0.0),
        ("winter", "visit", 1, 0, 0, 0, None),
    ]
    assert not world.publish(goals=goals).changed
    world.goal(goal="purchase 3", contact_id="u1")  # of an older file
    world.publish(goals=goals)
    assert world.sql("SELECT goal, treated_reached FROM lift WHERE campaign = 'autumn' ORDER BY 1") == [
        ("purchase", 0),
        ("purchase 2", 0),
        ("purchase 3", 1),
    ]


def test_costs_are_those_of_accepted_messages_by_day_market_and_category(world: World) -> None:
    # 23:30 UTC is the next day in Paris.
    late = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
    priced = {"price": 85_900, "currency": "EUR", "price_source": "estimate", "market": "France"}
    world.message(**priced, state="accepted", accepted_at=us(NOW))
    world.message(**priced, state="failed", accepted_at=us(NOW), failed_at=us(NOW))
    world.message(**priced, state="read", attempted_at=us(NOW), read_at=us(late))  # its acceptance is not known
    world.message(**(priced | {"price": 30_000}), category="UTILITY", state="accepted", accepted_at=us(NOW))
    world.message(kind="text", template=None, category=None, state="accepted", accepted_at=us(NOW), market="France")
    world.message(**priced, state="planned")
    world.message(**priced, state="failed", failed_at=us(NOW))
    world.publish()
    day, next_day = date(2026, 11, 23), date(2026, 11, 24)
    assert world.sql("FROM costs ORDER BY day, category NULLS FIRST") == [
        ("autumn", day, "France", None, 1, None, None, None),
        ("autumn", day, "France", "MARKETING", 2, Decimal("0.171800"), "EUR", "estimate"),
        ("autumn", day, "France", "UTILITY", 1, Decimal("0.030000"), "EUR", "estimate"),
        ("autumn", next_day, "France", "MARKETING", 1, Decimal("0.085900"), "EUR", "estimate"),
    ]
