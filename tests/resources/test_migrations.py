"""A ledger of the first schema becomes one of today, with what was in it."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from journey.problems import LedgerError
from resources import tables
from resources.ledger import Ledger

OLD = range(1, tables.SCHEMA_VERSION)


def old_ledger(path: Path, version: int) -> Path:
    """A ledger of an older schema with a participant and a message in it."""
    con = sqlite3.connect(path)
    con.executescript(Path(__file__).with_name(f"schema_{version}.sql").read_text())
    con.executemany(
        "INSERT INTO meta (name, value) VALUES (?, ?)",
        [("schema_version", str(version)), ("installation", "0123abcd"), ("epoch", "1")],
    )
    con.execute(
        "INSERT INTO participant (id, campaign, version, contact_id, key, entry, occurrence, priority, entered_at,"
        f" step, visit, arrived_at, wake_at, state{'' if version == 1 else ', since'})"
        " VALUES (7, 'offer', 'v', 'c1', '', 'audience', 'run', 1, 5, 'hello', 1, 5, 9, 'waiting'"
        f"{'' if version == 1 else ', 5'})"
    )
    con.execute(
        "INSERT INTO message (id, uid, participant_id, campaign, version, step, visit, contact_id, phone, sender,"
        f" share, kind, priority, state, due_at, expires_at, planned_at{'' if version == 1 else ', counted'})"
        " VALUES (3, 99, 7, 'offer', 'v', 'hello', 1, 'c1', '+336', 'main', 1, 'template', 1, 'planned', 5, 9, 5"
        f"{'' if version == 1 else ', 1'})"
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


def test_every_older_schema_has_its_file_here() -> None:
    assert {path.name for path in Path(__file__).parent.glob("schema_*.sql")} == {f"schema_{n}.sql" for n in OLD}


@pytest.mark.parametrize("version", OLD)
def test_an_older_schema_becomes_todays_whole(tmp_path: Path, version: int) -> None:
    old, new = old_ledger(tmp_path / "old.sqlite", version), tmp_path / "new.sqlite"
    Ledger.open(new).close()
    ledger = Ledger.open(old)
    assert ledger.meta("schema_version") == str(tables.SCHEMA_VERSION)
    ledger.close()
    assert shape(old) == shape(new)


@pytest.mark.parametrize("version", OLD)
def test_what_was_in_the_ledger_is_there_after_it(tmp_path: Path, version: int) -> None:
    ledger = Ledger.open(old_ledger(tmp_path / "old.sqlite", version))
    with ledger.read() as tx:
        person = tx.execute(sa.select(tables.participant)).one()
        message = tx.execute(sa.select(tables.message)).one()
    ledger.close()
    assert (person.id, person.contact_id, person.since, person.state) == (7, "c1", 5, "waiting")
    assert (message.id, message.participant_id, message.counted, message.price) == (3, 7, True, None)


@pytest.mark.parametrize("said", ["DELETE FROM meta", "UPDATE meta SET value = 'v4' WHERE name = 'schema_version'"])
def test_a_ledger_that_does_not_say_what_it_is_is_refused_and_left_as_it_was(tmp_path: Path, said: str) -> None:
    path = old_ledger(tmp_path / "old.sqlite", 2)
    with contextlib.closing(sqlite3.connect(path)) as con:
        con.execute(said)
        con.commit()
    before = shape(path)
    with pytest.raises(LedgerError, match="does not say of which schema it is") as caught:
        Ledger.open(path)
    assert "estafette restore" in str(caught.value.mend)
    assert shape(path) == before
