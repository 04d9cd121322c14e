"""NDJSON → rows, one bad line at a time.

What belongs here: the reading of lines of JSON objects. msgspec reads them: it refuses lone surrogates, which Polars
turns into U+0000 without a word, and a line that fails costs no other.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import polars as pl

from journey.rows import MOST_COLUMNS, MOST_RAW, Rows, bad_frame, line_numbers, shown_bytes, text_of, trimmed

_json = msgspec.json.Decoder()


def json_objects(lines: Iterable[tuple[int, bytes]]) -> tuple[list[tuple[int, bytes, dict[str, Any]]], pl.DataFrame]:
    """(line number, text, object) of every line that holds a JSON object; the others as BAD. Blank lines are none."""
    found: list[tuple[int, bytes, dict[str, Any]]] = []
    bad: list[tuple[int, str, str]] = []
    for number, line in lines:
        text = line.strip().removeprefix(b"\xef\xbb\xbf")
        if not text:
            continue
        value, problem = json_object(text)
        if problem is None:
            found.append((number, text, value))
        else:
            bad.append((number, problem, shown_bytes(line)))
    return found, bad_frame(bad)


def json_object(text: bytes) -> tuple[dict[str, Any], str | None]:
    """The object in `text`, and what is wrong where there is none."""
    try:
        value = _json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return {}, f"it is not JSON ({str(error).removeprefix('JSON is malformed: ')})"
    except RecursionError:
        return {}, "it is nested too deep"
    if not isinstance(value, dict):
        return {}, "it is no JSON object"
    # Neither SQLite nor Meta takes a NUL, and it would cut texts short on the way.
    if b"\\u0000" in text and _has_nul(value):
        return {}, "it holds a NUL character"
    return value, None


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(one) for key, one in value.items())
    return isinstance(value, list) and any(_has_nul(one) for one in value)


def ndjson_rows(lines: Iterable[tuple[int, bytes]]) -> Rows:
    """Lines (number, bytes) of NDJSON: one object a row. Nested objects become columns with dots, lists JSON text."""
    objects, bad = json_objects(lines)
    names: dict[str, None] = {}
    kept, flat = [], list[dict[str, Any]]()
    wide: list[tuple[int, str, str]] = []
    for number, text, value in objects:
        one = flatten(value)
        new = one.keys() - names.keys()
        if len(names) + len(new) > MOST_COLUMNS:
            wide.append(
                (number, f"with it the file has more than {MOST_COLUMNS:,} fields", shown_bytes(text[:MOST_RAW]))
            )
            continue
        names |= dict.fromkeys(one)
        kept.append((number, text))
        flat.append(one)
    bad = pl.concat([bad, bad_frame(wide)]).sort("line", maintain_order=True) if wide else bad
    cells: dict[str, pl.Series] = {}
    absent: dict[str, pl.Series] = {}
    quoted: dict[str, int] = {}
    for name in names:
        values = [one.get(name, _MISSING) for one in flat]
        cells[name] = trimmed(name, [None if one is _MISSING else text_of(one) for one in values])
        quoted[name] = sum(isinstance(one, str) and one.strip() != "" for one in values)
        if _MISSING in values:
            absent[name] = pl.Series(name, [one is _MISSING for one in values], pl.Boolean)
    raws = pl.Series("raw", [text.decode("utf-8", "replace") for _, text in kept], pl.String)
    return Rows(line_numbers([number for number, _ in kept]), raws, cells, bad, absent, {}, quoted)


class _Missing:
    __slots__ = ()


_MISSING = _Missing()


def flatten(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested objects as one level: `{"a": {"b": 1}}` → `{"a.b": 1}`. Lists stay as they are."""
    flat: dict[str, Any] = {}
    for key, one in value.items():
        name = " ".join(key.split())
        if not name:
            continue
        if isinstance(one, dict) and one:
            flat |= flatten(one, f"{before}{name}.")
        else:
            flat[before + name] = one
    return flat
