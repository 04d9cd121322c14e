"""`estafette query` reads the published tables, and nothing can be harmed by it."""

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

import resources.analyst_query
from journey.problems import EstafetteError, UsageError
from resources import tables
from resources.analyst_db import publish
from resources.analyst_query import query
from resources.contacts import Contacts
from resources.lake import Lake
from resources.ledger import US, Ledger
from resources.project import Paths
from resources.settings import Settings

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    paths = Paths(tmp_path_factory.mktemp("home"))
    ledger = Ledger.open(paths.ledger)
    lake = Lake(paths.lake, ledger)
    with ledger.write() as tx:
        tx.execute(
            tables.skip.insert().values(
                participant_id=1, campaign="autumn", step="offer", visit=1, contact_id="u1", reason="opted_out",
                skipped_at=int(NOW.timestamp()) * US,
            )
        )  # fmt: skip
    settings = Settings.model_validate(
        {
            "region": "FR",
            "timezone": "Europe/Paris",
            "senders": {"main": {"phone_number_id": "106540352242922", "waba_id": "102290129340398"}},
            "consent": {"default": "opted_in"},
        }
    )
    publish(paths, ledger, lake, Contacts(lake, ledger), settings, {}, now=NOW, lease=None)
    yield paths.analytics
    ledger.close()


def files(path: Path) -> dict[Path, bytes]:
    return {one: one.read_bytes() for one in path.parent.rglob("*") if one.is_file() and "sqlite" not in one.name}


def test_a_query_gives_columns_types_and_rows(path: Path) -> None:
    result = query(path, "SELECT reason, skipped_at, 1 AS one FROM skips")
    assert result.columns == ("reason", "skipped_at", "one")
    assert result.types == ("VARCHAR", "TIMESTAMP WITH TIME ZONE", "INTEGER")
    assert result.rows == [("opted_out", NOW, 1)]


def test_times_are_shown_in_the_zone_that_is_asked_for(path: Path) -> None:
    [(utc,)] = query(path, "SELECT skipped_at::VARCHAR FROM skips").rows
    [(paris,)] = query(path, "SELECT skipped_at::VARCHAR FROM skips", timezone="Europe/Paris").rows
    assert (utc, paris) == ("2026-11-23 12:00:00+00", "2026-11-23 13:00:00+01")


def test_values_can_be_bound(path: Path) -> None:
    assert query(path, "SELECT count(*) FROM skips WHERE reason = ?", ["opted_out"]).rows == [(1,)]


def test_two_statements_are_refused_and_neither_runs(path: Path) -> None:
    for text in ("SELECT 1; SELECT 2", "SELECT 1; SELECT error('it ran')", ""):
        with pytest.raises(UsageError, match=r"[02] statements, and `query` runs one"):
            query(path, text)


@pytest.mark.parametrize(
    "sql",
    [
        "FROM skips",
        "SHOW TABLES",
        "DESCRIBE messages",
        "SUMMARIZE skips",
        "EXPLAIN SELECT * FROM skips",
        "PIVOT skips ON reason USING count(*)",
        "WITH one AS (SELECT 1) FROM one;",
        "SELECT * FROM range(3) WHERE range IN (1, 2)",
        "FROM duckdb_columns() WHERE table_name IN ('skips')",
        "FROM pragma_table_info('skips')",
        "SELECT 1 AS query, 'read_text(1)' AS two -- query(",
        "SELECT 'copy' AS \"copy\" -- copy, export",
    ],
)
def test_whatever_reads_is_admitted(path: Path, sql: str) -> None:
    assert query(path, sql).rows


@pytest.mark.parametrize(
    "sql",
    [
        "COPY skips TO '{folder}/lake/out.parquet'",
        "WITH x AS (COPY (SELECT 1) TO '{folder}/lake/out.csv') SELECT 1",
        "EXPLAIN ANALYZE COPY skips TO '{folder}/lake/out.parquet'",
        "EXPORT DATABASE '{folder}/lake/out'",
        "DELETE FROM templates",
        "WITH x AS (DELETE FROM templates RETURNING *) SELECT * FROM x",
        "CREATE TABLE t AS SELECT 1",
        "ATTACH '{folder}/lake/other.duckdb'",
        "SET enable_external_access = true",
        "PRAGMA enable_profiling",
        "CALL enable_logging(storage = 'file', storage_path = '{folder}/lake')",
        "SELECT 1; DELETE FROM templates",
        "",
    ],
)
def test_whatever_writes_is_refused_and_writes_nothing(path: Path, sql: str) -> None:
    before = files(path)
    with pytest.raises(UsageError):
        query(path, sql.format(folder=path.parent))
    assert files(path) == before


WRITES = "WITH x AS (COPY (SELECT 1) TO 'FILE') SELECT 1"
TREE = duckdb.sql("SELECT json_serialize_sql($1::varchar)", params=[WRITES]).fetchall()[0][0]
SERIALIZED = TREE.replace("'", "''")


@pytest.mark.parametrize(
    "sql",
    [
        f"FROM json_execute_serialized_sql('{SERIALIZED}')",
        f"EXPLAIN ANALYZE FROM \"JSON_execute_serialized_sql\" /* ( */ ('{SERIALIZED}')",
        f"PIVOT json_execute_serialized_sql('{SERIALIZED}') ON error",
        f"FROM system.main.json_execute_serialized_sql('{SERIALIZED}')",
        "FROM query('FROM json_execute_seria' || 'lized_sql(''x'')')",
        "FROM query_table('skips')",
        "FROM read_text('FILE')",
        "FROM enable_logging(storage := 'file')",
    ],
)
def test_a_text_is_not_run_and_nothing_is_opened_by_a_table_function(path: Path, sql: str) -> None:
    before = files(path)
    with pytest.raises(UsageError, match="table function"):
        query(path, sql.replace("FILE", str(path.parent / "lake" / "out.csv")))
    assert files(path) == before


def test_a_query_has_limits_of_memory_and_of_disk_and_leaves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(resources.analyst_query, "MEMORY", 100_000_000)
    monkeypatch.setattr(resources.analyst_query, "SPILLED", "1MB")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"[Mm]emory|disk|limit"):
        query(
            path,
            "SELECT * FROM (SELECT range AS n, hash(range) AS h FROM range(30_000_000)) ORDER BY h OFFSET 29_999_999",
        )
    assert not list(tmp_path.iterdir())


def test_other_files_can_not_be_read(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "secret.csv"
    other.write_text("a\n1\n")
    for sql in (f"FROM read_csv('{other}')", f"FROM '{path.parent / 'ledger.sqlite'}'"):
        with pytest.raises(UsageError):
            query(path, sql)


@pytest.mark.parametrize(
    "deed",
    [
        "FROM read_csv('{other}')",
        "FROM '{other}'",
        "COPY skips TO '{folder}/out.csv'",
        "ATTACH '{folder}/out.duckdb'",
        "DELETE FROM templates",
        "CREATE TABLE t AS SELECT 1",
        "SET enable_external_access = true",
        "SET threads = 1",
        "RESET memory_limit",
        "LOAD httpfs",
    ],
)
def test_what_the_guard_let_through_the_session_would_refuse(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    monkeypatch.setattr(resources.analyst_query, "_refuse", lambda con, sql: None)
    other = tmp_path / "secret.csv"
    other.write_text("a\n1\n")
    before = files(path)
    with pytest.raises(UsageError):
        query(path, deed.format(other=other, folder=tmp_path))
    assert files(path) == before
    assert [one.name for one in tmp_path.iterdir()] == ["secret.csv"]


def test_a_failing_query_says_where_in_a_sentence(path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        query(path, "SELECT reason,\n reson FROM skips")
    assert caught.value.where == "line 2"
    assert "reson" in caught.value.message
    with pytest.raises(UsageError, match="syntax"):
        query(path, "SELEKT 1")


def test_without_a_publish_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EstafetteError, match="tick"):
        query(tmp_path / "data" / "analytics.duckdb", "SELECT 1")
