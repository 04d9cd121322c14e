"""Contact files into the store: what a row does to whom, consent, takeovers, crashes."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import polars as pl
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from journey.audience import load_segment
from journey.clock import to_us
from journey.consent import changes_frame
from journey.words import Scope
from resources import contact_intake
from resources import contacts as contacts_module
from resources.consents import apply_consent, suppressed
from resources.contact_intake import IntakeRules, TakenFile, take_in_contacts
from resources.contacts import Contacts
from resources.event_intake import take_in_events
from resources.events import Events
from resources.lake import Lake
from resources.landing import Landing
from resources.ledger import Ledger
from resources.segments import evaluate
from resources.tables import (
    click,
    consent_history,
    coupon,
    dirty,
    goal,
    message,
    participant,
    quarantine,
    reply,
    suppression,
)
from resources.whatsapp_ids import ensure_strangers, match_inbound, people_of

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")


@dataclass
class Store:
    """A ledger, a lake and a landing zone in a folder, with a clock that moves an hour at each take-in."""

    root: Path
    default: bool = True
    properties: dict[str, Any] = field(default_factory=dict)
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.ledger = Ledger.open(self.root / "ledger.sqlite")
        self.lake = Lake(self.root / "lake", self.ledger)
        self.landing = Landing(self.root / "landing", self.ledger)
        self.contacts = Contacts(self.lake, self.ledger, self.properties)
        self.events = Events(self.lake, self.ledger)

    def put(self, name: str, text: str | bytes, kind: str = "contacts") -> Path:
        path = self.root / "landing" / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    @property
    def rules(self) -> IntakeRules:
        return IntakeRules("FR", PARIS, self.default, self.properties)

    def take(self, name: str = "", text: str | bytes = "", final: bool = True) -> TakenFile:
        """Puts a file (if any) and takes in what is pending; the result of the last file."""
        if name:
            self.put(name, text)
        self.now += timedelta(hours=1)
        wall = self.now.timestamp()
        taken = take_in_contacts(self.landing, self.contacts, self.rules, None, self.now, wall, final)
        return taken[-1] if taken else TakenFile("contacts", "")

    def take_events(self, name: str, text: str | bytes) -> TakenFile:
        self.put(name, text, "events")
        [taken] = take_in_events(
            self.landing, self.events, self.contacts, self.rules, None, self.now, self.now.timestamp(), True
        )
        return taken

    def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        return sorted(self.contacts.frame(list(columns)).rows(), key=str)

    def one(self, contact_id: str) -> dict[str, Any]:
        [row] = self.contacts.frame(ids=[contact_id]).to_dicts()
        return row

    def table(self, table: sa.Table, *columns: str) -> list[tuple[Any, ...]]:
        with self.ledger.read() as tx:
            return [
                tuple(row)
                for row in tx.execute(sa.select(*(table.c[name] for name in columns)).order_by(table.c[columns[0]]))
            ]

    def bad(self) -> list[tuple[Any, ...]]:
        with self.ledger.read() as tx:
            query = sa.select(quarantine.c.file, quarantine.c.line, quarantine.c.reason).order_by(quarantine.c.id)
            return [tuple(row) for row in tx.execute(query)]

    def scopes(self) -> dict[str, str]:
        return dict(self.table(suppression, "subject", "scope"))

    def history(self) -> list[tuple[Any, ...]]:
        with self.ledger.read() as tx:
            query = sa.select(consent_history).order_by(consent_history.c.id)
            return [(row.contact_id, row.change, row.scope, row.cause) for row in tx.execute(query)]

    def say(self, contact_id: str, change: str, scope: Scope, cause: str = "stop_word", **more: Any) -> int:
        """A person's own word; how many changes that was."""
        self.now += timedelta(hours=1)
        row = {
            "contact_id": contact_id, "phone": self.one(contact_id)["phone"], "change": change, "scope": str(scope),
            "cause": cause, "source": "webhooks/x", "wamid": more.get("wamid"), "changed_at": more.get("at", self.now),
        }  # fmt: skip
        return apply_consent(self.contacts, None, changes_frame([row]), self.now).height


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.ledger.close()


ONE, TWO, THREE = "+33600000001", "+33600000002", "+33600000003"


# -- rows --------------------------------------------------------------------------------------------------------------


def test_a_file_becomes_contacts_with_typed_properties(store: Store) -> None:
    taken = store.take(
        "a.csv",
        "\ufeffPhone Number;User ID;First name;zip;spent;born;tags;Locale;timezone;opted_in;seen\r\n"
        "06 00 00 00 01;u1;Zoé;01000;12.5;1990-01-31;vip| news ;fr;Europe/Paris;oui;2026-11-01 10:00\r\n"
        "0600000002;;Jean;75001;7;;;;;;\r\n",
    )
    assert (taken.rows, taken.new, taken.quarantined) == (2, 2, 0)
    one = store.one("u1")
    assert {name: one[name] for name in ("phone", "First name", "zip", "spent", "locale", "timezone", "opted_in")} == {
        "phone": ONE, "First name": "Zoé", "zip": "01000", "spent": 12.5, "locale": "fr", "timezone": "Europe/Paris",
        "opted_in": True,
    }  # fmt: skip
    assert sorted(one["tags"]) == ["news", "vip"]
    assert one["seen"] == datetime(2026, 11, 1, 9, tzinfo=UTC)
    assert store.one(f"whatsapp:{TWO}")["opted_in"] is None
    assert store.contacts.types() == {
        "First name": "text", "zip": "text", "spent": "double", "born": "date", "seen": "timestamptz",
    }  # fmt: skip


def test_a_bad_row_is_quarantined_with_file_line_reason_and_text_and_the_rest_comes_in(store: Store) -> None:
    taken = store.take("a.csv", "phone,contact_id,n\n0600000001,u1,1\nn/a,u2,2\n,,3\n0600000003,u3,4\n")
    assert (taken.new, taken.quarantined) == (2, 2)
    assert store.bad() == [
        ("contacts/a.csv", 3, "“n/a”: phone is no phone number"),
        ("contacts/a.csv", 4, "there is neither a contact_id nor a phone"),
    ]
    assert store.table(quarantine, "raw") == [(",,3",), ("n/a,u2,2",)]


def test_a_value_that_does_not_fit_costs_its_cell_not_the_row(store: Store) -> None:
    store.take("a.csv", "phone,n,timezone\n0600000001,1,Europe/Paris\n0600000002,2,\n0600000003,3,\n")
    taken = store.take("b.csv", "phone,n,timezone\n0600000001,seven,Mars/Olympus\n0600000002,8,\n")
    assert (taken.changed, taken.unchanged, taken.quarantined) == (1, 1, 2)
    assert [reason for _, _, reason in store.bad()] == [
        "“seven”: n is no whole number; the rest of the row was taken",
        "“Mars/Olympus”: timezone is no time zone (IANA, e.g. Europe/Paris); the rest of the row was taken",
    ]
    assert store.rows("phone", "n", "timezone") == [(ONE, 1, "Europe/Paris"), (TWO, 8, None), (THREE, 3, None)]


def test_a_consent_that_can_not_be_read_keeps_the_row_out(store: Store) -> None:
    assert store.take("a.csv", "phone,opted_in\n0600000001,maybe\n").quarantined == 1
    assert store.contacts.count() == 0


def test_a_later_file_updates_the_columns_that_it_brings_and_an_empty_cell_clears(store: Store) -> None:
    store.take("a.csv", "phone,contact_id,city,age\n0600000001,u1,Lyon,30\n0600000002,u2,Nice,40\n")
    taken = store.take("b.csv", "contact_id,CITY\nu1,\nu2,Nice\n")
    assert (taken.new, taken.changed, taken.unchanged) == (0, 1, 1)
    assert store.rows("contact_id", "phone", "city", "age") == [("u1", ONE, None, 30), ("u2", TWO, "Nice", 40)]


def test_the_last_row_of_a_contact_wins_within_a_file(store: Store) -> None:
    store.take("a.csv", "phone,contact_id,city\n0600000001,u1,Lyon\n0600000001,u1,Nice\n")
    assert store.one("u1")["city"] == "Nice"


def test_an_older_updated_at_never_overwrites(store: Store) -> None:
    head = "phone,contact_id,city,updated_at\n"
    store.take("a.csv", head + "0600000001,u1,Lyon,2026-11-10 10:00\n0600000001,u1,Older,2026-11-09 10:00\n")
    assert store.one("u1")["city"] == "Lyon"
    store.take("b.csv", head + "0600000001,u1,Older,2026-11-10 09:59\n")
    assert store.one("u1")["city"] == "Lyon"
    store.take("c.csv", head + "0600000001,u1,Nice,2026-11-10 10:00\n")
    assert store.one("u1")["city"] == "Nice"
    store.take("d.csv", "contact_id,city\nu1,Brest\n")
    assert (store.one("u1")["city"], store.one("u1")["updated_at"]) == ("Brest", datetime(2026, 11, 10, 9, tzinfo=UTC))


def test_a_file_without_phones_updates_known_ids_only(store: Store) -> None:
    store.take("a.csv", "phone,contact_id\n0600000001,u1\n")
    taken = store.take("b.csv", "contact_id,city\nu1,Lyon\nu9,Nice\n")
    assert (taken.new, taken.changed, taken.quarantined) == (0, 1, 1)
    assert store.bad() == [("contacts/b.csv", 3, "no contact has this contact_id, and the row brings no phone")]


def test_files_replace_only_the_tags_that_files_brought(store: Store) -> None:
    store.take("a.csv", "phone,contact_id,tags\n0600000001,u1,a|b\n")
    frame = store.contacts.frame(ids=["u1"]).with_columns(tags=pl.Series([["a", "b", "step"]]))
    file = store.contacts.put(frame, store.contacts.types())
    assert file is not None
    with store.ledger.write() as tx:
        store.lake.register(tx, file)
    store.take("b.csv", 'contact_id,tags\nu1,"[""b"", ""c""]"\n')
    assert sorted(store.one("u1")["tags"]) == ["b", "c", "step"]
    store.take("c.csv", "contact_id,tags\nu1,\n")
    assert store.one("u1")["tags"] == ["step"]


def test_json_rows_leave_alone_what_they_do_not_bring(store: Store) -> None:
    store.take(
        "a.ndjson", '{"phone":"0600000001","contact_id":"u1","city":"Lyon","age":30,"address":{"zip":"01000"}}\n'
    )
    store.take("b.ndjson", '{"contact_id":"u1","city":null}\n{"contact_id":"u1","age":31}')
    one = store.one("u1")
    assert (one["city"], one["age"], one["address.zip"]) == (None, 31, "01000")


def test_parquet_is_taken_with_its_own_types(store: Store) -> None:
    path = store.put("a.parquet", b"")
    pl.DataFrame({"phone": ["0600000001"], "contact_id": [1], "zip": ["75001"], "tags": [["x", "y"]]}).write_parquet(
        path
    )
    store.take()
    assert store.rows("contact_id", "zip", "tags") == [("1", "75001", ["x", "y"])]
    assert store.contacts.types() == {"zip": "text"}


def test_the_settings_types_win_and_a_bigint_widens_to_double(tmp_path: Path) -> None:
    store = Store(tmp_path, properties={"zip": "text"})
    store.take("a.csv", "phone,zip,n\n0600000001,75001,1\n")
    store.take("b.csv", "phone,zip,n\n0600000002,75002,2.5\n")
    assert store.contacts.types() == {"zip": "text", "n": "double"}
    assert store.rows("zip", "n") == [("75001", 1.0), ("75002", 2.5)]
    store.ledger.close()


def test_a_file_can_not_bring_what_estafette_keeps_itself(store: Store) -> None:
    taken = store.take("a.csv", "phone,contact_id,wa_id,OPT_OUT_SCOPE,Phone number\n0600000001,u1,x,all,1\n")
    assert (taken.new, taken.quarantined) == (1, 3)
    assert store.one("u1")["wa_id"] is None and store.one("u1")["opt_out_scope"] is None
    assert store.contacts.types() == {}


def test_a_file_that_is_none_does_not_stop_the_others(store: Store) -> None:
    store.put("a.parquet", b"not parquet")
    store.put("b.xlsx", b"PK")
    store.put("b.csv", "name,city\n" + "Zoé,Lyon\n" * 9)
    store.put("c.csv", b"\xff\xfe" + "phone\n0600000001\n".encode("utf-16-le"))
    store.take("d.csv", "phone\n0600000001\n")
    assert store.rows("contact_id") == [(f"whatsapp:{ONE}",)]
    assert {file for file, _, _ in store.bad()} >= {"contacts/a.parquet", "contacts/b.xlsx"}
    assert [line for file, line, _ in store.bad() if file == "contacts/b.csv"] == [0], "said once, not for each row"
    assert store.take() == TakenFile("contacts", ""), "nothing is pending any more"


def test_a_file_waits_where_the_store_fails(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(store.contacts, "put", full)
        with pytest.raises(OSError, match="No space left"):
            store.take("a.csv", "phone\n0600000001\n")
    assert store.bad() == []
    assert store.take().new == 1


def test_a_property_is_spelled_as_the_settings_write_it(tmp_path: Path) -> None:
    store = Store(tmp_path, properties={"first_name": "text"})
    store.take("a.csv", "phone,First_Name\n0600000001,Zoé\n")
    assert store.contacts.types() == {"first_name": "text"}
    store.ledger.close()


def test_a_path_with_brackets_is_no_pattern(tmp_path: Path) -> None:
    store = Store(tmp_path / "l'été [home] *")
    store.take("a[1].csv", "phone,zip\n0600000001,75001\n")
    assert store.take("b.csv", "phone,zip\n0600000002,75002\n").new == 1
    assert len(store.rows("zip")) == 2
    store.ledger.close()


# -- phones ------------------------------------------------------------------------------------------------------------


def test_a_row_whose_phone_another_id_holds_is_quarantined(store: Store) -> None:
    store.take("a.csv", "phone,contact_id\n0600000001,u1\n")
    store.take("b.csv", "phone,contact_id\n0600000001,u2\n0600000002,u3\n0600000002,u4\n")
    assert store.rows("contact_id", "phone") == [("u1", ONE), ("u3", TWO)]
    assert [(line, reason[:12]) for _, line, reason in store.bad()] == [(2, "phone_in_use"), (4, "phone_in_use")]


def test_a_phone_that_its_holder_gives_up_is_free_in_the_next_row(store: Store) -> None:
    store.take("a.csv", "phone,contact_id\n0600000001,u1\n")
    store.take("b.csv", "phone,contact_id\n0600000002,u1\n0600000001,u2\n")
    assert store.rows("contact_id", "phone") == [("u1", TWO), ("u2", ONE)]
    assert store.bad() == []


def test_two_people_may_not_swap_phones_in_one_breath(store: Store) -> None:
    store.take("a.csv", "phone,contact_id\n0600000001,u1\n0600000002,u2\n")
    store.take("b.csv", "phone,contact_id\n0600000002,u1\n0600000001,u2\n")
    assert len({phone for (phone,) in store.rows("phone")}) == 2
    assert len(store.bad()) == 2


def test_a_row_with_a_phone_alone_is_about_whoever_has_it(store: Store) -> None:
    store.take("a.csv", "phone,contact_id\n0600000001,u1\n")
    taken = store.take("b.csv", "phone,city\n0600000001,Lyon\n")
    assert (taken.new, taken.changed) == (0, 1)
    assert store.one("u1")["city"] == "Lyon"


def _passage(store: Store, contact_id: str, campaign: str = "c") -> int:
    at = to_us(NOW)
    with store.ledger.write() as tx:
        key = tx.execute(
            participant.insert().values(
                campaign=campaign, version="v", contact_id=contact_id, key="", entry="audience", occurrence="o",
                priority=1, entered_at=at, since=at, step="s", visit=1, arrived_at=at, state="waiting",
            )
        ).inserted_primary_key  # fmt: skip
        assert key is not None
        return int(key[0])


def test_an_id_takes_over_the_stranger_of_its_phone_with_its_history(store: Store) -> None:
    store.take("a.csv", "phone,city,tags\n0600000001,Lyon,old\n")
    stranger = f"whatsapp:{ONE}"
    store.take_events("e.csv", "event,phone,occurred_at\nbuy,0600000001,2026-11-01\nbuy,0600000002,2026-11-01\n")
    store.say(stranger, "opted_out", Scope.marketing, "meta_preference")
    _passage(store, stranger)
    with store.ledger.write() as tx:
        tx.execute(
            reply.insert().values(
                wamid="w", contact_id=stranger, kind="text", late=False, replied_at=to_us(NOW), received_at=to_us(NOW)
            )
        )
    taken = store.take("b.csv", "phone,contact_id,age\n0600000001,u1,30\n")
    assert (taken.new, taken.taken_over, taken.quarantined) == (1, 1, 0)
    one = store.one("u1")
    assert (one["city"], one["age"], one["tags"], one["opt_out_scope"]) == ("Lyon", 30, ["old"], "marketing")
    assert store.rows("contact_id") == [("u1",)]
    assert store.scopes() == {"contact:u1": "marketing", f"phone:{ONE}": "marketing"}
    assert store.table(participant, "contact_id") == [("u1",)]
    assert store.table(reply, "contact_id") == [("u1",)]
    assert {row[0] for row in store.history()} == {"u1"}
    found = store.events.scan().select("contact_id").collect()["contact_id"].to_list()
    assert sorted(found) == ["u1", f"whatsapp:{TWO}"]
    # The stranger's own file, once more under another name, finds the new id.
    store.take("c.csv", "contact_id,phone,city\n" + f"{stranger},,Nice\n")
    assert store.one("u1")["city"] == "Nice"
    assert store.take_events("again.csv", "event,phone,occurred_at\nbuy,0600000001,2026-11-01\n ,,\n").new == 0


def test_goals_clicks_and_coupons_of_a_stranger_go_to_the_id_that_takes_over(store: Store) -> None:
    store.take("a.csv", "phone,city\n0600000001,Lyon\n")
    stranger, at = f"whatsapp:{ONE}", to_us(NOW)
    about = {"campaign": "c", "step": "s", "contact_id": stranger, "participant_id": 1}
    with store.ledger.write() as tx:
        tx.execute(coupon.insert().values(pool="p", code="A", state="sent", contact_id=stranger, message_id=1))
        tx.execute(coupon.insert().values(pool="p", code="B", state="free"))
        tx.execute(
            message.insert().values(
                **about, uid=1, version="v", visit=1, phone=ONE, sender="main", share=0, kind="template", priority=1,
                state="sent", due_at=at, expires_at=at, planned_at=at, coupon_id=1,
            )
        )  # fmt: skip
        tx.execute(click.insert().values(**about, event_id="e", message_id=1, button="b", clicked_at=at))
        arm = {"campaign": "c", "goal": "g", "arm": "treated", "participant_id": 1, "contact_id": stranger}
        tx.execute(goal.insert().values(**arm, event_id="e", reached_at=at))
    store.take("b.csv", "phone,contact_id\n0600000001,u1\n")
    assert [store.table(one, "contact_id") for one in (goal, click, message)] == [[("u1",)]] * 3
    assert store.table(coupon, "code", "contact_id") == [("A", "u1"), ("B", None)]
    assert {"goal", "click", "coupon"} <= {row[0] for row in store.table(dirty, "name")}


def test_a_takeover_of_someone_who_is_there_already_ends_the_stranger_s_second_passage(store: Store) -> None:
    store.take("a.csv", "phone,contact_id,city\n0600000001,u1,Lyon\n0600000002,,Nice\n")
    _passage(store, "u1")
    other = _passage(store, f"whatsapp:{TWO}")
    with store.ledger.write() as tx:
        at = to_us(NOW)
        tx.execute(
            message.insert().values(
                uid=1, participant_id=other, campaign="c", version="v", step="s", visit=1, contact_id=f"whatsapp:{TWO}",
                phone=TWO, sender="main", share=0, kind="template", priority=1, state="planned", due_at=at,
                expires_at=at, planned_at=at,
            )
        )  # fmt: skip
    store.take("b.csv", "phone,contact_id\n0600000002,u1\n")
    assert store.rows("contact_id", "phone", "city") == [("u1", TWO, "Lyon")]
    with store.ledger.read() as tx:
        rows = tx.execute(sa.select(participant.c.contact_id, participant.c.state, participant.c.reason)).all()
        assert sorted(map(tuple, rows), key=str) == [("u1", "dropped", "dropped_by_hand"), ("u1", "waiting", None)]
        assert tx.execute(sa.select(message.c.state)).scalars().all() == ["cancelled"]


def test_thousands_of_takeovers_are_done_in_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact_intake, "MOST", 7)
    store.take("a.csv", "phone\n" + "".join(f"06{n:08d}\n" for n in range(30)))
    taken = store.take("b.csv", "phone,contact_id\n" + "".join(f"06{n:08d},u{n}\n" for n in range(30)))
    assert (taken.rows, taken.new, taken.taken_over) == (30, 30, 30)
    assert store.contacts.count() == 30


# -- consent -----------------------------------------------------------------------------------------------------------


def test_a_file_s_no_suppresses_contact_and_phone_and_its_yes_lifts_that(store: Store) -> None:
    store.take("a.csv", "phone,contact_id,opted_in\n0600000001,u1,false\n")
    assert store.scopes() == {"contact:u1": "file", f"phone:{ONE}": "file"}
    assert (store.one("u1")["opted_in"], store.one("u1")["opt_out_scope"]) == (False, "file")
    store.take("b.csv", "contact_id,opted_in\nu1,\n")
    assert store.scopes(), "an empty cell says nothing of consent"
    store.take("c.csv", "contact_id,opted_in\nu1,true\n")
    assert store.scopes() == {}
    assert (store.one("u1")["opted_in"], store.one("u1")["opt_out_scope"]) == (True, None)
    assert store.history() == [("u1", "opted_out", "file", "file"), ("u1", "opted_in", "file", "file")]


def test_an_import_never_undoes_a_person_s_own_word_unless_it_brings_a_later_consent(store: Store) -> None:
    store.take("a.csv", "phone,contact_id,opted_in\n0600000001,u1,true\n")
    store.say("u1", "opted_out", Scope.all)
    out_at = store.now
    store.take("b.csv", "contact_id,opted_in,opted_in_at\nu1,true,2026-11-01 10:00\n")
    store.take("c.csv", "contact_id,opted_in\nu1,true\n")
    assert store.scopes() == {"contact:u1": "all", f"phone:{ONE}": "all"}
    assert (store.one("u1")["opted_in"], store.one("u1")["opted_out_at"]) == (False, out_at)
    later = (out_at + timedelta(minutes=1)).isoformat()
    store.take("d.csv", f"contact_id,opted_in,opted_in_at\nu1,true,{later}\n")
    assert store.scopes() == {}
    assert (store.one("u1")["opted_in"], store.one("u1")["opted_out_at"]) == (True, None)
    assert store.history()[-1] == ("u1", "opted_in", "all", "file")


def test_who_refuses_marketing_stays_opted_in(store: Store) -> None:
    store.take("a.csv", "phone,contact_id,opted_in\n0600000001,u1,true\n")
    store.say("u1", "opted_out", Scope.marketing, "meta_preference")
    store.take("b.csv", "contact_id,opted_in,city\nu1,true,Lyon\n")
    assert (store.one("u1")["opted_in"], store.one("u1")["opt_out_scope"]) == (True, "marketing")
    assert store.say("u1", "opted_in", Scope.marketing, "meta_preference") == 1
    assert store.scopes() == {}


def test_a_file_s_no_does_not_weaken_a_person_s_own_word(store: Store) -> None:
    store.take("a.csv", "phone,contact_id\n0600000001,u1\n")
    store.say("u1", "opted_out", Scope.marketing, "meta_preference")
    store.take("b.csv", "contact_id,opted_in\nu1,false\n")
    assert set(store.scopes().values()) == {"marketing"}
    assert store.one("u1")["opted_in"] is False
    store.say("u1", "opted_out", Scope.all)
    assert set(store.scopes().values()) == {"all"}


def test_start_opts_in_again_and_old_words_do_not_come_back(store: Store) -> None:
    store.take("a.csv", "phone,contact_id\n0600000001,u1\n")
    assert store.say("u1", "opted_out", Scope.all, wamid="w1") == 1
    stop_at = store.now
    assert store.say("u1", "opted_out", Scope.all, wamid="w2") == 0, "in force already"
    assert store.say("u1", "opted_in", Scope.all, "start_word") == 1
    assert store.scopes() == {}
    assert store.say("u1", "opted_out", Scope.all, wamid="w1", at=stop_at) == 0, "older than START"
    assert store.scopes() == {}
    assert [row[1] for row in store.history()] == ["opted_out", "opted_out", "opted_in"], "each word is remembered"


def test_consent_of_strangers_is_asked_for_where_the_default_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path, default=False)
    store.take("a.csv", "phone,contact_id,opted_in\n0600000001,u1,true\n0600000002,u2,\n")
    assert store.history() == [("u1", "opted_in", "file", "file")]
    tables = store.contacts.tables(store.events, store.default)
    segment, _ = load_segment("user: {opted_in: true}", "segments/it.yaml")
    assert segment is not None
    assert evaluate("it", {"it": segment}, tables, store.now, PARIS).frame["contact_id"].to_list() == ["u1"]
    store.ledger.close()


def test_more_changes_than_a_transaction_holds_are_written_in_parts_and_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contact_intake, "BULK", 3)
    text = "phone,contact_id,opted_in\n" + "".join(f"06{n:08d},u{n},false\n" for n in range(10))
    store.take("a.csv", text)
    assert len(store.scopes()) == 20
    assert len(store.history()) == 10


def test_suppressed_says_the_scope_of_each_subject(store: Store) -> None:
    store.take("a.csv", "phone,contact_id,opted_in\n0600000001,u1,false\n")
    with store.ledger.read() as tx:
        assert suppressed(tx, ["contact:u1", "contact:u2"]) == {"contact:u1": "file"}


# -- who wrote ---------------------------------------------------------------------------------------------------------


def who(**columns: Any) -> pl.DataFrame:
    schema = {"user_id": pl.String(), "wa_id": pl.String(), "phone": pl.String()}
    rows = {name: columns.get(name, [None]) for name in schema}
    return pl.DataFrame(rows, schema=schema)


def test_inbound_is_matched_by_user_id_then_wa_id_then_phone(store: Store) -> None:
    store.take("a.csv", "phone,contact_id\n0600000001,u1\n0600000002,u2\n0600000003,u3\n")
    people_of(store.contacts, None, who(user_id=["M1"], wa_id=["33600000001"], phone=[ONE]), store.now)
    assert (store.one("u1")["wa_id"], store.one("u1")["wa_user_id"]) == ("33600000001", "M1")
    match = match_inbound(
        store.contacts,
        who(
            user_id=["M1", "M9", None, None],
            wa_id=[None, "33600000001", "33600000003", "1"],
            phone=[TWO, TWO, None, None],
        ),
    )
    assert match["contact_id"].to_list() == ["u1", "u1", "u3", None]


def test_a_stranger_becomes_a_contact_that_is_not_opted_in(store: Store) -> None:
    inbound = who(user_id=["M1", "M2", "M1"], wa_id=["33600000001", None, None], phone=[ONE, None, None])
    people = people_of(store.contacts, None, inbound, store.now)
    assert people["contact_id"].to_list()[:2] == [f"whatsapp:{ONE}", "whatsapp:M2"]
    assert store.one("whatsapp:M2")["phone"] is None
    assert store.one(f"whatsapp:{ONE}")["opted_in"] is False
    again = ensure_strangers(store.contacts, None, inbound)
    assert again["contact_id"].to_list() == [f"whatsapp:{ONE}", "whatsapp:M2", f"whatsapp:{ONE}"]


# -- the store ---------------------------------------------------------------------------------------------------------


def test_changes_are_folded_into_the_base_and_nobody_is_lost(store: Store) -> None:
    store.take("a.csv", "phone,contact_id,n\n" + "".join(f"06{i:08d},u{i},{i}\n" for i in range(100)))
    for i in range(4):
        store.take(f"b{i}.csv", f"contact_id,n\nu{i},-1\n")
    base, delta = store.contacts.files()
    assert len(base) == 1 and 0 < len(delta) <= 4
    before = store.rows("contact_id", "n")
    assert store.contacts.fold(None, force=True)
    base, delta = store.contacts.files()
    assert (len(base), len(delta)) == (1, 0)
    assert store.rows("contact_id", "n") == before


def test_a_large_base_is_files_in_the_order_of_ids(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contacts_module, "BASE_ROWS", 20)
    monkeypatch.setattr(contacts_module, "SAMPLED", 3)
    people = random.Random(3).sample(range(100, 200), 100)
    store.take("a.csv", "phone,contact_id,n\n" + "".join(f"06{i:08d},u{i},{i}\n" for i in people))
    store.take("b.csv", "phone,contact_id,n\n" + "".join(f"07{i:08d},u{i},{i}\n" for i in range(150, 250, 7)))
    changed = store.contacts.frame(ids=["u100", "u133", "u248"]).with_columns(
        n=pl.lit(-1, pl.Int64), gone=pl.col("contact_id") == "u133"
    )
    file = store.contacts.put(changed, store.contacts.types())
    assert file is not None
    with store.ledger.write() as tx:
        store.lake.register(tx, file)
    before = sorted(store.rows("contact_id", "n"))
    assert store.contacts.fold(None, force=True)
    base, delta = store.contacts.files()
    files = [pl.read_parquet(one)["contact_id"].to_list() for one in base]
    assert len(files) > 2 and not delta
    ids = [one for file in files for one in file]
    assert ids == sorted(ids) and "u133" not in ids
    assert sorted(store.rows("contact_id", "n")) == before
    assert ("u100", -1) in before
    assert store.contacts.frame(["contact_id"], ["u249", "u101", "nobody"])["contact_id"].to_list() == ["u101"]


def test_many_small_changes_are_put_together_without_touching_the_base(store: Store) -> None:
    store.take("a.csv", "phone,contact_id,n\n" + "".join(f"06{i:08d},u{i},{i}\n" for i in range(5000)))
    base, _ = store.contacts.files()
    for i in range(70):
        frame = store.contacts.frame(ids=["u1"]).with_columns(n=pl.lit(1000 + i, pl.Int64))
        file = store.contacts.put(frame, store.contacts.types())
        assert file is not None
        with store.ledger.write() as tx:
            store.lake.register(tx, file)
    assert store.contacts.fold(None)
    assert (store.contacts.files()[0], len(store.contacts.files()[1])) == (base, 1)
    assert store.one("u1")["n"] == 1069


def test_segments_see_what_the_store_says(store: Store) -> None:
    store.take("a.csv", "phone,contact_id,n,tags\n0600000001,u1,1,a\n0600000002,u2,2,b\n0600000003,,3,\n")
    store.contacts.fold(None, force=True)
    store.take("b.csv", "phone,contact_id,n,new\n0600000002,u2,2.5,x\n0600000003,u3,7,y\n")
    tables = store.contacts.tables(store.events, True)
    segment, _ = load_segment("select contact_id, n, new, tags from contacts order by contact_id", "segments/it.sql")
    assert segment is not None
    found = evaluate("it", {"it": segment}, tables, store.now, PARIS).frame
    assert found.rows() == [("u1", 1.0, None, '["a"]'), ("u2", 2.5, "x", '["b"]'), ("u3", 7.0, "y", "[]")]


def test_an_empty_store_is_empty(store: Store) -> None:
    assert (store.contacts.count(), store.contacts.loaded()) == (0, False)
    assert store.contacts.find(ids=["u1"]).height == 0
    segment, _ = load_segment("all: [{user: {opted_in: true}}, {not: {event: x}}]", "segments/it.yaml")
    assert segment is not None
    assert evaluate("it", {"it": segment}, store.contacts.tables(store.events, True), NOW, PARIS).rows == 0


# -- again, in parts, after a crash ------------------------------------------------------------------------------------


def test_a_copy_that_follows_nothing_else_and_a_file_that_is_renamed_or_written_again_change_nothing(
    store: Store,
) -> None:
    first = "phone,contact_id,city\n0600000001,u1,Lyon\n"
    store.take("a.csv", first)
    assert store.take("copy.csv", first).again
    store.take("b.csv", "contact_id,city\nu1,Nice\n")
    folder = store.root / "landing/contacts"
    (folder / "a.csv").rename(folder / "renamed.csv")
    assert store.take().again
    assert store.take("copy.csv", first).again
    assert store.one("u1")["city"] == "Nice"


@pytest.mark.parametrize("ending", ["csv", "ndjson"])
def test_a_file_that_says_again_what_an_earlier_one_said_wins_over_the_one_between(store: Store, ending: str) -> None:
    lyon, nice = (
        ("phone,contact_id,city\n0600000001,u1,Lyon\n", "phone,contact_id,city\n0600000001,u1,Nice\n")
        if ending == "csv"
        else tuple(f'{{"phone":"0600000001","contact_id":"u1","city":"{one}"}}\n' for one in ("Lyon", "Nice"))
    )
    for number, text in enumerate([lyon, nice, lyon, nice, nice]):
        store.take(f"export-{number}.{ending}", text)
    assert store.one("u1")["city"] == "Nice"
    assert not store.take(f"export-5.{ending}", lyon).again
    assert store.one("u1")["city"] == "Lyon"


def test_files_of_one_pass_are_read_in_their_order_whichever_of_them_are_alike(store: Store) -> None:
    lyon, nice = "phone,contact_id,city\n0600000001,u1,Lyon\n", "phone,contact_id,city\n0600000001,u1,Nice\n"
    for number, text in enumerate([lyon, nice, lyon]):
        path = store.put(f"{number}.csv", text)
        os.utime(path, (1_000 + number, 1_000 + number))
    store.take()
    assert store.one("u1")["city"] == "Lyon"


def test_a_crash_between_the_parts_of_a_file_neither_loses_nor_doubles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    monkeypatch.setattr(contact_intake, "BATCH", 4)
    monkeypatch.setattr(contact_intake, "BULK", 2)
    lines = [f"06{i % 15:08d},u{i % 15},{i},{'false' if i % 3 else 'true'}" for i in range(20)] + ["x,,,"]
    text = "phone,contact_id,n,opted_in\n" + "\n".join(lines) + "\n"
    crashes = 0
    writes = iter(range(10_000))
    limit = [0]
    write = Ledger.write

    def dying(self: Ledger, lease: Any = None) -> Any:
        if next(writes) >= limit[0]:
            raise KeyboardInterrupt
        return write(self, lease)

    store.put("a.csv", text)
    monkeypatch.setattr(Ledger, "write", dying)
    while True:  # each try gets one write further
        writes = iter(range(10_000))
        limit[0] += 1
        try:
            store.take()
            break
        except KeyboardInterrupt:
            crashes += 1
    assert crashes > 5
    monkeypatch.setattr(Ledger, "write", write)
    (tmp_path / "calm").mkdir()
    calm = Store(tmp_path / "calm")
    calm.take("a.csv", text)
    assert store.rows("contact_id", "phone", "n", "opted_in", "opt_out_scope") == calm.rows(
        "contact_id", "phone", "n", "opted_in", "opt_out_scope"
    )
    assert store.scopes() == calm.scopes()
    assert sorted(set(store.history())) == sorted(set(calm.history()))
    assert store.bad() == calm.bad()
    store.ledger.close()
    calm.ledger.close()


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "contact_id": st.sampled_from(["u1", "u2", "u3"]),
            "phone": st.sampled_from(["0600000001", "0600000002", "0600000003", ""]),
        },
        optional={"city": st.sampled_from(["Lyon", "Nice", None]), "tags": st.sampled_from(["a", "a|b", ""])},
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=20, deadline=None)
@given(rows=ROWS, seed=st.integers(0, 99))
def test_a_file_in_parts_is_the_same_as_the_whole_and_a_second_time_changes_nothing(
    rows: list[dict[str, Any]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = [msgspec.json.encode(row) + b"\n" for row in rows]
    whole, parts = Store(tmp_path_factory.mktemp("whole")), Store(tmp_path_factory.mktemp("parts"))
    whole.take("a.ndjson", b"".join(lines))
    data, at, chance = b"".join(lines), 0, random.Random(seed)
    while at < len(data):
        at = min(len(data), at + chance.randint(1, 120))
        path = parts.put("a.ndjson", data[:at])
        wall = path.stat().st_mtime  # it has just grown: a line without its end waits
        take_in_contacts(parts.landing, parts.contacts, parts.rules, None, parts.now, wall)
    columns = ("contact_id", "phone", "tags")
    assert whole.rows(*columns) == parts.rows(*columns)
    assert whole.bad() == parts.bad()
    before = whole.contacts.frame().sort("contact_id")
    again = whole.take("b.ndjson", b"".join(lines))
    assert again.again or (again.new, again.changed) == (0, 0)
    assert whole.contacts.frame().sort("contact_id").equals(before)
    whole.ledger.close()
    parts.ledger.close()
