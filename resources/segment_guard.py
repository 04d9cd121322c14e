"""What a segment's SQL may hold: one SELECT over `contacts` and `events`, and nothing that reaches anything else.

What belongs here: the refusal of everything but such a query, with the line of what is refused. DuckDB parses; the tree
it gives is walked against lists of what is allowed. A list of what is forbidden would miss the next release: 2.0 lets
even a CTE delete, insert and COPY to a file, and calls the statement a SELECT.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from journey.audience import Segment
from journey.problems import Problem, SegmentError

TABLES = frozenset({"contacts", "events"})
_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
_TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series", "repeat", "json_each", "json_tree"})
#: Functions that tell of the database or the machine instead of contacts, or write somewhere
_FUNCTIONS = frozenset({"current_setting", "getenv", "getvariable", "write_log", "nextval", "currval"})
#: Brackets within each other; the parser takes longer with the square of those that are open, DuckDB allows 1,000
_DEEPEST = 300
#: A qualified built-in would go round the macros that turn the clock
_SCHEMAS = frozenset({"main", "memory", "system", "temp", "pg_catalog", "information_schema"})
_MEND = "A segment is one SELECT over `contacts` and `events`."


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a query is refused; `line` counts from 1, 0 where it is not known."""

    line: int
    what: str
    mend: str


def check_query(segment: Segment) -> list[Problem]:
    """The findings that forbid an SQL segment, without looking at any data."""
    refusal = refuse(segment.text)
    if refusal is None:
        return []
    return [Problem(segment.file, refusal.line or 1, "", refusal.what, refusal.mend)]


@functools.lru_cache(maxsize=256)  # a live pass looks at the project's files each second
def refuse(text: str) -> Refusal | None:
    """Why `text` is not one plain SELECT over contacts and events; None where it is."""
    deep = _too_deep(text)
    if deep is not None:
        return Refusal(deep, "it is nested too deep", "Name its parts with WITH.")
    with duckdb.connect(":memory:") as con:
        try:
            statements = con.extract_statements(text)
        except duckdb.Error as error:
            return Refusal(error_line(error), error_text(error), "Correct the query.")
        if len(statements) != 1:
            return Refusal(0, f"{len(statements)} statements, and a segment is one", _MEND)
        row = con.execute(
            "select json_serialize_sql(?::varchar, skip_null := true, skip_empty := true)", [text]
        ).fetchone()
    try:
        tree: dict[str, Any] = json.loads(row[0]) if row is not None else {"error": True}
        if tree["error"]:
            return Refusal(1, "this is no SELECT", _MEND)
        finding = next(_findings(tree["statements"][0]["node"], frozenset()), None)
    except RecursionError:
        return Refusal(1, "it is nested too deep", "Name its parts with WITH.")
    if finding is None:
        return None
    position, what = finding
    return Refusal(text.encode()[:position].count(b"\n") + 1 if position is not None else 0, what, _MEND)


def failed(error: duckdb.Error, segment: Segment) -> SegmentError:
    """DuckDB's error about a segment's query, with the file and DuckDB's line."""
    line = error_line(error) if segment.kind == "sql" else 0
    return SegmentError(error_text(error), where=f"{segment.file}:{line}" if line else segment.file)


def error_line(error: duckdb.Error) -> int:
    """The line that DuckDB names; 0 where it names none."""
    found = re.search(r"^LINE ([0-9]+):", str(error), re.MULTILINE)
    return int(found[1]) if found else 0


def error_text(error: duckdb.Error) -> str:
    """DuckDB's sentence, on one line, without the excerpt of the query."""
    text = re.split(r"\n+LINE [0-9]+:", str(error))[0]
    return " ".join(re.sub(r"^[A-Za-z ]+ Error: ", "", text).split())


def _too_deep(text: str) -> int | None:
    """The line where too many brackets are open, by DuckDB's own reading of what is a bracket and what is text."""
    if text.count("(") <= _DEEPEST:
        return None
    depth, whole = 0, text.encode()
    try:
        tokens = duckdb.tokenize(text)
    except duckdb.Error:
        return 1
    for place, _ in tokens:
        letter = whole[place : place + 1]
        if letter == b"(":
            depth += 1
        elif letter == b")":
            depth = max(0, depth - 1)
        if depth > _DEEPEST:
            return whole[:place].count(b"\n") + 1
    return None


def _findings(node: Any, scope: frozenset[str]) -> Iterator[tuple[int | None, str]]:
    """What is not allowed under `node`, with its place in the query. `scope`: the names of CTEs seen from here."""
    if isinstance(node, list):
        for one in node:
            yield from _findings(one, scope)
        return
    if not isinstance(node, Mapping):
        return
    yield from _finding(node, scope)
    inner = scope
    for entry in node.get("cte_map", {}).get("map", ()):
        body = entry["value"].get("query_node", {})
        name = str(entry["key"]).casefold()
        own = {name} if body.get("type") == "RECURSIVE_CTE_NODE" else set()
        yield from _findings(entry["value"], inner | own)
        inner = inner | {name}
    if "cte_name" in node:  # the recursive part of a CTE sees the CTE
        inner = inner | {str(node["cte_name"]).casefold()}
    for key, value in node.items():
        if key != "cte_map":
            yield from _findings(value, inner)


def _finding(node: Mapping[str, Any], scope: frozenset[str]) -> Iterator[tuple[int | None, str]]:
    kind = str(node.get("type", ""))
    place = node.get("query_location")
    position = place if isinstance(place, int) and place < 2**63 else None
    path = [str(part) for part in node.get("qualified_name", {}).get("path", ())]
    if kind.endswith("_NODE") and kind not in _NODES:
        deed = kind.removesuffix("_NODE").removesuffix("_QUERY").lower()
        yield position, f"`{deed}` is refused: a segment reads, and writes nothing"
    elif kind == "COLUMN_REF" and [str(one).casefold() for one in node.get("column_names", ())] == ["localtime"]:
        yield position, "`localtime` would not follow the run's clock; write `localtimestamp::time`"
    elif kind in ("SHOW_REF", "VALUE_PARAMETER"):
        what = (
            "DESCRIBE, SHOW and SUMMARIZE name no contacts" if kind == "SHOW_REF" else "a parameter has no value here"
        )
        yield position, what
    elif kind == "BASE_TABLE":
        name = str(node.get("table_name", "")).casefold()
        path = [part.casefold() for part in path] or [name]
        if not (path[-1] in TABLES and path in ([name], ["main", name], ["memory", "main", name])) and (
            len(path) > 1 or name not in scope
        ):
            yield position, f"there is no table `{'.'.join(path)}` for segments"
    elif kind == "TABLE_FUNCTION":
        function = node.get("function", {})
        name = str(function.get("function_name", "")).casefold()
        if name not in _TABLE_FUNCTIONS:
            yield position, f"the table function `{name}` is refused"
    elif kind in ("FUNCTION", "WINDOW_AGGREGATE") or "function_name" in node:
        name = str(node.get("function_name", "")).casefold()
        if name in _FUNCTIONS:
            yield position, f"the function `{name}` is refused"
        elif len(path) > 1 and path[0].casefold() in _SCHEMAS:
            yield position, f"write `{path[-1]}` without `{path[0]}.` before it"
