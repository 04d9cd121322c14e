"""Counted links: `GET /r/CODE` leads on to the address that was stored with the code, and counts.

What belongs here: the redirect, and what of it is a person's tap. The tap becomes an event (`link_clicked`) in the
landing zone; a pass makes a click of it (`resources.clicks`). The address is the stored one and never anything that the
request brings: a gateway that leads anywhere is a gift to phishers.
"""

import asyncio
import contextlib
import html
import re
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from gateway.answers import Refused
from gateway.log import Clock, LandingLog, LogError
from gateway.store import Store

if TYPE_CHECKING:
    from resources.home import Home

CLICKED = "link_clicked"
CODE = re.compile(r"[A-Za-z0-9_-]{1,64}")
KEPT = 10_000  # addresses that are known without asking the ledger
FRESH = 20.0  # seconds for which they are: whoever is forgotten has no links
LEDGER_WAIT = 5.0  # seconds for an address; a person waits
DISK_WAIT = 2.0  # seconds for the tap to be on disk; after it the person goes on, and the tap is written all the same
_ROBOTS = re.compile(
    r"^WhatsApp/|facebookexternalhit|facebookcatalog|meta-external"
    r"|(?<!\bcu)bot(?=[/;), -]|$)|crawler|spider|preview|slurp",  # CUBOT makes phones
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Link:
    url: str
    contact_id: str


_PLAIN = "".join(map(chr, range(0x21, 0x7F)))  # what a header bears as it is


def link_routes(store: Store, events: LandingLog, clock: Clock) -> APIRouter:
    """The door of counted links. `events` is the log that becomes landing files."""
    routes = APIRouter()
    known: OrderedDict[str, tuple[float, _Link]] = OrderedDict()

    @routes.api_route("/r/{code:path}", methods=["GET", "HEAD"], response_model=None, include_in_schema=False)
    async def follow(code: str, request: Request) -> Response:
        if not CODE.fullmatch(code):
            return _page(404, "This link leads nowhere.")
        asked, link = known.get(code, (0.0, None))
        if link is None or time.monotonic() - asked > FRESH:
            known.pop(code, None)
            try:
                link = await store.glance(lambda home: _find(home, code), LEDGER_WAIT)
            except Refused:
                if link is None:
                    return _page(503, "This link can't be followed at this moment. Please try again in a minute.")
            if link is None:
                return _page(404, "This link leads nowhere.")
            known[code] = time.monotonic(), link
            if len(known) > KEPT:
                known.popitem(last=False)
        if is_a_tap(request):
            await _count(events, clock, code, link)
        return Response(
            status_code=302,
            headers={"Location": link.url, "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"},
        )

    return routes


def is_a_tap(request: Request) -> bool:
    """Whether a person follows the link: no robot that shows a preview of it, no browser that fetches ahead."""
    purpose = request.headers.get("sec-purpose", "") + request.headers.get("purpose", "")
    agent = request.headers.get("user-agent", "")
    return request.method == "GET" and "prefetch" not in purpose and not _ROBOTS.search(agent)


async def _count(events: LandingLog, clock: Clock, code: str, link: _Link) -> None:
    """Write a tap down. Whatever fails, the person goes on."""
    line = msgspec.json.encode(
        {
            "event": CLICKED,
            "event_id": f"click-{secrets.token_hex(12)}",
            "contact_id": link.contact_id,
            "occurred_at": clock().isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "properties": {"code": code},
        }
    )
    with contextlib.suppress(TimeoutError, LogError):
        await asyncio.wait_for(asyncio.shield(events.append(line)), DISK_WAIT)


def _find(home: "Home", code: str) -> _Link | None:
    with home.ledger.read() as tx:
        row = tx.exec_driver_sql(
            "SELECT l.url, m.contact_id FROM link l JOIN message m ON m.id = l.message_id WHERE l.code = ?", (code,)
        ).one_or_none()
    url = None if row is None else location(row.url)
    return None if row is None or url is None else _Link(url, row.contact_id)


def location(url: str) -> str | None:
    """A stored address as a header can bear it, otherwise as it is; None where it is none of the web."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna").decode()
        port = f":{parts.port}" if parts.port is not None else ""
    except (ValueError, UnicodeError):
        return None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        return None
    if not parts.netloc.isascii():
        url = parts._replace(netloc=host + port).geturl()
    return quote(url, safe=_PLAIN)


def _page(status: int, sentence: str) -> HTMLResponse:
    text = html.escape(sentence)
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{text}</title><p>{text}</p></html>'
    headers = {"Referrer-Policy": "no-referrer", **({"Retry-After": "30"} if status == 503 else {})}
    return HTMLResponse(page, status, headers)
