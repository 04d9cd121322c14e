"""CSV → rows, one bad line at a time.

What belongs here: the reading of CSV as spreadsheets and exports write it. Python's csv module reads lines that are
kept: one bad line (not UTF-8, a cell too many, a quote that never closes) must cost that line and no other, with its
raw text. Polars and DuckDB give up the file, or lose the text.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO

import polars as pl

from journey.rows import MOST_COLUMNS, Rows, bad_frame, line_numbers, shown_bytes, trimmed

BATCH = 100_000
LONGEST_CELL = 1 << 17  # characters; also how far a quote that never closes is followed
LONGEST_LINE = 1 << 24  # bytes
_TOO_LONG = f"longer than {LONGEST_LINE >> 20} MB"
_SHOWN = 1_000  # bytes of a longer line
_CUT = b"\0the rest was cut\0\n"


class UnreadableCsv(ValueError):
    """A file whose header can't be read: nothing in it has a name."""


def bounded_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file. Of one longer than `LONGEST_LINE` only the beginning is kept, and it is no row."""
    while line := file.readline(LONGEST_LINE):
        if len(line) < LONGEST_LINE or line.endswith(b"\n"):
            yield line
            continue
        while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
            pass
        yield line[:_SHOWN].replace(b'"', b"'") + _CUT


def csv_rows(lines: Iterable[bytes], batch: int = BATCH) -> Iterator[Rows]:
    """The rows of a CSV file. `lines`: its physical lines. The delimiter is what the header has most of: `,` `;` tab.
    UnreadableCsv: its header can't be read.

    At least one `Rows` for a file with a header, so that its columns are known. Header cells that are empty or repeat
    one before them are left out with a finding on line 1.
    """
    reader = _CsvReader(iter(lines))
    header = reader.header()
    names, findings = _header(header)
    width = len(header)
    rows: list[list[str]] = []
    numbers: list[int] = []
    raws: list[str] = []
    bad = [(1, finding, reader.header_raw) for finding in findings]
    given = False
    for number, raw, cells, problem in reader.records():
        if problem is None and len(cells) != width:
            cells, problem = _fitted(cells, width)
        if problem is not None:
            bad.append((number, problem, raw))
            continue
        rows.append(cells)
        numbers.append(number)
        raws.append(raw)
        if len(rows) >= batch:
            yield _csv_batch(names, rows, numbers, raws, bad)
            rows, numbers, raws, bad, given = [], [], [], [], True
    if rows or bad or (not given and names):
        yield _csv_batch(names, rows, numbers, raws, bad)


def csv_records(lines: Iterable[bytes]) -> Iterator[tuple[int, int, list[str], bool]]:
    """The header and every record of a CSV file: (first line, last line, cells, whether it could be read), lines from
    1. UnreadableCsv: its header can't be read."""
    reader = _CsvReader(iter(lines))
    header = reader.header()
    yield reader.number, reader.number, header, True
    for first, _, cells, problem in reader.records():
        yield first, reader.number, cells, problem is None


def _csv_batch(
    names: Mapping[str, int],
    rows: Sequence[Sequence[str]],
    numbers: Sequence[int],
    raws: Sequence[str],
    bad: Sequence[tuple[int, str, str]],
) -> Rows:
    columns = list(zip(*rows, strict=True))
    cells = {name: trimmed(name, columns[place] if columns else ()) for name, place in names.items()}
    return Rows(line_numbers(numbers), pl.Series("raw", raws, pl.String), cells, bad_frame(bad))


def _header(header: Sequence[str]) -> tuple[dict[str, int], list[str]]:
    names: dict[str, int] = {}
    findings: list[str] = []
    seen: set[str] = set()
    for place, cell in enumerate(header):
        name = " ".join(cell.split())
        if not name:
            findings.append(f"column {place + 1} has no name and is left out")
        elif name.casefold() in seen:
            findings.append(f"a second column `{name}` is left out")
        else:
            names[name] = place
            seen.add(name.casefold())
    return names, findings


def _fitted(cells: list[str], width: int) -> tuple[list[str], str | None]:
    """A row of another width: empty cells at its end are forgiven, anything else may have moved its columns."""
    if len(cells) > width and not any(cells[width:]):
        return cells[:width], None
    return cells, f"{len(cells)} cells, and the header has {width}"


class _CsvReader:
    """Records of a CSV file with the number and text of their lines; a record that fails costs its first line only."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self.lines, self.again = lines, list[bytes]()  # `again`: lines to be read once more, the next one last
        self.number = 0  # physical lines that have gone for good
        self.taken: list[bytes] = []  # the lines of the record in hand
        self.delimiter = ","
        self.header_raw = ""

    def header(self) -> list[str]:
        for line in self.lines:
            self.number += 1
            text = line.decode("utf-8-sig" if self.number == 1 else "utf-8", "replace")
            if text.strip():
                self.header_raw = text.rstrip("\r\n")
                if line.endswith(_CUT):
                    raise UnreadableCsv(f"line {self.number} should be its header, and is {_TOO_LONG}")
                self.delimiter = max(",;\t", key=self.header_raw.count)
                try:
                    header = next(csv.reader([self.header_raw], delimiter=self.delimiter), [])
                except csv.Error as error:
                    what = f"line {self.number} should be its header: {_csv_problem(str(error))}"
                    raise UnreadableCsv(f"{what}. Save it as CSV with a header row and ordinary line ends") from None
                if len(header) > MOST_COLUMNS:
                    raise UnreadableCsv(f"it has {len(header):,} columns, and the most is {MOST_COLUMNS:,}")
                return header
        return []

    def records(self) -> Iterator[tuple[int, str, list[str], str | None]]:
        """(line, raw text, cells, what is wrong or None)."""
        csv.field_size_limit(LONGEST_CELL)
        reader = self._reader()
        while True:
            self.taken = []
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                first, rest = self.taken[0], self.taken[1:]
                self.again.extend(reversed(rest))
                self.number += 1
                yield self.number, shown_bytes(first), [], _csv_problem(str(error))
                reader = self._reader()
                continue
            number = self.number + 1
            self.number += len(self.taken)
            if cells and (len(cells) > 1 or cells[0].strip()):
                yield number, shown_bytes(*self.taken), cells, _damage(self.taken)

    def _reader(self) -> Iterator[list[str]]:
        return csv.reader(self._feed(), delimiter=self.delimiter, strict=True)

    def _feed(self) -> Iterator[str]:
        while True:
            line = self.again.pop() if self.again else next(self.lines, None)
            if line is None:
                return
            self.taken.append(line)
            yield line.decode("utf-8", "replace")


def _damage(lines: Sequence[bytes]) -> str | None:
    for line in lines:
        if line.endswith(_CUT):
            return f"it is {_TOO_LONG}"
        if b"\0" in line:
            return "it holds a NUL character"
        try:
            line.decode()
        except UnicodeDecodeError:
            return "it is not UTF-8 text"
    return None


def _csv_problem(error: str) -> str:
    if "unexpected end of data" in error or "field limit" in error:
        return "a quote is opened and never closed"
    if "expected after" in error:
        return "text follows a closing quote"
    if "new-line character" in error:
        return "it holds a carriage return outside quotes"
    return error
