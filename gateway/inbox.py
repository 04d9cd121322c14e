"""The inbox: conversations, and one of them as both sides saw it.

What belongs here: the doors, and what they read. What was said and what became of it comes from the ledger, so that it
is fresh; who somebody is, from the contacts. Everything that a contact wrote is shown as text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response
from starlette.background import BackgroundTask

from gateway.answers import Refused
from gateway.inbox_events import LIST, Watch
from gateway.look import PageRoute, error_page, page, words_of
from gateway.signing_in import Visitor, signed_in
from gateway.store import Store
from gateway.words import Words
from journey.clock import from_us, to_us

if TYPE_CHECKING:
    from gateway.thread_view import Bubble
    from resources.conversations import Conversation, Place
    from resources.home import Home
    from resources.people_search import Person
    from resources.thread import Thread

SLOW = 30.0  # seconds that a search may take
LONGEST_SEARCH, LONGEST_ID = 200, 1_000
SHOWN = ("all", "open", "waiting")
PREVIEW = 120  # characters

Viewer = Annotated[Visitor, Depends(signed_in("viewer"))]


@dataclass(frozen=True, slots=True)
class Row:
    """A conversation in the list. `title` is what kind of reply it was; `sign` and `mark` are of a message of ours."""

    path: str
    name: str
    phone: str
    when: datetime
    short: str
    theirs: bool
    waiting: bool
    unread: int
    said: str
    title: str
    mark: str
    sign: str
    left: str | None


@dataclass(frozen=True, slots=True)
class Listed:
    """The list: `after` is where it goes on; `empty` says that there is no conversation at all."""

    rows: list[Row]
    after: "Place | None"
    campaigns: list[str]
    zone: ZoneInfo
    empty: bool


@dataclass(frozen=True, slots=True)
class Window:
    """The 24 h after somebody wrote to a sender: until when, and how much is left."""

    sender: str
    until: datetime
    left: str


@dataclass(frozen=True, slots=True)
class Read:
    """One conversation; None for `person` where nobody has this id any more."""

    person: "Person | None"
    phone: str
    bubbles: "list[Bubble]"
    before: "Place | None"
    windows: list[Window]
    consent: tuple[str, str, datetime | None]
    unread: int
    zone: ZoneInfo


def inbox_routes(store: Store, watch: Watch) -> APIRouter:
    """The pages of the inbox and their news."""
    routes = APIRouter(route_class=PageRoute)

    @routes.get("/inbox", include_in_schema=False, response_model=None)
    async def overview(request: Request, who: Viewer) -> Response:
        asked = request.query_params
        words = asked.get("q", "").strip()[:LONGEST_SEARCH]
        show = asked.get("show", "") if asked.get("show", "") in SHOWN else "all"
        campaign, after = asked.get("campaign", ""), _place(asked.get("after", ""))
        mark = await watch.mark(LIST)
        language = words_of(request).language
        found = await store.read(
            lambda home: _overview(store, home, who.name, words, show, campaign, after, language), SLOW
        )
        request.state.words = Words(language, found.zone)
        chosen = {"q": words, "show": show if show != "all" else "", "campaign": campaign}
        return page(
            request,
            "inbox.html",
            rows=found.rows,
            older=_path(chosen, after=_written(found.after)) if found.after is not None else None,
            newest=_path(chosen) if after is not None else None,
            tabs=[(one, _path(chosen, show=one if one != "all" else ""), one == show) for one in SHOWN],
            campaigns=found.campaigns,
            q=words,
            show=show,
            campaign=campaign,
            filtered=bool(words or campaign or show != "all"),
            empty=found.empty,
            mark=mark if after is None and not words else None,
        )

    @routes.get("/inbox/events", include_in_schema=False, response_model=None)
    async def events(request: Request, who: Viewer) -> Response:
        if "text/event-stream" not in request.headers.get("accept", ""):
            return await one("events", request, who)  # somebody may be called so
        key = request.query_params.get("contact", LIST)
        if len(key) > LONGEST_ID:
            raise Refused(400, words_of(request)("not_found"))
        return watch.answer(key)

    @routes.get("/inbox/{contact:path}", include_in_schema=False, response_model=None)
    async def one(contact: str, request: Request, who: Viewer) -> Response:
        before = _place(request.query_params.get("before", ""))
        if not contact or len(contact) > LONGEST_ID:
            return error_page(request, 404, words_of(request)("inbox_nobody"))
        mark = await watch.mark(contact)
        language = words_of(request).language
        found = await store.read(lambda home: _thread(store, home, who.name, contact, before, language), SLOW)
        t = request.state.words = Words(language, found.zone)
        if found.person is None and not found.bubbles and before is None:
            return error_page(request, 404, t("inbox_nobody"))
        path = f"/inbox/{quote(contact, safe='')}"
        response = page(
            request,
            "thread.html",
            contact=contact,
            name=found.person.name if found.person is not None else "",
            phone=found.phone,
            known=found.person is not None,
            bubbles=found.bubbles,
            older=f"{path}?{urlencode({'before': _written(found.before)})}" if found.before is not None else None,
            newest=path if before is not None else None,
            windows=found.windows,
            consent=found.consent,
            events=f"/inbox/events?{urlencode({'contact': contact})}",
            mark=mark if before is None else None,
        )
        if found.unread and before is None:
            response.background = BackgroundTask(_note, store, who.name, contact)
        return response

    return routes


def _path(chosen: dict[str, str], **more: str) -> str:
    wanted = {name: value for name, value in {**chosen, **more}.items() if value}
    return f"/inbox?{urlencode(wanted)}" if wanted else "/inbox"


def _written(place: "Place | None") -> str:
    return ".".join(str(one) for one in place or ())


def _place(text: str) -> "Place | None":
    """A place as links have it; anything else is the beginning."""
    found = re.fullmatch(r"(\d{1,18})\.([0-9])\.(\d{1,18})", text, re.ASCII)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


async def _note(store: Store, user: str, contact: str) -> None:
    """After the answer: whoever reads need not wait for the ledger. Where it is busy the mark stays for next time."""

    def change(home: "Home") -> None:
        from resources.conversations import note_seen

        with home.ledger.write() as tx:
            note_seen(tx, user, contact)

    try:
        await store.write(change)
    except Refused:
        return


# in threads


def _overview(
    store: Store,
    home: "Home",
    user: str,
    words: str,
    show: str,
    campaign: str,
    after: "Place | None",
    language: str,
) -> Listed:
    from resources.conversations import Asked, campaigns_sent, conversations
    from resources.people_search import people, search

    project = store.project(home)
    zone = ZoneInfo(project.settings.timezone)
    asked = Asked(
        user,
        campaign or None,
        show == "open",
        show == "waiting",
        search(home, words) if words else None,
        after,
    )
    now = store.clock()
    with home.ledger.read() as tx:
        found = conversations(tx, asked, to_us(now))
        names = campaigns_sent(tx)
        nothing = not found.rows and not conversations(tx, Asked(user), to_us(now), 1).rows
    known = people(home, [one.contact_id for one in found.rows])
    t = Words(language, zone)
    bodies, library = _bodies(home), project.templates
    rows = [_row(one, known.get(one.contact_id), now, library, bodies, t) for one in found.rows]
    return Listed(rows, found.after, names, zone, nothing)


def _row(one: "Conversation", person: "Person | None", now: datetime, library: Any, bodies: Any, t: Words) -> Row:
    from gateway.thread_view import MARKS, SIGNS, left, reply_text, shown_message
    from resources.conversations import WINDOW

    last = one.last
    title, mark = "", ""
    if one.theirs:
        title, said = reply_text(last.reply_kind, last.text, last.payload, t)
    else:
        mark = MARKS.get(last.state, "unknown")
        shown = shown_message(last, library, bodies, {})
        said = shown.body if shown is not None else last.template or t("free_text")
    until = from_us(one.said_at + WINDOW) if one.said_at is not None else None
    phone = (person.phone if person is not None else last.phone) or ""
    return Row(
        f"/inbox/{quote(one.contact_id, safe='')}#newest",
        (person.name if person is not None else "") or phone or one.contact_id,
        phone,
        from_us(one.at),
        t.short_time(from_us(one.at), now),
        one.theirs,
        one.waiting,
        one.unread,
        _short(said),
        title,
        mark,
        SIGNS.get(mark, ""),
        left(until - now, t) if until is not None and until > now else None,
    )


def _thread(store: Store, home: "Home", user: str, contact: str, before: "Place | None", language: str) -> Read:
    from gateway.thread_view import bubbles
    from resources.conversations import unread
    from resources.people_search import people
    from resources.thread import thread

    project = store.project(home)
    t = Words(language, ZoneInfo(project.settings.timezone))
    person = people(home, [contact]).get(contact)
    with home.ledger.read() as tx:
        found = thread(tx, contact, person.phone if person is not None else None, before)
        new = unread(tx, user, contact)
    sent = [one.row.phone for one in found.entries if one.kind == "message"]
    return Read(
        person,
        (person.phone if person is not None else sent[-1] if sent else None) or "",
        bubbles(found.entries, project.templates, _bodies(home), t),
        found.before,
        _windows(found, store.clock(), t),
        _consent(home, contact, found, project.settings.consent.default == "opted_in"),
        new,
        t.zone,
    )


def _windows(found: "Thread", now: datetime, t: Words) -> list[Window]:
    """The windows that are open, the one that lasts longest first."""
    from gateway.thread_view import left
    from resources.conversations import WINDOW

    ends = [(sender or "", from_us(at) + timedelta(microseconds=WINDOW)) for sender, at in found.said_at.items()]
    return [Window(sender, until, left(until - now, t)) for sender, until in ends if until > now]


def _consent(home: "Home", contact: str, found: "Thread", default: bool) -> tuple[str, str, datetime | None]:
    """What may be sent to them: all, marketing or file (what they refuse), in or unsaid; the cause; since when."""
    if found.refused is not None:
        scope, cause, at = found.refused
        return scope, cause, from_us(at)
    rows = home.contacts.frame(["opted_in", "opted_in_at", "opt_out_scope", "opt_out_cause", "opted_out_at"], [contact])
    if rows.is_empty():
        return "unsaid", "", None
    opted_in, since, scope, cause, at = rows.row(0)
    if scope is not None:
        return str(scope), str(cause or ""), at
    if opted_in is None:
        return ("in" if default else "unsaid"), "", None
    return ("in", "", since) if opted_in else ("file", "file", None)


def _bodies(home: "Home") -> Any:
    """Bodies by file and row; None for one that is no longer kept."""
    import polars as pl

    def get(file: int, row: int) -> str | None:
        try:
            return home.bodies.get(file, row)
        except (LookupError, OSError, pl.exceptions.PolarsError):
            return None

    return get


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= PREVIEW else text[: PREVIEW - 1].rstrip() + "…"


__all__: Sequence[str] = ["inbox_routes"]
