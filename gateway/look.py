"""How pages look: templates, the stylesheet and its like, errors as pages.

What belongs here: what every page has in common. `page` fills a template of `pages/`; `PageRoute` is the class of the
routes that answer people rather than programs: whatever goes wrong there becomes a page too.
"""

import hashlib
from collections.abc import Callable, Coroutine, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.exceptions import HTTPException

from gateway.answers import Refused
from gateway.words import COOKIE, LANGUAGES, NAMES, Words, language_of

ROOM = Path(__file__).parent
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
YEAR = 365 * 86_400
LONGEST_TARGET = 2_000


class SendTo(Exception):
    """Answers with another address instead (303)."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.target = target


class PageRoute(APIRoute):
    """A route whose errors are pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await handler(request)
            except SendTo as elsewhere:
                return RedirectResponse(elsewhere.target, 303)
            except Refused as refused:
                response = error_page(request, refused.status, words_of(request).sentence(refused.sentence)[0])
                if refused.retry_after is not None:
                    response.headers["Retry-After"] = str(refused.retry_after)
                return response
            except HTTPException as error:
                return error_page(request, error.status_code, str(error.detail))
            except RequestValidationError:
                return error_page(request, 400, words_of(request)("form_unreadable"))

        return handle


def words_of(request: Request) -> Words:
    """The texts for a request; in the project's zone once a door has said which (`request.state.words`)."""
    found: Words | None = getattr(request.state, "words", None)
    return found or Words(language_of(request))


def page(request: Request, template: str, status: int = 200, **values: object) -> Response:
    """A page. Its template sees `t` (the texts), `visitor` (who is logged in, or None) and `values`."""
    visitor = getattr(request.state, "visitor", None)
    path, address = request.url.path, address_of(request)
    common = {"t": words_of(request), "visitor": visitor, "path": path, "address": address, "names": NAMES}
    text = _environment().get_template(template).render(**common, **values)
    return HTMLResponse(text, status, {"Vary": "Cookie, Accept-Language"})


def document(template: str, t: Words, **values: object) -> str:
    """A page that is a file of its own: what it looks like is in it, and it needs nothing from anywhere."""
    style = Markup(_files()["estafette.css"][0].decode())  # noqa: S704 - our own file
    return _environment().get_template(template).render(t=t, style=style, **values)


def error_page(request: Request, status: int, sentence: str, title: str | None = None) -> Response:
    """An error of a page: a sentence, and a way on."""
    t = words_of(request)
    title = title or t("not_found_title" if status == 404 else "error_title")
    return page(request, "error.html", status, title=title, sentence=sentence, down=status >= 500)


def address_of(request: Request) -> str:
    """What was asked for, as it was written: a name in it may hold `/` or `?`, which are `%2F` and `%3F` there."""
    raw: bytes = request.scope.get("raw_path") or quote(request.url.path).encode()
    path, query = raw.partition(b"?")[0].decode("latin-1"), request.url.query
    return f"{path}?{query}" if query else path


def own_path(target: str) -> str:
    """An address to send somebody to after a form: one of ours as it is, anything else `/`."""
    wrong = len(target) > LONGEST_TARGET or not target.startswith("/") or target.startswith("//")
    if wrong or "\\" in target or any(ord(one) < 33 or ord(one) == 127 for one in target):
        return "/"
    return quote(target, safe="/?&=%:@!$'()*+,;~-._")


def is_secure(request: Request) -> bool:
    """Whether the browser came by https; behind a proxy that is trusted, what that says."""
    return request.url.scheme == "https"


def look_routes() -> APIRouter:
    """The stylesheet and its like, and the choice of a language."""
    routes = APIRouter(route_class=PageRoute)

    @routes.get("/static/{name}", include_in_schema=False, response_model=None)
    async def static(name: str, request: Request) -> Response:
        found = _files().get(name)
        if found is None:
            return Response(status_code=404)
        data, kind, digest = found
        headers = {"ETag": f'"{digest}"', "Cache-Control": "no-cache"}
        if request.query_params.get("v") == digest:
            headers["Cache-Control"] = f"public, max-age={YEAR}, immutable"
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=kind, headers=headers)

    @routes.get("/language/{language}", include_in_schema=False, response_model=None)
    async def language(language: str, request: Request) -> Response:
        """Remembers a language. Nothing of anybody's changes by it, so it may be a link."""
        response = RedirectResponse(own_path(request.query_params.get("to", "/")), 303)
        if language in LANGUAGES:
            response.set_cookie(
                COOKIE, language, max_age=YEAR, httponly=True, samesite="lax", secure=is_secure(request)
            )
        return response

    return routes


def asset(name: str) -> str:
    """The address of a file of `static/`; it changes with what is in the file, so it may be kept for a year."""
    return f"/static/{name}?v={_files()[name][2]}"


def coded(text: str) -> Markup:
    """A sentence whose `words in backticks` are code; all else of it is escaped."""
    parts = text.split("`")
    return Markup().join(
        Markup("<code>{}</code>").format(part) if place % 2 and place < len(parts) - 1 else part
        for place, part in enumerate(parts)
    )


@lru_cache(1)
def _files() -> Mapping[str, tuple[bytes, str, str]]:
    """What is served as it is: bytes, type, digest, by name. Nothing else of the disk can be named."""
    found = {}
    for path in (ROOM / "static").iterdir():
        if path.suffix in TYPES:
            data = path.read_bytes()
            found[path.name] = (data, TYPES[path.suffix], hashlib.sha256(data).hexdigest()[:16])
    return found


@lru_cache(1)
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(ROOM / "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["asset"] = asset
    made.filters["coded"] = coded
    return made
