"""The landing zone: what is pending, where reading goes on, and putting files there."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journey.problems import UsageError
from resources.landing import Chunk, Cursor, FileStat, Kind, Landing, pending
from resources.landing_import import import_files, tell
from resources.ledger import Ledger

LATER = 10.0**10  # long after any file of a test has been written


@pytest.fixture
def landing(tmp_path: Path) -> Iterator[Landing]:
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    (tmp_path / "landing" / "events").mkdir(parents=True)
    yield Landing(tmp_path / "landing", ledger)
    ledger.close()


def put(landing: Landing, text: bytes, name: str = "a.ndjson", kind: Kind = "events") -> FileStat:
    path = landing.root / kind / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text)
    return stat(landing, name, kind)


def stat(landing: Landing, name: str = "a.ndjson", kind: Kind = "events") -> FileStat:
    [found] = [one for one in landing.files([kind]) if one.name == name]
    return found


def read(
    landing: Landing, one: FileStat, wall: float | None = None, final: bool = False, size: int = 16
) -> list[tuple[int, bytes]]:
    """Reads what is new of a file, which has just grown unless a time is given, and writes its cursor after each
    chunk."""
    lines: list[tuple[int, bytes]] = []
    for chunk in landing.chunks(one, one.mtime_ns / 1e9 if wall is None else wall, final, size):
        lines += chunk.lines
        save(landing, chunk)
    return lines


def save(landing: Landing, chunk: Chunk) -> None:
    with landing.ledger.write() as tx:
        landing.save(tx, chunk.cursor, 0)


def is_pending(landing: Landing, wall: float | None = None) -> bool:
    if wall is None:
        wall = max(one.mtime_ns for one in landing.files(["events"])) / 1e9
    return bool(landing.pending(wall, ["events"]))


def test_dot_files_and_folders_are_passed_over(landing: Landing) -> None:
    (landing.root / "events" / ".a.ndjson").write_bytes(b"{}\n")
    (landing.root / "events" / "folder").mkdir()
    put(landing, b"{}\n", "b.csv", "contacts")
    assert [one.shown for one in landing.files()] == ["contacts/b.csv"]
    assert Landing(landing.root / "nowhere", landing.ledger).files() == []


def test_whole_lines_are_read_once_as_the_file_grows(landing: Landing) -> None:
    put(landing, b'{"a":1}\n{"a":2}\n{"a"')
    assert read(landing, stat(landing)) == [(1, b'{"a":1}'), (2, b'{"a":2}')]
    assert not is_pending(landing)
    put(landing, b'{"a":1}\n{"a":2}\n{"a":3}\n\n{"a":4}\n')
    assert is_pending(landing)
    assert read(landing, stat(landing)) == [(3, b'{"a":3}'), (4, b""), (5, b'{"a":4}')]
    assert not is_pending(landing)
    assert read(landing, stat(landing)) == []


def test_a_last_line_without_its_end_is_taken_when_it_is_final_and_parses(landing: Landing) -> None:
    one = put(landing, b'{"a":1}\n{"a":2}')
    assert read(landing, one, final=True) == [(1, b'{"a":1}'), (2, b'{"a":2}')]
    put(landing, b'{"a":1}\n{"a":2}\n{"a":3')
    assert [text for _, text in read(landing, stat(landing), final=True) if text] == []
    put(landing, b'{"a":1}\n{"a":2}\n{"a":3}\n')
    assert [line for line in read(landing, stat(landing)) if line[1]] == [(3, b'{"a":3}')]


def test_a_last_line_is_also_taken_once_the_file_has_been_quiet(landing: Landing) -> None:
    one = put(landing, b'{"a":1}\n{"a":2}')
    written = one.mtime_ns / 1e9
    assert read(landing, one, wall=written + 9) == [(1, b'{"a":1}')]
    assert not is_pending(landing, written + 9)
    assert is_pending(landing, written + 10)
    assert read(landing, one, wall=written + 10) == [(2, b'{"a":2}')]
    assert not is_pending(landing, LATER)


def test_a_quiet_last_line_that_does_not_parse_is_not_asked_for_again_and_again(landing: Landing) -> None:
    one = put(landing, b'{"a":1}\n{"a"')
    read(landing, one, wall=LATER)
    assert not is_pending(landing, LATER)
    put(landing, b'{"a":1}\n{"a":2}\n')
    assert read(landing, stat(landing), wall=LATER) == [(2, b'{"a":2}')]


def test_a_replaced_or_shortened_file_is_read_from_its_start(landing: Landing) -> None:
    read(landing, put(landing, b'{"a":1}\n{"a":2}\n'))
    (landing.root / "events" / ".new").write_bytes(b'{"b":1}\n{"b":2}\n{"b":3}\n')
    (landing.root / "events" / ".new").rename(landing.root / "events" / "a.ndjson")
    assert len(read(landing, stat(landing))) == 3
    put(landing, b'{"c":1}\n')
    assert read(landing, stat(landing)) == [(1, b'{"c":1}')]
    one = stat(landing)
    put(landing, b'{"d":1}\n')  # as long as before
    os.utime(one.path, ns=(one.mtime_ns + 1, one.mtime_ns + 1))
    assert is_pending(landing)
    assert read(landing, stat(landing)) == [(1, b'{"d":1}')]


def test_a_renamed_file_is_read_on_where_it_was(landing: Landing) -> None:
    one = put(landing, b'{"a":1}\n')
    read(landing, one)
    one.path.rename(one.path.with_name("b.ndjson"))
    assert read(landing, stat(landing, "b.ndjson")) == []
    with one.path.with_name("b.ndjson").open("ab") as file:
        file.write(b'{"a":2}\n')
    assert read(landing, stat(landing, "b.ndjson")) == [(2, b'{"a":2}')]


def test_a_copy_of_a_file_that_was_read_whole_is_known(landing: Landing) -> None:
    text = b'{"a":1}\n{"a":2}\n'
    read(landing, put(landing, text))
    copied = landing.copy_of(put(landing, text, "b.ndjson"))
    assert copied is not None
    assert (copied.name, copied.offset, copied.line) == ("b.ndjson", len(text), 2)
    assert landing.copy_of(put(landing, text.replace(b"2", b"3"), "c.ndjson")) is None


def test_a_crash_between_two_chunks_reads_on_after_the_last_one_that_was_kept(landing: Landing) -> None:
    text = b"".join(b'{"n":%d}\n' % number for number in range(100))
    one = put(landing, text)
    seen: list[tuple[int, bytes]] = []
    for number in range(200):
        chunks = landing.chunks(one, 0, size=64)
        for chunk in chunks:
            seen += chunk.lines
            save(landing, chunk)
            if number < 8:
                break  # killed here
        chunks.close()  # type: ignore[attr-defined]
        if not is_pending(landing):
            break
    assert seen == [(number + 1, b'{"n":%d}' % number) for number in range(100)]


def test_a_line_longer_than_a_chunk_is_read_whole(landing: Landing) -> None:
    text = b'{"a":"' + b"x" * 1000 + b'"}'
    assert read(landing, put(landing, b"{}\n" + text + b"\n{}\n"), size=10) == [(1, b"{}"), (2, text), (3, b"{}")]


@settings(max_examples=40, deadline=None)
@given(
    lines=st.lists(st.sampled_from([b'{"a":1}', b"", b"not json", b'{"long":"' + b"y" * 90 + b'"}']), max_size=12),
    cuts=st.lists(st.integers(0, 400), max_size=6),
    size=st.integers(1, 64),
)
def test_lines_come_once_and_with_their_numbers_however_the_file_grows(
    lines: list[bytes], cuts: list[int], size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("grow")
    (folder / "landing" / "events").mkdir(parents=True)
    landing = Landing(folder / "landing", Ledger.open(folder / "ledger.sqlite"))
    text = b"".join(line + b"\n" for line in lines)
    found: list[tuple[int, bytes]] = []
    for cut in [*sorted(cuts), len(text)]:
        found += read(landing, put(landing, text[:cut]), size=size)
        assert "".join(str(len(list(part))) for part in landing.prefix(stat(landing), 0)) == ""
    assert found == list(enumerate(lines, 1))
    before = [line for part in landing.prefix(stat(landing), len(text), size=7) for line in part]
    assert before == lines
    landing.ledger.close()


def test_pending_is_decided_by_stats_alone() -> None:
    one = FileStat("events", "a", Path("a"), inode=1, size=10, mtime_ns=5)
    cursor = Cursor("events", "a", inode=1, offset=10, size=10, mtime_ns=5)
    assert pending([one], {}, 0) == [one]
    assert pending([replace(one, size=0)], {}, 0) == []
    assert pending([one], {("events", "a"): cursor}, LATER) == []
    assert pending([one], {("contacts", "a"): cursor}, 0) == [one]
    for changed in (replace(one, size=11), replace(one, inode=2), replace(one, mtime_ns=6)):
        assert pending([changed], {("events", "a"): cursor}, 0) == [changed]
    older = replace(one, name="z", mtime_ns=1)
    assert pending([one, older], {}, 0) == [older, one]


# -- import ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("a.csv", "\ufeffPhone;Name\n", "contacts"),
        ("a.csv", "user_id\tcity\n", "contacts"),
        ("a.csv", "event,user id,occurred_at\n", "events"),
        ("a.csv", "Vouchers\nX\n", "coupons"),
        ("a.csv", "code;expires_at\nX;\n", "coupons"),
        ("a.ndjson", '\n{"contact_id":"u1"}\n', "contacts"),
        ("a.ndjson", '{"request_uuid":"r1","campaign":"c","phones":["1"],"attribute_values":{}}\n', "requests"),
        ("a.jsonl", '{"event":"x","contact_id":"u1","occurred_at":"2026-01-01"}\n', "events"),
    ],
)
def test_files_are_told_apart_by_their_columns(tmp_path: Path, name: str, text: str, kind: str) -> None:
    (tmp_path / name).write_text(text)
    assert tell(tmp_path / name) == kind


def test_parquet_is_told_by_its_schema(tmp_path: Path) -> None:
    pl.DataFrame({"event": ["x"], "phone": ["1"], "occurred_at": ["2026-01-01"]}).write_parquet(tmp_path / "a.parquet")
    assert tell(tmp_path / "a.parquet") == "events"


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "x,y\n"), ("a.csv", ""), ("a.ndjson", "not json"), ("a.parquet", "x")]
)
def test_a_file_that_does_not_tell_is_refused_and_nothing_is_copied(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / "good.csv").write_text("phone\n0600000001\n")
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError):
        import_files(tmp_path / "landing", [tmp_path / "good.csv", tmp_path / name])
    assert not (tmp_path / "landing").exists()


def test_what_a_file_is_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n")
    assert import_files(tmp_path / "landing", [tmp_path / "a.csv"], "coupons") == [
        (tmp_path / "landing" / "coupons" / "a.csv", "coupons")
    ]


def test_a_missing_file_and_an_unknown_ending_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_text("phone")
    for name in ("a.xlsx", "gone.csv"):
        with pytest.raises(UsageError, match=name):
            import_files(tmp_path / "landing", [tmp_path / name])


def test_a_folder_is_refused_as_one_and_a_name_that_is_no_text_is_shown_without_harm(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="it is a folder"):
        import_files(tmp_path / "landing", [tmp_path])
    (tmp_path / "a.csv").write_bytes(b"\x1b[31mred,x\x07\n1,2\n")
    with pytest.raises(UsageError) as refused:
        tell(tmp_path / "a.csv")
    assert all(one.isprintable() for one in refused.value.message)


def test_another_file_of_the_same_name_is_put_beside_the_first(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    source = tmp_path / "a.csv"
    places = []
    for text in ("phone\n1\n", "phone\n2\n", "phone\n2\n"):
        source.write_text(text)
        places.append(import_files(landing, [source])[0][0].name)
    assert places == ["a.csv", "a-2.csv", "a-2.csv"]
    assert sorted(path.name for path in (landing / "contacts").iterdir()) == ["a-2.csv", "a.csv"]


def test_a_coupon_file_replaces_the_one_of_its_pool(tmp_path: Path) -> None:
    source = tmp_path / "autumn.csv"
    for text in ("code\nA\n", "code\nA\nB\n"):
        source.write_text(text)
        import_files(tmp_path / "landing", [source])
    assert [path.read_text() for path in (tmp_path / "landing" / "coupons").iterdir()] == ["code\nA\nB\n"]
