"""Who may see the pages: log-in, log-out, and what a page asks before it shows itself.

What belongs here: cookies, forms, roles at the door. Users are `resources.users`, sessions `resources.sessions`.

A page depends on `signed_in(role)`; a form it posts is read with `read_form`, which wants the session's CSRF token. The
log-in's own form has its token in a cookie of its own, so that nobody is logged in as somebody else unawares.
"""

import asyncio
import hmac
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from gateway.answers import Refused, read_body
from gateway.look import PageRoute, SendTo, address_of, error_page, is_secure, own_path, page, words_of
from gateway.store import Store
from journey.clock import to_us
from resources.sessions import (
    LONGEST,
    begin_session,
    end_session,
    extend_session,
    find_session,
    forget_attempts,
    note_attempt,
)
from resources.users import Role, has_users, is_password, kept_password, nobody

if TYPE_CHECKING:
    from resources.home import Home

SESSION, BEFORE = "estafette_session", "estafette_before"
LIVE = "x-estafette-live"  # a page that looks by itself (`static/live.js`) keeps nobody logged in
LARGEST_FORM = 64_000  # bytes
MOST_FIELDS = 50
LONGEST_ID = 200
AT_ONCE = 2
"""Passwords that are looked at at once: each takes 32 MB and a core for a tenth of a second."""
COMMAND = "estafette users add NAME --role operator"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is logged in. `csrf` goes into each of their forms as the field `csrf`."""

    name: str
    role: Role
    csrf: str

    def may(self, role: str) -> bool:
        """Whether they have this role, or one above it."""
        return self.role >= Role[role]


def signed_in(role: str = "viewer") -> Callable[[Request], Coroutine[Any, Any, Visitor]]:
    """A dependency: who asks. Nobody is sent to the log-in; who has not the role gets 403. For `PageRoute` only."""

    async def ask(request: Request) -> Visitor:
        found = await visitor(request)
        if found is None:
            back = address_of(request) if request.method == "GET" else "/"
            raise SendTo("/login" if back == "/" else f"/login?to={quote(back, safe='/')}")
        if not found.may(role):
            t = words_of(request)
            needed, own = t(f"role_{role}"), t(f"role_{found.role.name}")
            raise Refused(403, t("not_allowed", needed=needed, role=own))
        return found

    return ask


async def visitor(request: Request) -> Visitor | None:
    """Who asks, or None; asked once a request, and kept as `request.state.visitor`."""
    if hasattr(request.state, "visitor"):
        known: Visitor | None = request.state.visitor
        return known
    offered, found = request.cookies.get(SESSION, ""), None
    store: Store = request.app.state.store
    if offered and len(offered) <= LONGEST_ID:
        now = to_us(store.clock())
        row = await store.glance(lambda home: _find(home, offered, now))
        if row is not None:
            found = Visitor(row[0].user, row[0].role, row[0].csrf)
            if row[1] and not _by_itself(request):
                await store.write(lambda home: _extend(home, offered, now))
    request.state.visitor = found
    return found


def _by_itself(request: Request) -> bool:
    """Whether a page asks that somebody has left open: that keeps nobody logged in."""
    return LIVE in request.headers or "text/event-stream" in request.headers.get("accept", "")


async def read_form(request: Request, csrf: str) -> dict[str, str]:
    """The fields of a form that was posted. Refused: it is no form (400), or does not bring this token (403)."""
    t = words_of(request)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Refused(400, t("form_unreadable"))
    body = await read_body(request, LARGEST_FORM)
    try:
        fields = dict(
            parse_qsl(
                body.decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=MOST_FIELDS,
            )
        )
    except ValueError:
        raise Refused(400, t("form_unreadable")) from None
    if not csrf or not hmac.compare_digest(fields.get("csrf", "").encode(), csrf.encode()):
        raise Refused(403, t("form_stale"))
    return fields


def signing_in_routes(store: Store) -> APIRouter:
    """Log-in and log-out."""
    routes = APIRouter(route_class=PageRoute)
    looking = asyncio.Semaphore(AT_ONCE)

    @routes.get("/login", include_in_schema=False, response_model=None)
    async def show(request: Request) -> Response:
        target = own_path(request.query_params.get("to", "/"))
        if await visitor(request) is not None:
            return RedirectResponse(target, 303)
        return await _log_in_page(request, store, target)

    @routes.post("/login", include_in_schema=False, response_model=None)
    async def log_in(request: Request) -> Response:
        fields = await read_form(request, request.cookies.get(BEFORE, "")[:LONGEST_ID])
        name, password, target = fields.get("name", ""), fields.get("password", ""), own_path(fields.get("to", "/"))
        address = request.client.host if request.client else ""
        now = to_us(store.clock())
        wait = await store.write(lambda home: _note(home, name, address, now))
        if wait:
            minutes = wait // 60_000_000 + 1
            said = words_of(request)("log_in_limited", minutes=minutes)
            response = await _log_in_page(request, store, target, said, name, 429)
            response.headers["Retry-After"] = str(minutes * 60)
            return response
        async with looking:
            kept = await store.read(lambda home: _kept(home, name))
            right = await asyncio.to_thread(is_password, kept, password)
        if not right:
            return await _log_in_page(request, store, target, words_of(request)("log_in_failed"), name, 401)
        former = request.cookies.get(SESSION, "")[:LONGEST_ID]
        made = await store.write(lambda home: _begin(home, name, address, former, now))
        response = RedirectResponse(target, 303)
        response.set_cookie(
            SESSION, made, max_age=LONGEST // 1_000_000, httponly=True, samesite="lax", secure=is_secure(request)
        )
        response.delete_cookie(BEFORE)
        return response

    @routes.post("/logout", include_in_schema=False, response_model=None)
    async def log_out(request: Request) -> Response:
        who = await visitor(request)
        if who is not None:
            await read_form(request, who.csrf)
            offered = request.cookies[SESSION]
            await store.write(lambda home: _end(home, offered))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(SESSION)
        return response

    return routes


async def _log_in_page(
    request: Request, store: Store, target: str, said: str = "", name: str = "", status: int = 200
) -> Response:
    known = await store.read(_has_users)
    token = request.cookies.get(BEFORE, "")
    if len(token) != 43:  # as `token_urlsafe(32)` makes them
        token = secrets.token_urlsafe(32)
    response = page(
        request, "login.html", status, said=said, name=name, target=target, known=known, csrf=token, command=COMMAND
    )
    response.set_cookie(BEFORE, token, max_age=3_600, httponly=True, samesite="lax", secure=is_secure(request))
    return response


# in threads


def _find(home: "Home", offered: str, now: int) -> Any:
    with home.ledger.read() as tx:
        return find_session(tx, offered, now)


def _extend(home: "Home", offered: str, now: int) -> None:
    with home.ledger.write() as tx:
        extend_session(tx, offered, now)


def _end(home: "Home", offered: str) -> None:
    with home.ledger.write() as tx:
        end_session(tx, offered)


def _has_users(home: "Home") -> bool:
    with home.ledger.read() as tx:
        return has_users(tx)


def _note(home: "Home", name: str, address: str, now: int) -> int:
    with home.ledger.write() as tx:
        return note_attempt(tx, name, address, now)


def _kept(home: "Home", name: str) -> str:
    nobody()  # made at the first log-in, whoever's it is
    with home.ledger.read() as tx:
        return kept_password(tx, name)


def _begin(home: "Home", name: str, address: str, former: str, now: int) -> str:
    with home.ledger.write() as tx:
        forget_attempts(tx, name, address)
        if former:
            end_session(tx, former)
        return begin_session(tx, name, now)


__all__ = ["Visitor", "error_page", "read_form", "signed_in", "signing_in_routes", "visitor"]
