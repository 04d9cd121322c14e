"""Files that pretend to be small, or are large in a way nobody needs: a reason in quarantine, and bounded memory."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from journey import csv_rows
from resources import landing_tables
from tests.stage import Stage, person


def aside(stage: Stage) -> list[tuple[str, int, str]]:
    stage.turn()
    return stage.rows("SELECT file, line, reason FROM quarantine ORDER BY id")


def csv(stage: Stage, text: str) -> None:
    (stage.path / "landing/contacts/bad.csv").write_text(text)


def parquet(stage: Stage, table: pa.Table) -> None:
    pq.write_table(table, stage.path / "landing/contacts/bad.parquet")


def test_a_line_without_end_costs_itself(make_home, monkeypatch):
    monkeypatch.setattr(csv_rows, "LONGEST_LINE", 5_000)
    stage = make_home(contacts=[person(1)])
    csv(stage, 'contact_id,phone\nc5,"' + "x" * 50_000 + "\nc6,0600000006\n")
    assert aside(stage) == [("contacts/bad.csv", 2, "it is longer than 16 MB")]
    assert stage.home.contacts.frame()["contact_id"].to_list() == ["c1", "c6"]


def test_a_header_without_end_costs_its_file(make_home, monkeypatch):
    monkeypatch.setattr(csv_rows, "LONGEST_LINE", 5_000)
    stage = make_home(contacts=[person(1)])
    csv(stage, "contact_id," * 5_000 + "\nc5,1\n")
    assert [reason for _, _, reason in aside(stage)] == [
        "the file can't be read: line 1 should be its header, and is longer than 16 MB"
    ]


def test_a_million_columns_are_no_properties(make_home):
    stage = make_home(contacts=[person(1)])
    csv(stage, "contact_id,phone," + ",".join(f"p{n}" for n in range(1_000)) + "\nc5,0600000005\n")
    assert [reason for _, _, reason in aside(stage)] == [
        "the file can't be read: it has 1,002 columns, and the most is 1,000"
    ]
    assert stage.home.contacts.properties() == ["country"]


def test_a_line_that_brings_a_thousand_fields_more_costs_itself(make_home):
    stage = make_home(contacts=[person(1)])
    wide = "{" + ",".join(f'"p{n}": {n}' for n in range(2_000)) + "}"
    lines = ['{"contact_id": "c5", "phone": "0600000005"}', wide, '{"contact_id": "c6", "phone": "0600000006"}']
    (stage.path / "landing/contacts/bad.ndjson").write_text("\n".join(lines) + "\n")
    assert aside(stage) == [("contacts/bad.ndjson", 2, "with it the file has more than 1,000 fields")]
    assert stage.home.contacts.count() == 3


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (pa.table({f"c{n}": [1] for n in range(1_001)}), "1,001 columns"),
        (pa.table({"contact_id": pa.nulls(5_001, pa.string())}), "5,001 rows"),
        (
            pa.table({"contact_id": ["c5"], "l": [pa.nulls(2_000_000, pa.int8()).to_pylist()]}),
            "2,000,000 values in lists",
        ),
    ],
    ids=["columns", "rows", "lists"],
)
def test_a_parquet_file_that_says_it_is_too_much_is_not_unfolded(make_home, monkeypatch, table, words):
    monkeypatch.setattr(landing_tables, "MOST_ROWS", 5_000)
    stage = make_home(contacts=[person(1)])
    parquet(stage, table)
    ((file, line, reason),) = aside(stage)
    assert (file, line) == ("contacts/bad.parquet", 0)
    assert reason.startswith("the file can't be read: it")
    assert words in reason
    assert stage.home.contacts.count() == 1


def test_a_text_of_a_megabyte_in_every_row_costs_those_rows(make_home):
    stage = make_home(contacts=[person(1)])
    parquet(
        stage, pa.table({"contact_id": ["c5", "c6"], "phone": ["0600000005", "0600000006"], "w": ["x" * 10**6, "y"]})
    )
    assert aside(stage) == [("contacts/bad.parquet", 1, "a text in it is longer than 131,072 characters")]
    assert stage.home.contacts.frame()["contact_id"].to_list() == ["c1", "c6"]


@pytest.mark.parametrize(
    "odd",
    [
        pa.array([["x" * 10**5] * 10, ["y"]]),
        pa.array([{"a": {"b": ["x" * 10**6]}}, {"a": {"b": []}}]),
        pa.array([[1] * 600_000, None]),
        pa.array([b"x" * 10**6, None]),
    ],
    ids=["texts", "nested", "numbers", "bytes"],
)
def test_a_list_of_a_megabyte_costs_its_row(make_home, odd):
    stage = make_home(contacts=[person(1)])
    parquet(stage, pa.table({"contact_id": ["c5", "c6"], "phone": ["0600000005", "0600000006"], "w": odd}))
    (finding,) = aside(stage)
    assert finding[:2] in {("contacts/bad.parquet", 1), ("contacts/bad.parquet", 0)}, "its row, or its file"
    assert "c5" not in stage.home.contacts.frame()["contact_id"].to_list()


def folded(rows: int, text: str) -> pa.Table:
    """So many people who share one text, which stands in the file once."""
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text]))
    lists = pa.ListArray.from_arrays(pa.array(range(rows + 1), pa.int32()), shared.cast(pa.string()))
    phones = [f"06{n:08}" for n in range(rows)]
    return pa.table({"contact_id": [f"c{n}" for n in range(rows)], "phone": phones, "w": lists})


@pytest.mark.parametrize("nul", [{"contact_id": "c6\0"}, {"first_name": "An\0na"}, {"tags": ["vip", "\0"]}])
def test_a_row_with_a_nul_costs_itself_as_in_other_formats(make_home, nul):
    stage = make_home(contacts=[person(1)])
    rows = [{"contact_id": f"c{n}", "phone": f"+3360000000{n}", "first_name": "Anna", "tags": ["new"]} for n in (5, 6)]
    parquet(stage, pa.Table.from_pylist([rows[0], rows[1] | nul]))
    assert aside(stage) == [("contacts/bad.parquet", 2, "it holds a NUL character")]
    assert stage.home.contacts.frame()["contact_id"].to_list() == ["c1", "c5"]


def test_texts_that_many_rows_share_are_copied_some_at_a_time(make_home, monkeypatch):
    monkeypatch.setattr(landing_tables, "COPIED", 10_000)
    stage = make_home(contacts=[])
    parquet(stage, folded(50, "x" * 1_000))
    assert aside(stage) == []
    assert stage.home.contacts.count() == 50
    path = stage.path / "landing/contacts/bad.parquet"
    stat = next(one for one in stage.home.landing.files(["contacts"]) if one.path == path)
    parts = [rows.height for rows in landing_tables.table_rows(stat, 100)]
    assert sum(parts) == 50
    assert max(parts) <= 10


def test_a_file_that_unfolds_to_far_more_than_its_size_costs_itself(make_home, monkeypatch):
    monkeypatch.setattr(landing_tables, "MOST_TEXT", 100_000)
    monkeypatch.setattr(landing_tables, "MOST_FOLDED", 1)
    stage = make_home(contacts=[person(1)])
    parquet(stage, folded(5_000, "x" * 1_000))
    ((file, line, reason),) = aside(stage)
    assert (file, line) == ("contacts/bad.parquet", 0)
    assert reason.startswith("the file can't be read: it unfolds to far more text")
    assert stage.home.contacts.count() == 1


def test_what_is_no_parquet_file_is_said_to_be_none(make_home):
    stage = make_home(contacts=[person(1)])
    (stage.path / "landing/contacts/bad.parquet").write_bytes(b"PAR1 and nothing else")
    ((_, _, reason),) = aside(stage)
    assert reason.startswith("the file can't be read: it is no Parquet file")


BOMB = """
import resource, sys
from pathlib import Path
import pyarrow as pa, pyarrow.parquet as pq
from resources.landing import FileStat
from resources.landing_tables import table_rows
path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_AS, (5 << 30, 5 << 30))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows = sum(one.height + one.bad.height for one in table_rows(FileStat("contacts", path.name, path, 1, 1, 1), 100_000))
print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize("store_schema", [True, False])
def test_a_file_of_kilobytes_that_unfolds_to_gigabytes_takes_little_memory(tmp_path: Path, store_schema: bool) -> None:
    """A dictionary with one long text, and twenty thousand rows that point to it."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["x" * 1_000_000]))
    file = tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"contact_id": column}), file, compression="zstd", store_schema=store_schema)
    assert file.stat().st_size < 100_000
    done = subprocess.run([sys.executable, "-c", BOMB, str(file)], capture_output=True, text=True, check=True)
    rows, grown = map(int, done.stdout.split())
    assert rows == 20_000
    assert grown < 500
