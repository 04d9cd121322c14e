"""Older ledgers with something in every table, with a campaign under way, and killed in the midst of it."""

import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resources import tables
from resources.ledger import Ledger
from tests.resources.test_migrations import OLD
from tests.stage import OFFER, Stage, person

READS = (
    OFFER
    + """    on_read: {within: 2d, read: second, not_read: end}
  second:
    message: {template: reminder, language: fr}
"""
)
SLOWER = [pytest.param(one, marks=pytest.mark.slow) if one > 1 else one for one in OLD]
VALUES = {"TEXT": "'v{n}'", "BIGINT": "{n}0", "INTEGER": "{n}", "BOOLEAN": "1", "FLOAT": "{n}.5"}

MIGRATE = """
import os, signal, sys
from resources import migrations
from resources.ledger import Ledger
last = max(migrations.MIGRATIONS)
whole = migrations.MIGRATIONS[last]
def killed(tx):
    whole(tx)
    os.kill(os.getpid(), signal.SIGKILL)
migrations.MIGRATIONS[last] = killed
Ledger.open(sys.argv[1])
"""


def empty(path: Path, version: int) -> sqlite3.Connection:
    con = sqlite3.connect(path)
    con.executescript(Path(__file__).with_name(f"schema_{version}.sql").read_text())
    return con


def facts(version: int) -> list[tuple[str, str]]:
    return [("schema_version", str(version)), ("installation", "0123abcd"), ("epoch", "1")]


def old_tables(con: sqlite3.Connection) -> list[str]:
    return [str(name) for (name,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]


def filled(path: Path, version: int) -> dict[str, tuple[list[str], list[tuple[Any, ...]]]]:
    """An older ledger with three rows in every table, a value in every column. Gives what is in it."""
    con = empty(path, version)
    found: dict[str, tuple[list[str], list[tuple[Any, ...]]]] = {}
    for table in old_tables(con):
        columns = [(row[1], row[2]) for row in con.execute(f"PRAGMA table_info('{table}')")]
        names = [f'"{name}"' for name, _ in columns]
        for n in (1, 2, 3):
            if table != "meta":
                values = ", ".join(VALUES[kind].format(n=n) for _, kind in columns)
                con.execute(f'INSERT INTO "{table}" ({", ".join(names)}) VALUES ({values})')
        if table == "meta":
            con.executemany("INSERT INTO meta VALUES (?, ?)", facts(version))
        found[table] = (names, con.execute(f'SELECT {", ".join(names)} FROM "{table}" ORDER BY 1, 2').fetchall())
    con.commit()
    con.close()
    return found


def shape(path: Path) -> dict[str, set[tuple[Any, ...]]]:
    """Every column with its type, its default and whether it may be null; every index with what it is limited to."""
    con = sqlite3.connect(path)
    found: dict[str, set[tuple[Any, ...]]] = {}
    for table in old_tables(con):
        rows = con.execute(f"PRAGMA table_info('{table}')").fetchall()
        found[table] = {(name, kind, bool(needed), plain(default), key) for _, name, kind, needed, default, key in rows}
        for _, name, unique, origin, partial in con.execute(f"PRAGMA index_list('{table}')").fetchall():
            places = tuple(row[2] for row in con.execute(f"PRAGMA index_info('{name}')"))
            text = con.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
            limit = plain(re.split(r"\bwhere\b", text, flags=re.IGNORECASE)[1]) if partial else ""
            found[table].add((name if origin == "c" else "", places, unique, limit))
    con.close()
    return found


def plain(text: str | None) -> str | None:
    return None if text is None else re.sub(r"[\s'\"()]", "", text).lower()


@pytest.mark.parametrize("version", OLD)
def test_columns_defaults_and_indexes_are_those_of_a_ledger_made_today(tmp_path: Path, version: int) -> None:
    filled(tmp_path / "old.sqlite", version)
    for name in ("old", "new"):
        Ledger.open(tmp_path / f"{name}.sqlite").close()
    assert shape(tmp_path / "old.sqlite") == shape(tmp_path / "new.sqlite")


@pytest.mark.parametrize("version", OLD)
def test_every_row_of_every_table_says_what_it_said(tmp_path: Path, version: int) -> None:
    path = tmp_path / "old.sqlite"
    before = filled(path, version)
    assert all(len(rows) == 3 for _, rows in before.values())
    Ledger.open(path).close()
    con = sqlite3.connect(path)
    for table, (names, rows) in before.items():
        now = con.execute(f'SELECT {", ".join(names)} FROM "{table}" ORDER BY 1, 2').fetchall()
        if table == "meta":
            rows = sorted({**dict(rows), "schema_version": str(tables.SCHEMA_VERSION)}.items())
            now = [row for row in now if row[0] in {name for name, _ in rows}]
        if table == "message":
            known = [place for place, name in enumerate(names) if name != '"counted"']
            rows, now = ([tuple(row[place] for place in known) for row in some] for some in (rows, now))
        assert now == rows, table
    con.close()


def downgraded(path: Path, version: int) -> None:
    """The ledger as a release with an older schema would have left it: what that one did not know is gone."""
    aside = path.with_name("today.sqlite")
    path.rename(aside)
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)
    con = empty(path, version)
    con.execute("ATTACH ? AS today", (str(aside),))
    for table in old_tables(con):
        then = {row[1] for row in con.execute(f"PRAGMA main.table_info('{table}')")}
        both = [row[1] for row in con.execute(f"PRAGMA today.table_info('{table}')") if row[1] in then]
        names = ", ".join(f'"{name}"' for name in both)
        con.execute(f'INSERT INTO main."{table}" ({names}) SELECT {names} FROM today."{table}"')
    con.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", (str(version),))
    con.commit()
    con.close()
    aside.unlink()


@pytest.mark.parametrize("version", SLOWER)
def test_a_campaign_under_way_goes_on_after_an_upgrade(make_home, version: int) -> None:
    stage = make_home(campaigns=(READS,), contacts=[person(1), person(2), person(3)])
    stage.run()
    assert len(stage.send(want=2)) == 2
    stage.turn()
    now, path, ledger = stage.now, stage.path, stage.home.ledger_path()
    stage.home.ledger.copy(path / "copy.sqlite")
    stage.home.close()
    (path / "copy.sqlite").replace(ledger)
    downgraded(ledger, version)
    again = Stage(path, now)
    try:
        assert again.home.ledger.meta("schema_version") == str(tables.SCHEMA_VERSION)
        again.turn()
        assert len(again.send()) == 1, "the one who had got nothing"
        again.later(minutes=5).status(1, "read").turn()
        assert len(again.send()) == 1
        assert again.rows("SELECT contact_id, step, state FROM message ORDER BY id")[3:] == [
            ("c1", "second", "accepted")
        ]
        again.run()
        assert again.send() == [], "an audience still enters once"
    finally:
        again.home.close()


@pytest.mark.parametrize("version", SLOWER)
def test_an_upgrade_that_was_killed_in_the_middle_is_made_by_the_next_start(tmp_path: Path, version: int) -> None:
    path = tmp_path / "old.sqlite"
    filled(path, version)
    done = subprocess.run([sys.executable, "-c", MIGRATE, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    con = sqlite3.connect(path)
    assert con.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchone() == (str(version),)
    con.close()
    for name in ("old", "new"):
        Ledger.open(tmp_path / f"{name}.sqlite").close()
    assert shape(path) == shape(tmp_path / "new.sqlite")
