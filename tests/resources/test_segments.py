"""Segments run: what they find, what the clock is in there, and what untrusted SQL can't do."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import polars as pl
import pytest

from journey.audience import Segment, load_segment
from journey.conditions import Clock
from journey.problems import SegmentError
from journey.properties import TIME
from resources import segment_database, segments
from resources.segment_database import _database
from resources.segment_guard import check_query, refuse
from resources.segments import Audience, Tables, evaluate

NOW = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)  # the 24th in Paris
PARIS = ZoneInfo("Europe/Paris")


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    """Four contacts, and some events."""
    folder = tmp_path / "it's a lake"
    folder.mkdir()
    contacts, events = folder / "contacts.parquet", folder / "events.parquet"
    pl.DataFrame(
        {
            "contact_id": ["u1", "u2", "u3", "u4"],
            "country": ["FR", "BE", "FR", None],
            "age": [30, 40, 50, None],
            "tags": [["vip"], ["staff", "vip"], [], []],
            "born": [date(1990, 1, 1), None, date(2000, 2, 29), None],
        }
    ).write_parquet(contacts)
    rows = [
        ("u1", "purchase", 1, {"amount": 30, "shop": {"city": "Lyon"}}),
        ("u1", "purchase", 10, {"amount": 10}),
        ("u1", "purchase", 100, {"amount": 50}),
        ("u2", "purchase", 2, {"amount": "25"}),
        ("u2", "visit", 3, {}),
        ("ghost", "purchase", 1, {"amount": 99}),
    ]
    pl.DataFrame(
        {
            "event_id": [str(number) for number in range(len(rows))],
            "event": [row[1] for row in rows],
            "contact_id": [row[0] for row in rows],
            "occurred_at": [NOW - timedelta(days=row[2]) for row in rows],
            "properties": [json.dumps(row[3]) for row in rows],
        },
        schema_overrides={"occurred_at": TIME},
    ).write_parquet(events)
    quoted = [str(path).replace("'", "''") for path in (contacts, events)]
    return Tables(
        (str(contacts), str(events)),
        (
            f"create view contacts as select * from read_parquet('{quoted[0]}')",
            f"create view events as select * replace (properties::json as properties) from read_parquet('{quoted[1]}')",
        ),
        {"contact_id": "text", "country": "text", "age": "bigint", "tags": "tags", "born": "date"},
    )


@pytest.fixture
def run(tables: Tables) -> Callable[..., Audience]:
    def run(text: str, kind: str = "sql", **others: str) -> Audience:
        segments: dict[str, Segment] = {}
        for name, (one, ending) in {"it": (text, kind), **{n: (t, "sql") for n, t in others.items()}}.items():
            segment, problems = load_segment(one, f"segments/{name}.{ending}")
            assert segment is not None, problems
            segments[name] = segment
        return evaluate("it", segments, tables, NOW, PARIS)

    return run


Run = Callable[..., Audience]


def ids(audience: Audience) -> list[str]:
    return audience.frame["contact_id"].to_list()


# -- what segments find ------------------------------------------------------------------------------------------------


def test_sql_gives_ids_and_attributes_in_the_query_s_order(run: Run) -> None:
    audience = run(
        "select contact_id, age * 2 as twice from contacts where age > 0 order by age desc -- the oldest first"
    )
    assert audience.frame.to_dicts() == [
        {"contact_id": "u3", "twice": 100},
        {"contact_id": "u2", "twice": 80},
        {"contact_id": "u1", "twice": 60},
    ]


def test_where_a_query_has_no_order_people_come_by_their_id(run: Run) -> None:
    assert ids(run("select * from (values ('u3'), ('u1'), ('u2')) t(contact_id)")) == ["u1", "u2", "u3"]
    kept = run("select * from (values ('u3', 1), ('u1', 2), ('u2', 3)) t(contact_id, n) order\n  by n")
    assert ids(kept) == ["u3", "u1", "u2"]


def test_null_and_unknown_ids_are_left_out_and_counted_and_the_first_row_of_a_contact_counts(run: Run) -> None:
    audience = run(
        "select * from (values ('u2', 1), (null, 2), ('ghost', 3), ('u1', 4), ('u2', 5), ('ghost', 6)) t(contact_id, n)"
    )
    assert audience.frame.to_dicts() == [{"contact_id": "u1", "n": 4}, {"contact_id": "u2", "n": 1}]
    assert (audience.rows, audience.nulls, audience.unknown, audience.repeated, audience.left_out) == (6, 1, 2, 1, 3)


def test_attributes_have_a_few_plain_types(run: Run) -> None:
    audience = run(
        "select contact_id, sum(age) as total, avg(age)::decimal(9,2) as mean, [1, 2] as list, {'a': 1} as pair,"
        " timestamp '2026-11-23 10:00' as local, now() as at_once, true as yes, current_date as today, uuid() as u,"
        " '{\"x\": 1}'::json as doc, 'x'::enum ('x') as one_of"
        " from contacts where age = 30 group by contact_id"
    )
    assert audience.frame.schema == {
        "contact_id": pl.String, "total": pl.Int64, "mean": pl.Float64, "list": pl.String, "pair": pl.String,
        "local": TIME, "at_once": TIME, "yes": pl.Boolean, "today": pl.Date, "u": pl.String, "doc": pl.String,
        "one_of": pl.String,
    }  # fmt: skip
    [row] = audience.frame.to_dicts()
    assert (row["list"], row["pair"], row["doc"]) == ("[1,2]", '{"a":1}', '{"x":1}')
    assert row["local"] == datetime(2026, 11, 23, 9, tzinfo=UTC), "a time without a zone is the settings'"
    assert audience.nested == ("list", "pair", "doc")


def test_yaml_filters_find_whom_they_say(run: Run) -> None:
    for text, found in {
        "user: {country: FR}": ["u1", "u3"],
        "user: {COUNTRY: {is_not: FR}}": ["u2", "u4"],
        "user: {nobody_has_this: {exists: false}}": ["u1", "u2", "u3", "u4"],
        "user: {nobody_has_this: 1}": [],
        "user: {born: {before: 1995-01-01}}": ["u1"],
        "tag: vip": ["u1", "u2"],
        "not: {tag: vip}": ["u3", "u4"],
        "all: [{tag: vip}, {not: {tag: staff}}]": ["u1"],
        "any: [{tag: staff}, {user: {age: {more_than: 45}}}]": ["u2", "u3"],
        "event: purchase": ["u1", "u2"],
        "not: {event: purchase}": ["u3", "u4"],
        "{event: purchase, count: {at_least: 2}, within: 30d}": ["u1"],
        "{event: purchase, count: 3}": ["u1"],
        "{event: purchase, count: {at_most: 1}}": ["u2", "u3", "u4"],
        "{event: purchase, count: 0}": ["u3", "u4"],
        "{event: purchase, count: {in: [0, 3]}}": ["u1", "u3", "u4"],
        "{event: purchase, where: {amount: {between: [20, 40]}}}": ["u1", "u2"],
        "{event: purchase, where: {shop.city: Lyon}}": ["u1"],
        "{event: purchase, within: 24h}": [],
        "{event: purchase, within: 25h}": ["u1"],
    }.items():
        assert sorted(ids(run(text, "yaml"))) == found, text


def test_a_yaml_segment_may_name_an_sql_one_and_so_on(run: Run) -> None:
    loyal = "select contact_id from events where event = 'purchase' group by 1 having count(*) >= 3;  -- thrice"
    assert ids(run("all: [{segment: loyal}, {user: {country: FR}}]", "yaml", loyal=loyal)) == ["u1"]
    assert sorted(ids(run("not: {segment: loyal}", "yaml", loyal=loyal))) == ["u2", "u3", "u4"]


def test_a_null_id_in_a_named_segment_does_not_empty_its_complement(run: Run) -> None:
    odd = "select null::varchar as contact_id union all select 'u1'"
    assert sorted(ids(run("not: {segment: odd}", "yaml", odd=odd))) == ["u2", "u3", "u4"]


# -- the clock ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("now()", NOW),
        ("current_timestamp", NOW),
        ("get_current_timestamp()", NOW),
        ("transaction_timestamp()", NOW),
        ("current_date", date(2026, 11, 24)),
        ("today()", date(2026, 11, 24)),
        ("localtimestamp", NOW),
        ("localtimestamp::time::varchar", "00:30:00"),
        ("current_time::varchar", "00:30:00"),
        ("get_current_time()::varchar", "00:30:00"),
        ("extract(day from age(timestamp '2026-11-22'))", 2),
        ("extract(day from age(timestamp '2026-11-22', timestamp '2026-11-21'))", 1),
        ("(now() - interval 1 day)::date", date(2026, 11, 23)),
    ],
)
def test_the_clock_in_there_is_the_run_s(run: Run, expression: str, value: object) -> None:
    assert run(f"select 'u1' as contact_id, {expression} as v").frame["v"].to_list() == [value]


def test_what_would_read_the_machine_s_clock_is_refused(run: Run) -> None:
    for expression in ("main.now()", "system.main.now()", "pg_catalog.current_date()", "localtime"):
        with pytest.raises(SegmentError):
            run(f"select 'u1' as contact_id, {expression} as v")


# -- what is refused ---------------------------------------------------------------------------------------------------

SECRET = "top secret"
ATTACKS = [
    "copy (select 1) to '{out}'",
    "with x as (copy (select 1) to '{out}') select 'u1' as contact_id",
    "with x as (copy (select 1 as contact_id) to '{lake}' (use_tmp_file false)) select 'u1' as contact_id",
    "with x as (delete from contacts returning *) select contact_id from x",
    "with x as (insert into contacts select * from contacts returning *) select contact_id from x",
    "with x as (update contacts set country = 'X' returning *) select contact_id from x",
    "select contact_id from contacts where age in (with x as (delete from contacts returning *) select 1 from x)",
    "delete from contacts",
    "drop view contacts",
    "create table t as select 'u1' as contact_id",
    "select content as contact_id from read_text('{secret}')",
    "select content as contact_id from read_blob('{secret}')",
    "select * from read_csv('{secret}')",
    "select * from read_json('{secret}')",
    "select contact_id from read_parquet('{lake}')",
    "select contact_id from '{lake}'",
    "select * from '{secret}'",
    "from '{secret}'",
    "select (select content from read_text('{secret}')) as contact_id",
    "select 'u1' as contact_id where exists (from read_text('{secret}'))",
    "select 'u1' as contact_id order by (select content from read_text('{secret}'))",
    "select file as contact_id from glob('{folder}/*')",
    "select contact_id from (with \"{secret}\" as (select 1) from contacts) union all from '{secret}'",
    "select 'u1' as contact_id from (with read as (select 1) select * from read) x, read",
    "with contact_changes as (select 1) select contact_id from main.contact_changes",
    "with t as (select contact_id from t2), t2 as (select 1) select contact_id from t",
    "attach '{out}' as other",
    "attach ':memory:' as other; select contact_id from contacts",
    "pragma database_list",
    "set threads = 1",
    "set enable_external_access = true",
    "reset lock_configuration",
    "install httpfs",
    "load httpfs",
    "call pragma_version()",
    "export database '{out}'",
    "import database '{out}'",
    "explain select contact_id from contacts",
    "explain analyze select contact_id from contacts",
    "describe contacts",
    "show tables",
    "summarize contacts",
    "select contact_id from (describe contacts)",
    "select contact_id from contacts; select 1",
    "select contact_id from contacts; drop view contacts; --",
    "/* */ select contact_id from contacts ; /* */ copy (select 1) to '{out}'",
    "select contact_id from query('select content as contact_id from read_text(''{secret}'')')",
    "select contact_id from query_table('contacts')",
    "select * from query_table(['{lake}'])",
    "select name as contact_id from duckdb_secrets()",
    "select name as contact_id from duckdb_settings()",
    "select path as contact_id from duckdb_databases()",
    "select table_name as contact_id from information_schema.tables",
    "select name as contact_id from sqlite_master",
    "select current_setting('allowed_paths')[1] as contact_id",
    "select getenv('HOME') as contact_id",
    "select getvariable('x') as contact_id",
    "select write_log('x') as contact_id",
    "select * from enable_logging()",
    "select * from python_map_function()",
    "select contact_id from python_frame",
    "select contact_id from arrow_scan(1, 2, 3)",
    "from json_execute_serialized_sql(json_serialize_sql('from read_text(''{secret}'')'))",
    "select contact_id from contacts where country = $1",
    "prepare x as select 1",
    "pivot contacts on country using count(*)",
    "select contact_id from memory.main.contact_changes",
    "select * from pg_timezone_names()",
    "select * from sniff_csv('{secret}')",
    "select * from parquet_metadata('{lake}')",
    "select * from pragma_storage_info('contacts')",
    "select * from test_all_types()",
    "",
    "-- nothing",
    "select",
    "not sql at all",
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_but_a_select_over_the_two_tables_runs(tables: Tables, tmp_path: Path, attack: str) -> None:
    python_frame = pl.DataFrame({"contact_id": ["u1"]})  # a replacement scan would find it by its name
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    lake = Path(tables.paths[0])
    before = lake.read_bytes()
    out = tmp_path / "out"
    text = attack.format(secret=secret, lake=str(lake).replace("'", "''"), out=out, folder=tmp_path)
    segment = Segment("it", "segments/it.sql", "sql", text)
    with pytest.raises(SegmentError) as error:
        evaluate("it", {"it": segment}, tables, NOW, PARIS)
    assert "segments/it.sql" in str(error.value)
    assert SECRET not in str(error.value)
    assert refuse(text) is not None, "refused before any data is looked at"
    assert python_frame.height == 1
    assert lake.read_bytes() == before
    assert not out.exists()


@pytest.mark.parametrize(
    "query",
    [
        "with recursive r as (select 1 n union all select n + 1 from r where n < 3) select 'u' || n contact_id from r",
        "with a as (select 'u1' id), b as (from a) select id as contact_id from b",
        "select contact_id from (with contacts2 as (from contacts) select * from contacts2) where country = 'FR'",
        "from contacts select contact_id",
        "select contact_id from main.contacts",
        "select contact_id from contacts c, lateral (select count(*) from events e where e.contact_id = c.contact_id)",
        "select 'u' || unnest(range(1, 4)) as contact_id",
        "select contact_id from contacts, unnest(tags) as t(tag) where tag = 'vip'",
        "select contact_id from contacts qualify row_number() over (partition by country order by age) = 1",
        "select contact_id from contacts intersect select contact_id from events",
        "(select contact_id from contacts) union (select contact_id from events)",
        "select * from (values ('u1')) t(contact_id)",
        "select contact_id from contacts semi join events using (contact_id)",
        "select c.contact_id.lower() as contact_id from contacts c",
        "select contact_id from (pivot events on event in ('purchase', 'visit') using count(*) group by contact_id)",
        "table contacts",
        "select contact_id from contacts tablesample 100 percent (bernoulli)",
        "select contact_id, list_transform(tags, lambda t: upper(t)) as upped from contacts;",
        "\ufeffselect contact_id from contacts",
    ],
)
def test_ordinary_queries_run(run: Run, query: str) -> None:
    assert run(query).frame.height > 0


def test_duckdb_s_line_is_named(run: Run) -> None:
    with pytest.raises(SegmentError, match=r"^segments/it.sql:3: .*countri"):
        run("select contact_id\nfrom contacts\nwhere countri = 'FR'")
    with pytest.raises(SegmentError, match=r"^segments/it.sql:2: the table function `glob` is refused"):
        run("select contact_id from contacts where 'é' in (\nselect file from glob('*'))")
    with pytest.raises(SegmentError, match=r"^segments/it.sql:2: syntax error"):
        run("select contact_id\nfrom from contacts")


def test_a_query_that_fails_on_its_data_is_a_segment_error(run: Run) -> None:
    with pytest.raises(SegmentError, match="Could not convert"):
        run("select contact_id from contacts where country::integer = 3")


@pytest.mark.parametrize(
    "deed",
    [
        "from read_text('{secret}')",
        "from '{secret}'",
        "from read_parquet('{other}')",
        "copy (select 1) to '{out}'",
        "attach '{out}' as other",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set threads = 1",
        "reset memory_limit",
    ],
)
def test_what_the_guard_let_through_the_database_would_refuse(tables: Tables, tmp_path: Path, deed: str) -> None:
    secret, other, out = tmp_path / "secret.csv", tmp_path / "other.parquet", tmp_path / "out"
    secret.write_text(f"a\n{SECRET}\n")
    pl.DataFrame({"a": [SECRET]}).write_parquet(other)
    with _database(tables, Clock(NOW, PARIS), "100MB", tmp_path / "spilled") as con:
        assert con.execute("select count(*) from contacts").fetchall() == [(4,)]
        with pytest.raises(duckdb.Error):
            con.execute(deed.format(secret=secret, other=other, out=out)).fetchall()
    assert not out.exists()


def test_a_query_without_contact_id_is_refused(run: Run) -> None:
    with pytest.raises(SegmentError, match="no column `contact_id`"):
        run("select country from contacts")


#: What DuckDB does not interrupt: it looks at the clock between calls
ENDLESS = {
    "rows": "with recursive r as (select 1 n union all select n + 1 from r) select 'u' || max(n) as contact_id from r",
    # whose states are so many that no machine keeps them, over digits that never repeat
    "a regular expression over megabytes": "select contact_id from contacts where regexp_matches(contact_id ||"
    " (select string_agg(hash(i)::varchar, '') from range(2000000) r(i)), '[0-4][0-9]{300}x')",
    "two long texts": "select contact_id from contacts"
    " where levenshtein(repeat(contact_id, 200000), repeat('ab', 200000)) > 1",
}


@pytest.mark.parametrize("what", ENDLESS)
def test_an_endless_query_is_stopped_and_the_next_one_runs(tables: Tables, run: Run, what: str) -> None:
    segment = Segment("it", "segments/it.sql", "sql", ENDLESS[what])
    with pytest.raises(
        SegmentError, match=r"^segments/it.sql: it took longer than 0.5 s. A pass gives it 300 s. Narrow it"
    ):
        evaluate("it", {"it": segment}, tables, NOW, PARIS, seconds=0.5)
    assert ids(run("select contact_id from contacts where age = 30")) == ["u1"]


def test_a_query_that_is_only_described_has_a_limit_too(tables: Tables) -> None:
    segment = Segment("it", "segments/it.sql", "sql", "select contact_id, 1 as n from contacts")
    assert segments.returned(segment, tables, NOW, PARIS) == ("n",)
    with pytest.raises(SegmentError, match=r"^segments/it.sql: it took longer than 0 s"):
        segments.returned(segment, tables, NOW, PARIS, seconds=0.0)


@pytest.mark.parametrize(
    "text",
    [
        "select 'u1' as contact_id from range(100000000000)",
        "select 'u1' as contact_id, length(repeat('x', 4000000000)) as n",
    ],
)
def test_a_query_that_takes_too_much_memory_is_stopped_whatever_takes_it(tables: Tables, text: str) -> None:
    segment = Segment("it", "segments/it.sql", "sql", text)
    with pytest.raises(SegmentError, match=r"^segments/it.sql: it needs more than 0.39 GB of memory"):
        evaluate("it", {"it": segment}, tables, NOW, PARIS, growth=400 << 20)


@pytest.mark.parametrize("text", ["select " + "(" * 3000, "select 'u1' as contact_id,\n" + "(" * 500 + "1" + ")" * 500])
def test_brackets_without_end_are_refused_before_anybody_tries_to_close_them(text: str) -> None:
    """The parser takes hours for a megabyte of them; a pass looks at every segment's text."""
    found = refuse(text)
    assert found is not None
    assert (found.line, found.what) == (1 + text.count("\n"), "it is nested too deep")


def test_brackets_in_texts_and_one_after_the_other_are_no_depth(run: Run) -> None:
    text = f"select 'u1' as contact_id, '{'(' * 400}' as x /* {'(' * 400} */ where 1 in ({'(1),' * 400}(2))"
    assert ids(run(text)) == ["u1"]
    deep = "select contact_id from " + "(select * from " * 250 + "contacts" + ")" * 250
    assert refuse(deep) is None or "deep" in refuse(deep).what  # DuckDB's own tree is deeper than the text


def test_a_query_may_not_fill_the_disk(tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_database, "SPILLED", "1MB")
    text = "select a.range::varchar as contact_id from range(3000000) a order by hash(a.range)"
    segment = Segment("it", "segments/it.sql", "sql", text)
    with pytest.raises(SegmentError, match="max_temp_directory_size"):
        segment_database.audience([segment], tables, Clock(NOW, PARIS), "20MB", tmp_path / "spilled")


def test_a_long_query_prints_nothing(tables: Tables, tmp_path: Path) -> None:
    """DuckDB draws a progress bar after two seconds, onto the output of a command."""
    with _database(tables, Clock(NOW, PARIS), "100MB", tmp_path / "spilled") as con:
        assert con.execute("select current_setting('enable_progress_bar')").fetchall() == [(False,)]


def test_an_unknown_segment_is_a_segment_error(tables: Tables) -> None:
    segment, _ = load_segment("segment: gone", "segments/it.yaml")
    assert segment is not None
    with pytest.raises(SegmentError, match="no segment `gone`"):
        evaluate("it", {"it": segment}, tables, NOW, PARIS)


def test_check_says_what_is_wrong_without_data() -> None:
    segment = Segment("it", "segments/it.sql", "sql", "select contact_id from contacts\n, glob('*')")
    [problem] = check_query(segment)
    assert (problem.file, problem.line) == ("segments/it.sql", 2)
    assert check_query(Segment("it", "segments/it.sql", "sql", "select contact_id from contacts")) == []
