"""A ledger of the first schema becomes one of today, with what was in it."""

import sqlite3
from pathlib import Path

import sqlalchemy as sa

from resources import tables
from resources.ledger import Ledger

FIRST = Path(__file__).with_name("schema_1.sql")


def first_ledger(path: Path) -> Path:
    """A ledger of schema 1 with a participant and a message in it."""
    con = sqlite3.connect(path)
    con.executescript(FIRST.read_text())
    con.executemany(
        "INSERT INTO meta (name, value) VALUES (?, ?)",
        [("schema_version", "1"), ("installation", "0123abcd"), ("epoch", "1")],
    )
    con.execute(
        "INSERT INTO participant (id, campaign, version, contact_id, key, entry, occurrence, priority, entered_at,"
        " step, visit, arrived_at, wake_at, state)"
        " VALUES (7, 'offer', 'v', 'c1', '', 'audience', 'run', 1, 5, 'hello', 1, 5, 9, 'waiting')"
    )
    con.execute(
        "INSERT INTO message (id, uid, participant_id, campaign, version, step, visit, contact_id, phone, sender,"
        " share, kind, priority, state, due_at, expires_at, planned_at)"
        " VALUES (3, 99, 7, 'offer', 'v', 'hello', 1, 'c1', '+336', 'main', 1, 'template', 1, 'planned', 5, 9, 5)"
    )
    con.commit()
    con.close()
    return path


def shape(path: Path) -> dict[str, tuple[object, ...]]:
    """Every table's columns and every index's, as SQLite knows them."""
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)))
    look = sa.inspect(engine)
    found: dict[str, tuple[object, ...]] = {}
    for name in look.get_table_names():
        columns = {(c["name"], str(c["type"]), c["nullable"], bool(c["primary_key"])) for c in look.get_columns(name)}
        unique = {tuple(u["column_names"]) for u in look.get_unique_constraints(name)}
        indexes = {(i["name"], tuple(i["column_names"]), i["unique"]) for i in look.get_indexes(name)}
        found[name] = (columns, unique, indexes)
    engine.dispose()
    return found


def test_the_first_schema_becomes_todays_whole(tmp_path: Path) -> None:
    old, new = first_ledger(tmp_path / "old.sqlite"), tmp_path / "new.sqlite"
    Ledger.open(new).close()
    ledger = Ledger.open(old)
    assert ledger.meta("schema_version") == str(tables.SCHEMA_VERSION)
    ledger.close()
    assert shape(old) == shape(new)


def test_what_was_in_the_ledger_is_there_after_it(tmp_path: Path) -> None:
    ledger = Ledger.open(first_ledger(tmp_path / "old.sqlite"))
    with ledger.read() as tx:
        person = tx.execute(sa.select(tables.participant)).one()
        message = tx.execute(sa.select(tables.message)).one()
    ledger.close()
    assert (person.id, person.contact_id, person.since, person.state) == (7, "c1", 5, "waiting")
    assert (message.id, message.participant_id, message.counted, message.price) == (3, 7, True, None)
