"""The inbox: conversations, one of them as both sides saw it, and answering in it.

What belongs here: the doors; what their pages show is read by `inbox_view`. Everything that a contact wrote is shown as
text. An answer is a line of the landing zone, on disk before the page says so; the next pass plans it like every
message.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.background import BackgroundTask

from gateway.answers import Refused
from gateway.composing import NotSent
from gateway.inbox_events import LIST, Watch
from gateway.inbox_view import answer_line, conversation, overview_of
from gateway.log import LandingLog, LogError
from gateway.look import PageRoute, error_page, page, words_of
from gateway.signing_in import Visitor, read_form, signed_in
from gateway.store import Store, busy
from gateway.words import Words

if TYPE_CHECKING:
    from resources.conversations import Place
    from resources.home import Home

SLOW = 30.0  # seconds that a search may take
LONGEST_SEARCH, LONGEST_ID = 200, 1_000
SHOWN = ("all", "open", "waiting")

Viewer = Annotated[Visitor, Depends(signed_in("viewer"))]
Agent = Annotated[Visitor, Depends(signed_in("agent"))]


def inbox_routes(store: Store, watch: Watch, requests: LandingLog) -> APIRouter:
    """The pages of the inbox and their news. `requests` is the log that answers are written to."""
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
            lambda home: overview_of(store, home, who.name, words, show, campaign, after, language), SLOW
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
        if key != LIST and not _may_be_id(key):
            raise Refused(400, words_of(request)("not_found"))
        return watch.answer(key)

    @routes.get("/inbox/{contact:path}", include_in_schema=False, response_model=None)
    async def one(contact: str, request: Request, who: Viewer) -> Response:
        return await show(contact, request, who, request.query_params)

    @routes.post("/inbox/{contact:path}", include_in_schema=False, response_model=None)
    async def answer(contact: str, request: Request, who: Agent) -> Response:
        form = await read_form(request, who.csrf)
        if not _may_be_id(contact):
            return error_page(request, 404, words_of(request)("inbox_nobody"))
        t = words_of(request)
        try:
            made, line = await store.read(lambda home: answer_line(store, home, contact, who.name, form, t), SLOW)
        except NotSent as error:
            return await show(contact, request, who, form, str(error))
        try:
            await requests.append(line)
        except LogError as error:
            raise busy(f"It could not be kept ({error}).") from error
        return RedirectResponse(f"/inbox/{quote(contact, safe='')}?{urlencode({'sent': made})}#newest", 303)

    async def show(contact: str, request: Request, who: Visitor, asked: Mapping[str, str], error: str = "") -> Response:
        """The page of a conversation. With an `error`, `asked` is the form that was posted."""
        before = _place(asked.get("before", ""))
        if not _may_be_id(contact):
            return error_page(request, 404, words_of(request)("inbox_nobody"))
        mark = await watch.mark(contact)
        language = words_of(request).language
        found = await store.read(
            lambda home: conversation(store, home, who.name, contact, before, language, asked, error), SLOW
        )
        t = request.state.words = Words(language, found.zone)
        if found.person is None and not found.bubbles and before is None:
            return error_page(request, 404, t("inbox_nobody"))
        path = f"/inbox/{quote(contact, safe='')}"
        response = page(
            request,
            "thread.html",
            400 if error else 200,
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
            here=path,
            box=found.box,
            pending=found.pending,
            longest=found.longest,
        )
        if found.unread and before is None:
            response.background = BackgroundTask(_note, store, who.name, contact)
        return response

    return routes


def _may_be_id(contact: str) -> bool:
    """Whether a contact may have this id: none has a NUL, and the ledger would read it to there."""
    return 0 < len(contact) <= LONGEST_ID and "\0" not in contact


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
