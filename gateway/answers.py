"""What every door has in common: refusals as one sentence, and bodies that are read up to a limit and in time.

What belongs here: `Refused`, which any door may raise, and the reading of a body. A door's own checks are its own.
"""

import asyncio

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

BODY_TIMEOUT = 30.0  # seconds until a body is there
MOST_AT_ONCE = 128_000_000  # bytes of bodies that came, of all requests that are not answered yet
_HELD = "estafette.held"


class Refused(Exception):
    """A request that is answered with an error: `status`, one sentence, and headers that belong to it. `unread`: what
    is left of the body is not wanted, so the connection ends."""

    def __init__(self, status: int, sentence: str, *, unread: bool = False, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.unread, self.retry_after = status, sentence, unread, retry_after

    def answer(self) -> Response:
        """The answer that says so."""
        response = refuse(self.status, self.sentence, unread=self.unread)
        if self.retry_after is not None:
            response.headers["Retry-After"] = str(self.retry_after)
        if self.status == 401:
            response.headers["WWW-Authenticate"] = 'Bearer realm="estafette"'
        return response


def refuse(status: int, sentence: str, *, unread: bool = False) -> Response:
    """An error of any door: JSON with one sentence. `unread`: ends the connection, so that the rest of a body stays out
    (uvicorn would read on to the end)."""
    return JSONResponse({"error": sentence}, status, {"Connection": "close"} if unread else None)


class Bodies:
    """How much memory the bodies hold of requests that are not answered yet. Anyone may begin a delivery of 3 MB, on as
    many connections as they like: what comes when there is no room had better come again."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self.most, self.held = most, 0


class HoldBodies:
    """Gives back, at the end of a request, what its body held."""

    def __init__(self, app: ASGIApp, bodies: Bodies) -> None:
        self._app, self._bodies = app, bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held = scope[_HELD] = [0]
        try:
            await self._app(scope, receive, send)
        finally:
            self._bodies.held -= held[0]


async def read_body(request: Request, most: int, seconds: float = BODY_TIMEOUT) -> bytes:
    """The raw body. Refused: it has more than `most` bytes (whatever its headers say), is compressed, or does not come
    in time; or too much is being read already."""
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        sentence = "A body with a Content-Encoding is not taken; send it as it is."
        raise Refused(415, sentence, unread=True)
    try:
        async with asyncio.timeout(seconds):
            body = await _body(request, most)
    except TimeoutError:
        raise Refused(408, "The body did not come in time.", unread=True) from None
    except ClientDisconnect:
        raise Refused(400, "The connection ended before the body.") from None
    if body is None:
        raise Refused(413, f"The body is too long: at most {most // 1_000_000} MB are taken.", unread=True)
    return body


async def _body(request: Request, most: int) -> bytes | None:
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length[:12]) > most:
        return None
    bodies: Bodies = request.app.state.bodies
    held: list[int] = request.scope[_HELD]
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            return None
        held[0] += len(chunk)
        bodies.held += len(chunk)
        if bodies.held > bodies.most:
            raise Refused(503, "Too much is coming in at this moment.", unread=True, retry_after=5)
        chunks.append(chunk)
    return b"".join(chunks)
