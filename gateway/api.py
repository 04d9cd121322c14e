"""The API: starting journeys, taking events, and what became of a request.

What belongs here: the three doors under /api. What a body may say is `journey.start_request` and `journey.event_rows`;
what becomes of a request is found by `resources.request_outcomes`. What is accepted is a line of the landing zone, on
disk before it is answered; the next pass deals with it.
"""

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, Response

from gateway.access import api_token
from gateway.answers import Refused, read_body
from gateway.api_schema import EVENTS, OUTCOMES, START
from gateway.log import LandingLog, LogError
from gateway.repeats import Accepted, is_repeat, key_of, remember, uuid_of
from gateway.store import Store, busy
from journey.clock import to_us
from journey.start_request import StartRequest, fitting_entry, read_start

if TYPE_CHECKING:
    from resources.home import Home
    from resources.project import Project

LARGEST_START = 10_000_000  # bytes
LARGEST_EVENTS = 10_000_000
MOST_EVENTS = 10_000
MOST_OUTCOMES, USUAL_OUTCOMES = 10_000, 1_000

T = TypeVar("T")
Caller = Annotated[str, Depends(api_token)]
"""The name of the token that a request brings."""


def api_routes(store: Store, requests: LandingLog, events: LandingLog) -> APIRouter:
    """The doors under /api. `requests` and `events` are the logs that become landing files."""
    routes = APIRouter()

    @routes.post("/api/journey/{campaign}/start/external", response_model=None, **START)
    async def start(campaign: str, request: Request, token: Caller) -> Response:
        key = key_of(request)
        body = await read_body(request, LARGEST_START)
        accepted = await store.read(
            lambda home: _as_deep_as_a_pass(lambda: _accept(store, home, campaign, body, token, key))
        )
        if accepted.digest is not None:
            await store.write(lambda home: remember(home, accepted, to_us(store.clock())))
        await _keep(requests, accepted.line)
        return JSONResponse({"request_uuid": accepted.uuid})

    @routes.get("/api/requests/{request_uuid}", response_model=None, **OUTCOMES)
    async def outcomes(request_uuid: str, request: Request, token: Caller) -> Response:
        limit = _number(request, "limit", USUAL_OUTCOMES, 1, MOST_OUTCOMES)
        after = _number(request, "after", 0, 0, 10**12)

        def look(home: "Home") -> dict[str, Any] | None:
            from resources.request_outcomes import request_outcomes

            return request_outcomes(home, request_uuid, after, limit)

        found = await store.read(look, 30.0)
        if found is None:
            raise Refused(404, "There is no request of this uuid.")
        return JSONResponse(found)

    @routes.post("/api/events", response_model=None, **EVENTS)
    async def take_events(request: Request, token: Caller) -> Response:
        body = await read_body(request, LARGEST_EVENTS)
        lines, refused = await store.read(lambda home: _as_deep_as_a_pass(lambda: _events(store, home, body)), 30.0)
        if lines:
            await _keep(events, b"\n".join(lines))
        answer: dict[str, Any] = {
            "accepted": len(lines),
            "refused": [{"index": index, "reason": reason} for index, reason in refused],
        }
        if refused and not lines:
            return JSONResponse({"error": f"No event was taken: {refused[0][1]}.", **answer}, 400)
        return JSONResponse(answer)

    return routes


async def _keep(log: LandingLog, line: bytes) -> None:
    try:
        await log.append(line)
    except LogError as error:
        raise busy(f"It could not be kept ({error}).") from error


# -- starting ----------------------------------------------------------------------------------------------------------


def _accept(
    store: Store, home: "Home", campaign: str, body: bytes, token: str, key: str | None
) -> Accepted:  # fmt: skip
    """A request to be written down, in a thread. Refused: whatever is wrong with it."""
    from journey.json_rows import json_object

    value, problem = json_object(_text(body))
    if problem is not None:
        raise Refused(400, f"The body can't be read: {problem}.")
    project = store.project(home)
    if campaign not in project.campaigns and campaign not in project.holes:
        raise Refused(404, f"There is no campaign `{campaign[:64]}`.")
    try:
        asked = read_start(value)
    except ValueError as error:
        raise Refused(400, str(error)) from None
    if key is None:
        _ensure_open(home, project, campaign, asked)
        return _written(asked, campaign, str(uuid.uuid4()))
    accepted = _written(asked, campaign, uuid_of(token, campaign, key))
    if is_repeat(home, accepted, asked.digest()):  # once accepted it stays so, whatever has become of the campaign
        return accepted
    _ensure_open(home, project, campaign, asked)
    return replace(accepted, digest=asked.digest())


def _ensure_open(home: "Home", project: "Project", campaign: str, asked: StartRequest) -> None:
    """Refused (400, 409): the campaign takes no such request, or none now."""
    from resources.tables import campaign as campaigns

    if campaign in project.holes:
        raise Refused(409, f"The campaign `{campaign}` has a hole and takes no requests; `estafette check` says more.")
    if project.campaigns[campaign].draft:
        raise Refused(409, f"The campaign `{campaign}` is a draft and takes no requests.")
    _, misfit = fitting_entry(project.campaigns[campaign], set(asked.attributes))
    if misfit is not None:
        raise Refused(400, f"The request can't be taken: {misfit}.")
    if asked.kind == "segment" and asked.people[0] not in project.segments:
        raise Refused(400, f"There is no segment `{asked.people[0][:64]}`.")
    with home.ledger.read() as tx:
        stopped = tx.execute(
            campaigns.select().where(campaigns.c.name == campaign, campaigns.c.stopped_at.is_not(None))
        ).one_or_none()
    if stopped is not None:
        raise Refused(409, f"The campaign `{campaign}` is stopped and takes no requests until it is resumed.")


def _written(asked: StartRequest, campaign: str, request_uuid: str) -> Accepted:
    """The request's line, read once as a pass will read it. Refused: a pass would set it aside."""
    from journey.request_rows import read_requests

    line = asked.line(campaign, request_uuid)
    read = read_requests([(1, line)])
    if read.bad.height:
        raise Refused(400, f"The request can't be taken: {read.bad['reason'][0]}.")
    (row,) = read.frame.iter_rows(named=True)
    return Accepted(request_uuid, line, said=(row["kind"], row["people"], row["attributes"]))


def _as_deep_as_a_pass(read: Callable[[], T], frames: int = 200) -> T:
    """`read`, called from so many frames down. How deep JSON may be nested depends on the stack that is left, and a
    pass stands deeper in it than a door: what is accepted here must not be too deep there."""
    return read() if frames == 0 else _as_deep_as_a_pass(read, frames - 1)


def _text(body: bytes) -> bytes:
    return body.removeprefix(b"\xef\xbb\xbf").strip()


def _number(request: Request, name: str, usual: int, least: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return usual
    if not (text.isascii() and text.isdecimal() and len(text) < 15 and least <= int(text) <= most):
        raise Refused(400, f"`{name}` is no whole number from {least} to {most}.")
    return int(text)


# -- events ------------------------------------------------------------------------------------------------------------


def _events(store: Store, home: "Home", body: bytes) -> tuple[list[bytes], list[tuple[int, str]]]:
    """The lines of the events that can be taken, and (index, reason) of the others; in a thread.

    They are read as a pass will read them. One POST is as one file: an event without an id gets the one that follows
    from what it says, so that a POST that is sent again changes nothing.
    """
    import msgspec

    from journey.event_rows import IdenticalLines, derive_ids, read_json_events

    text = _text(body)
    try:
        listed = [text] if text[:1] != b"[" else list(map(bytes, msgspec.json.decode(text, type=list[msgspec.Raw])))
        if len(listed) > MOST_EVENTS:
            raise Refused(413, f"{len(listed)} events are too many: at most {MOST_EVENTS} are taken at once.")
        lines = [msgspec.json.format(one, indent=-1) for one in listed]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refused(400, f"The body is not JSON ({error}).") from None
    except RecursionError:
        raise Refused(400, "The body is nested too deep.") from None
    settings = store.project(home).settings
    read = read_json_events(enumerate(lines), settings.region, ZoneInfo(settings.timezone))
    good = derive_ids(read.frame, IdenticalLines())
    derived = {line: own for line, own, said in good.select("line", "event_id", "said").iter_rows() if said is not None}
    taken = [_with_id(lines[line], derived[line]) if line in derived else lines[line] for line in good["line"]]
    return taken, list(read.bad.select("line", "reason").iter_rows())


def _with_id(line: bytes, event_id: str) -> bytes:
    """An event's line with the id that follows from what it says; a blank one it may have had goes."""
    import msgspec

    from journey.event_rows import known_field

    event = msgspec.json.decode(line)
    blank = next((name for name in event if known_field(name) == "event_id"), "event_id")
    event.pop(blank, None)
    free = next(name for name in ("event_id", "Event_Id", "EVENT_ID", "event id", "event-id") if name not in event)
    return msgspec.json.encode({free: event_id, **event})
