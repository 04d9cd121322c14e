"""Event files into the store: each event once, whoever's it is."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
import sqlalchemy as sa

from journey.event_rows import event_key
from resources import events as events_module
from resources.contact_intake import IntakeRules, TakenFile, take_in_contacts
from resources.contacts import Contacts
from resources.event_intake import take_in_events
from resources.events import EVENTS, Events
from resources.lake import Lake
from resources.landing import Landing
from resources.ledger import Ledger
from resources.tables import quarantine

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
RULES = IntakeRules("FR", ZoneInfo("Europe/Paris"), True)


@dataclass
class Store:
    root: Path

    def __post_init__(self) -> None:
        self.ledger = Ledger.open(self.root / "ledger.sqlite")
        self.lake = Lake(self.root / "lake", self.ledger)
        self.landing = Landing(self.root / "landing", self.ledger)
        self.contacts = Contacts(self.lake, self.ledger)
        self.events = Events(self.lake, self.ledger)

    def put(self, name: str, text: str | bytes, kind: str = "events") -> Path:
        path = self.root / "landing" / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def take(self, name: str, text: str | bytes) -> TakenFile:
        self.put(name, text)
        return self.again()

    def again(self, final: bool = True) -> TakenFile:
        args = (self.landing, self.events, self.contacts, RULES, None, NOW, NOW.timestamp(), final)
        return [TakenFile("events", ""), *take_in_events(*args)][-1]

    def know(self, text: str) -> None:
        self.put("c.csv", text, "contacts")
        take_in_contacts(self.landing, self.contacts, RULES, None, NOW, NOW.timestamp())

    def frame(self) -> pl.DataFrame:
        return self.events.scan().collect()

    def bad(self) -> list[tuple[int, str]]:
        with self.ledger.read() as tx:
            return [(row.line, row.reason) for row in tx.execute(sa.select(quarantine).order_by(quarantine.c.line))]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.ledger.close()


def line(**fields: Any) -> str:
    return json.dumps({"event": "buy", "contact_id": "u1", "occurred_at": "2026-11-01T10:00:00Z", **fields}) + "\n"


def test_events_are_stored_with_their_fields(store: Store) -> None:
    taken = store.take("a.ndjson", line(event_id="e1", properties={"b": 1, "a": {"x": [1.5, None]}}, amount=3))
    assert (taken.rows, taken.new, taken.quarantined) == (1, 1, 0)
    frame = store.frame()
    assert frame.schema == pl.Schema(EVENTS)
    assert frame.to_dicts() == [
        {
            "event_id": "e1",
            "event_key": event_key("e1"),
            "event": "buy",
            "contact_id": "u1",
            "occurred_at": datetime(2026, 11, 1, 10, tzinfo=UTC),
            "properties": '{"a":{"x":[1.5,null]},"amount":3,"b":1}',
            "source_file": "events/a.ndjson",
            "taken_at": NOW,
            "batch": 1,
        }
    ]


def test_the_key_of_an_event_is_the_same_for_ever() -> None:
    assert event_key("e1") == 1971835917959106308


def test_columns_of_csv_and_parquet_that_are_no_field_are_properties(store: Store) -> None:
    store.take("a.csv", "Event,User ID,Occurred at,amount,zip\nbuy,u1,2026-11-01 10:00,12.50,\n")
    path = store.put("b.parquet", b"")
    pl.DataFrame({"event": ["visit"], "contact_id": ["u1"], "occurred_at": [NOW], "n": [3], "x": ["y"]}).write_parquet(
        path
    )
    store.again()
    found = store.frame().select("event", "occurred_at", "properties").sort("event").rows()
    assert found == [
        ("buy", datetime(2026, 11, 1, 9, tzinfo=UTC), '{"amount":"12.50"}'),
        ("visit", NOW, '{"n":3,"x":"y"}'),
    ]


def test_a_bad_event_is_quarantined_and_the_rest_comes_in(store: Store) -> None:
    taken = store.take(
        "a.ndjson",
        line(event_id="1")
        + line(event=" ")
        + line(occurred_at=None)
        + line(occurred_at="soon")
        + line(contact_id=None)
        + line(contact_id=None, phone="abc")
        + line(properties=[1])
        + line(event="x" * 300)
        + "{\n"
        + line(event_id="2"),
    )
    assert (taken.rows, taken.new, taken.quarantined) == (10, 2, 8)
    assert store.bad() == [
        (2, "there is no event"),
        (3, "there is no occurred_at"),
        (4, "“soon”: occurred_at is no time (e.g. 2026-12-01T10:00:00Z)"),
        (5, "there is neither a contact_id nor a phone"),
        (6, "“abc”: phone is no phone number"),
        (7, "properties is no JSON object"),
        (8, "event, event_id or contact_id is longer than 200 characters"),
        (9, "it is not JSON (Input data was truncated)"),
    ]


def test_an_event_comes_once_whatever_file_brings_it(store: Store) -> None:
    store.take("a.ndjson", line(event_id="1") + line(event_id="1", amount=2) + line(event_id="2"))
    taken = store.take("b.ndjson", line(event_id="2") + line(event_id="3"))
    assert (taken.new, taken.unchanged) == (1, 1)
    assert sorted(store.frame()["event_id"]) == ["1", "2", "3"]


def test_the_same_event_in_two_files_is_one_and_two_identical_lines_of_a_file_are_two(store: Store) -> None:
    store.take("a.ndjson", line() + line() + line(amount=1))
    assert store.take("b.ndjson", line(amount=1) + line()).new == 0
    assert store.take("c.ndjson", line() + line() + line()).new == 1
    assert store.frame().height == 4


def test_identical_lines_are_counted_over_the_parts_of_a_growing_file(store: Store) -> None:
    store.take("a.ndjson", line() + line(event_id="x"))
    store.put("a.ndjson", line() + line(event_id="x") + line() + line(amount=1))
    assert store.again().new == 2
    store.put("b.ndjson", line() + line() + line(event_id="x") + line(amount=1))
    assert store.again().new == 0


def test_identical_lines_are_counted_over_the_parts_of_a_csv(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "BATCH", 2)
    assert store.take("a.csv", "event,contact_id,occurred_at\n" + "buy,u1,2026-11-01\n" * 5).new == 5
    assert store.take("b.csv", "event,contact_id,occurred_at\n" + "buy,u1,2026-11-01\n" * 7).new == 2


def test_a_phone_means_whoever_has_it_else_a_stranger(store: Store) -> None:
    store.know("phone,contact_id\n0600000001,u1\n")
    store.take(
        "a.ndjson",
        line(contact_id=None, phone="06 00 00 00 01")
        + line(contact_id=None, phone="+33600000002")
        + line(contact_id="whatsapp:+33600000001", n=1)
        + line(contact_id="u9", phone="+33600000001", n=2),
    )
    assert sorted(store.frame()["contact_id"]) == ["u1", "u1", "u9", "whatsapp:+33600000002"]


def test_a_file_read_again_after_its_phone_was_taken_over_changes_nothing(store: Store) -> None:
    text = line(contact_id=None, phone="+33600000001") + line(contact_id="whatsapp:+33600000001", n=1)
    store.take("a.ndjson", text)
    store.know("phone,contact_id\n0600000001,u1\n")
    taken = store.take("b.ndjson", text + line(event_id="other"))
    assert (taken.new, taken.unchanged) == (1, 2)


def test_a_last_line_without_its_end_waits_unless_it_is_final(store: Store) -> None:
    path = store.put("a.ndjson", line(event_id="1") + line(event_id="2").rstrip())
    wall = path.stat().st_mtime
    take_in_events(store.landing, store.events, store.contacts, RULES, None, NOW, wall)
    assert store.frame().height == 1
    take_in_events(store.landing, store.events, store.contacts, RULES, None, NOW, wall + 11)
    assert store.frame().height == 2


def test_a_bad_file_does_not_stop_the_others(store: Store) -> None:
    store.put("a.parquet", b"nope")
    store.put("a.zip", b"nope")
    store.put("a.csv", "event,contact_id\nbuy,u1\n" * 3)
    store.take("b.ndjson", line())
    assert store.frame().height == 1
    assert [line for line, _ in store.bad()] == [0, 0, 0]
    assert store.again() == TakenFile("events", "")


def test_a_crash_before_the_transaction_leaves_nothing_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a.ndjson", line(event_id="1"))
    write = Ledger.write
    monkeypatch.setattr(Ledger, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.again()
    monkeypatch.setattr(Ledger, "write", write)
    assert store.frame().height == 0
    store.again()
    assert store.frame().height == 1


def test_two_ids_with_one_hash_are_two_events(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "event_key", lambda _: 7)
    store.take("a.ndjson", line(event_id="1"))
    assert store.take("b.ndjson", line(event_id="2") + line(event_id="1")).new == 1
    assert sorted(store.frame()["event_id"]) == ["1", "2"]


def test_how_far_so_many_events_reach(make_home):
    stage = make_home()
    with stage.home.ledger.read() as tx:
        start = stage.home.events.mark(tx)
    for number in range(6):  # batches of 1, 3, 1, 1, 1, 1 events, of which every other one is of another name
        for nth in range(3 if number == 1 else 1):
            stage.happens("bought" if number % 2 else "seen", "c1", file=f"{number}.ndjson", event_id=f"{number}-{nth}")
        stage.turn()
    reach = stage.home.events.reach
    assert reach(start, ["bought"], 100) == 6
    assert reach(start, ["bought"], 5) == 6
    assert reach(start, ["bought"], 4) == 5
    assert reach(start, ["bought"], 3) == 3
    assert reach(start, ["bought"], 1) == 2, "one batch at least"
    assert reach(start, ["seen"], 2) == 4
    assert reach(start, ["nothing"], 1) == 6
