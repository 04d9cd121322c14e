"""Lines of request files → API entries that were asked for.

What belongs here: what a request's fields are, and what makes a line bad. Whether the request can be met (its campaign,
its attributes) is decided when it is dealt with.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import polars as pl

from journey.event_rows import LONGEST_NAME
from journey.json_rows import json_objects
from journey.rows import MOST_RAW, bad_frame, text_of

KINDS: tuple[Literal["users", "phones", "segment"], ...] = ("users", "phones", "segment")

#: `uuid` names a request once and for all. `kind`: users, phones, segment. `people`: a JSON list of ids or phones as
#: written, each once, or a list with the segment's name. `attributes`: a JSON object.
REQUESTS = {
    "line": pl.Int64(),
    "uuid": pl.String(),
    "campaign": pl.String(),
    "kind": pl.String(),
    "people": pl.String(),
    "attributes": pl.String(),
}


@dataclass(frozen=True, slots=True)
class RequestRows:
    """`frame`: REQUESTS in the file's order. `bad`: lines that were not taken (BAD)."""

    frame: pl.DataFrame
    bad: pl.DataFrame


def read_requests(lines: Iterable[tuple[int, bytes]]) -> RequestRows:
    """Requests from lines (number, bytes) of NDJSON. Keys that are no field of a request are passed over."""
    objects, bad = json_objects(lines)
    rows: list[dict[str, Any]] = []
    wrong: list[tuple[int, str, str]] = []
    for number, text, value in objects:
        row, problem = _request(value)
        if problem is None:
            rows.append({"line": number, **row})
        else:
            wrong.append((number, problem, text.decode("utf-8", "replace")[:MOST_RAW]))
    whole = pl.concat([bad, bad_frame(wrong)]).sort("line", maintain_order=True)
    return RequestRows(pl.DataFrame(rows, schema=REQUESTS), whole)


def _request(value: dict[str, Any]) -> tuple[dict[str, str], str | None]:
    """A request, or what is wrong with it."""
    row: dict[str, str] = {}
    for name, field in (("uuid", "request_uuid"), ("campaign", "campaign")):
        text = text_of(value.get(field)) if isinstance(value.get(field), str | int) else None
        if text is None or not text.strip():
            return {}, f"there is no {field}"
        if len(text) > LONGEST_NAME:
            return {}, f"{field} is longer than {LONGEST_NAME} characters"
        row[name] = text.strip()
    given = [kind for kind in KINDS if value.get(kind) is not None]
    if len(given) != 1:
        found = " and ".join(f"`{kind}`" for kind in given) or "none"
        return {}, f"one of `users`, `phones` and `segment` is wanted, found {found}"
    kind = given[0]
    people = _people(value[kind])
    if people is None or (kind == "segment" and len(people) != 1):
        return {}, "`segment` is the name of one segment" if kind == "segment" else f"`{kind}` is a list of texts"
    if not people:
        return {}, f"`{kind}` names nobody"
    attributes = value.get("attribute_values")
    if attributes is not None and not isinstance(attributes, dict):
        return {}, "`attribute_values` is no JSON object"
    row |= {"kind": kind, "people": _json(people), "attributes": _json(attributes or {})}
    return row, None


def _people(value: Any) -> list[str] | None:
    """Ids or phones, each once; None where there is anything else among them."""
    listed = value if isinstance(value, list) else [value]
    if any(isinstance(one, bool) or not isinstance(one, str | int) for one in listed):
        return None
    texts = [str(one).strip() for one in listed]
    return list(dict.fromkeys(texts)) if all(texts) else None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
