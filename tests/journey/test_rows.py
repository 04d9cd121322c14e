"""Files → rows: every format, and what one bad line costs."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journey.csv_rows import csv_rows
from journey.json_rows import ndjson_rows
from journey.rows import Rows, frame_rows


def read(data: bytes, batch: int = 100_000) -> list[Rows]:
    return list(csv_rows(data.splitlines(keepends=True) if b"\r" not in data else data.split(b"\n"), batch))


def cells(rows: Rows) -> dict[str, list[str | None]]:
    return {name: column.to_list() for name, column in rows.cells.items()}


def bad(rows: Rows) -> list[tuple[int, str]]:
    return [(line, reason) for line, reason, _ in rows.bad.iter_rows()]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_is_read_with_any_delimiter_mark_and_line_end(delimiter: str, mark: bytes, end: str) -> None:
    lines = [["phone", "first name"], ["+33612345678", '"Zoé, ""la"" grande; voilà"'], ["2", "  Jean  "]]
    data = mark + "".join(delimiter.join(line) + end for line in lines).encode()
    [rows] = list(csv_rows(data.split(b"\n")))
    assert cells(rows) == {"phone": ["+33612345678", "2"], "first name": ['Zoé, "la" grande; voilà', "Jean"]}
    assert rows.line.to_list() == [2, 3]
    assert bad(rows) == []


def test_a_quoted_cell_may_hold_lines_and_rows_know_where_they_start() -> None:
    [rows] = read(b'a,b\n1,"x\ny\nz"\n2,w\n')
    assert cells(rows) == {"a": ["1", "2"], "b": ["x\ny\nz", "w"]}
    assert rows.line.to_list() == [2, 5]
    assert rows.raw.to_list() == ['1,"x\ny\nz"', "2,w"]


def test_a_bad_line_costs_itself_only() -> None:
    data = b'a,b\n1,x\n2,\xff\n3,x,y\n4\n5,"open\n6,x\n7,n\0ul\n8,x\n'
    [rows] = read(data)
    assert cells(rows)["a"] == ["1", "6", "8"]
    assert bad(rows) == [
        (3, "it is not UTF-8 text"),
        (4, "3 cells, and the header has 2"),
        (5, "1 cells, and the header has 2"),
        (6, "a quote is opened and never closed"),
        (8, "it holds a NUL character"),
    ]
    assert rows.bad["raw"].to_list() == ["2,\ufffd", "3,x,y", "4", '5,"open', "7,n\0ul"]


def test_empty_cells_at_the_end_and_blank_lines_are_forgiven() -> None:
    [rows] = read(b"a,b\n1,x,,\n\n   \n2,\n")
    assert cells(rows) == {"a": ["1", "2"], "b": ["x", None]}
    assert bad(rows) == []


def test_a_header_cell_without_a_name_or_said_twice_is_left_out_with_a_finding() -> None:
    [rows] = read(b"a,,A,b\n1,2,3,4\n")
    assert cells(rows) == {"a": ["1"], "b": ["4"]}
    assert bad(rows) == [(1, "column 2 has no name and is left out"), (1, "a second column `A` is left out")]


def test_a_file_of_a_header_alone_still_says_its_columns() -> None:
    [rows] = read(b"phone,name\n")
    assert (list(rows.cells), rows.height) == (["phone", "name"], 0)
    assert read(b"") == []


@settings(max_examples=60, deadline=None)
@given(
    table=st.lists(
        st.lists(
            st.text(st.characters(exclude_characters="\0\r\x1c\x1d\x1e\x1f", exclude_categories=["Cs"]), max_size=8),
            min_size=2,
            max_size=2,
        ),
        max_size=12,
    ),
    batch=st.integers(1, 5),
)
def test_what_was_written_is_read_whatever_the_batches(table: list[list[str]], batch: int) -> None:
    quoted = ['"' + '","'.join(cell.replace('"', '""') for cell in row) + '"' for row in [["a", "b"], *table]]
    data = "\n".join(quoted).encode()
    parts = list(csv_rows([line + b"\n" for line in data.split(b"\n")], batch))
    found = [row for part in parts for row in zip(*cells(part).values(), strict=True)]
    assert found == [tuple(cell.strip() or None for cell in row) for row in table]


def test_json_lines_keep_what_a_row_does_not_bring_apart_from_what_is_empty() -> None:
    lines = [b'{"a": 1, "b": {"c": 1.5, "d": []}}', b"", b'{"a": null, "e": " x "}', b'\xef\xbb\xbf{"a": true}']
    rows = ndjson_rows(enumerate(lines, 1))
    assert cells(rows) == {
        "a": ["1", None, "true"], "b.c": ["1.5", None, None], "b.d": ["[]", None, None], "e": [None, "x", None],
    }  # fmt: skip
    assert {name: mask.to_list() for name, mask in rows.absent.items()} == {
        "b.c": [False, True, True], "b.d": [False, True, True], "e": [True, False, True],
    }  # fmt: skip
    assert rows.line.to_list() == [1, 3, 4]
    assert rows.quoted["e"] == 1


def test_lines_that_are_no_json_object_are_set_aside_with_their_text() -> None:
    lines = [b"{", b"[1]", b'{"a": "\\ud83d"}', b'{"a": "x\\u0000"}', b"\xff", b'{"a": "\\\\u0000"}', b"[" * 100_000]
    rows = ndjson_rows(enumerate(lines, 1))
    assert [line for line, _ in bad(rows)] == [1, 2, 3, 4, 5, 7]
    assert bad(rows)[1][1] == "it is no JSON object"
    assert bad(rows)[3][1] == "it holds a NUL character"
    assert cells(rows) == {"a": ["\\u0000"]}
    assert max(rows.bad["raw"].str.len_chars()) <= 10_000


def test_parquet_says_its_types_itself() -> None:
    frame = pl.DataFrame(
        {
            "n": [1, None],
            "d": [Decimal("1.50"), None],
            "t": [datetime(2026, 1, 1, 10, tzinfo=UTC), None],
            "naive": [datetime(2026, 1, 1, 10), None],
            "day": [date(2026, 1, 1), None],
            "yes": [True, None],
            "tags": [["a", "b"], None],
            "text": ["007", " "],
            "nothing": [None, None],
        },
        schema_overrides={"d": pl.Decimal(9, 2), "t": pl.Datetime("ns", "Asia/Tokyo")},
    )
    rows = frame_rows(frame, 11)
    assert {name: column[0] for name, column in cells(rows).items()} == {
        "n": "1", "d": "1.5", "t": "2026-01-01T10:00:00.000000Z", "naive": "2026-01-01T10:00:00.000000",
        "day": "2026-01-01", "yes": "true", "tags": '["a","b"]', "text": "007", "nothing": None,
    }  # fmt: skip
    assert all(column[1] is None for column in cells(rows).values())
    assert rows.declared["t"] == "timestamptz" and rows.declared["text"] == "text" and "nothing" not in rows.declared
    assert rows.line.to_list() == [11, 12]
    assert json.loads(rows.raw[0])["text"] == "007"
