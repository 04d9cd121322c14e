"""Lines of request files → API entries that were asked for, and answers that people wrote in the inbox.

What belongs here: what a request's fields are, and what makes a line bad. Whether the request can be met (its campaign,
its attributes) is decided when it is dealt with. A line with `inbox` is an answer (`inbox_answer`).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import polars as pl

from journey.event_rows import LONGEST_NAME
from journey.inbox_answer import read_answer
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

#: Answers of the inbox. `content` is JSON: what is said, without who says it to whom.
ANSWERS = {
    "line": pl.Int64(),
    "uuid": pl.String(),
    "contact_id": pl.String(),
    "sender": pl.String(),
    "author": pl.String(),
    "content": pl.String(),
}


@dataclass(frozen=True, slots=True)
class RequestRows:
    """`frame`: REQUESTS, and `answers`: ANSWERS, in the file's order. `bad`: lines that were not taken (BAD)."""

    frame: pl.DataFrame
    answers: pl.DataFrame
    bad: pl.DataFrame


def read_requests(lines: Iterable[tuple[int, bytes]], senders: Collection[str] = ()) -> RequestRows:
    """Requests from lines (number, bytes) of NDJSON. Keys that are no field of a request are passed over. An answer
    comes from one of `senders`."""
    objects, bad = json_objects(lines)
    rows: list[dict[str, Any]] = []
    answers: list[dict[str, Any]] = []
    wrong: list[tuple[int, str, str]] = []
    for number, text, value in objects:
        is_answer = "inbox" in value
        row, problem = _answer(value, senders) if is_answer else _request(value)
        if problem is None:
            (answers if is_answer else rows).append({"line": number, **row})
        else:
            wrong.append((number, problem, text.decode("utf-8", "replace")[:MOST_RAW]))
    whole = pl.concat([bad, bad_frame(wrong)]).sort("line", maintain_order=True)
    return RequestRows(pl.DataFrame(rows, schema=REQUESTS), pl.DataFrame(answers, schema=ANSWERS), whole)


def _answer(value: dict[str, Any], senders: Collection[str]) -> tuple[dict[str, str], str | None]:
    """An answer, or what is wrong with it."""
    uuid, problem = _name(value, "request_uuid")
    if problem is not None:
        return {}, problem
    try:
        found = read_answer(value["inbox"])
    except ValueError as error:
        return {}, str(error)
    if found.sender not in senders:
        return {}, f"inbox.sender: there is no sender `{found.sender[:LONGEST_NAME]}` in estafette.yaml"
    who = {"contact_id": found.contact_id, "sender": found.sender, "author": found.author}
    return {"uuid": uuid, **who, "content": found.content()}, None


def _name(value: dict[str, Any], field: str) -> tuple[str, str | None]:
    """A name out of a request, or what is wrong with it."""
    text = text_of(value.get(field)) if isinstance(value.get(field), str | int) else None
    if text is None or not text.strip():
        return "", f"there is no {field}"
    if len(text) > LONGEST_NAME:
        return "", f"{field} is longer than {LONGEST_NAME} characters"
    return text.strip(), None


def _request(value: dict[str, Any]) -> tuple[dict[str, str], str | None]:
    """A request, or what is wrong with it."""
    row: dict[str, str] = {}
    for name, field in (("uuid", "request_uuid"), ("campaign", "campaign")):
        row[name], problem = _name(value, field)
        if problem is not None:
            return {}, problem
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
