"""The gateway's application: its doors put together, its errors as sentences, and the server around it.

What belongs here: assembly. Each group of doors is a module with a function that makes its routes; a new one is one
more `include_router`.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import SecretStr
from starlette.exceptions import HTTPException

from gateway.access import Access
from gateway.answers import Bodies, HoldBodies, Refused, refuse
from gateway.api import api_routes
from gateway.api_page import api_page_routes
from gateway.campaigns import campaign_routes
from gateway.connections import Connection, most_connections, take_files
from gateway.headers import SecurityHeaders, secure
from gateway.health import Health, health_routes
from gateway.inbox import inbox_routes
from gateway.inbox_events import Watch
from gateway.links import link_routes
from gateway.log import Clock, LandingLog
from gateway.look import error_page, look_routes, words_of
from gateway.refusals import CountRefusals, Refusals
from gateway.runbook import runbook_routes
from gateway.signing_in import signing_in_routes, visitor
from gateway.store import Store
from gateway.webhooks import Deliveries, handshake_routes
from journey.problems import EstafetteError
from resources.present import at_work
from resources.unswept import unswept

GRACE = 10  # seconds that requests under way have at the end
KEEP_ALIVE = 75
LONGEST_PATH = 200  # characters of a path that an error repeats


def create_app(
    home: Path, *, app_secret: SecretStr | None, verify_token: SecretStr | None, clock: Clock | None = None
) -> FastAPI:
    """The application of a project home. `clock` gives the present in UTC (it can be turned)."""
    clock = clock or ticking(None)
    webhooks, requests, events = (
        LandingLog(home / "landing" / name, clock) for name in ("webhooks", "requests", "events")
    )
    store = Store(home, clock)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.get_running_loop().run_in_executor(None, store.warm)
        yield
        for log in (webhooks, requests, events):
            await log.close()
        await warming
        store.close()

    app = FastAPI(title="Estafette", lifespan=lifespan, openapi_url=None, redirect_slashes=False)
    app.state.store, app.state.access = store, Access(store, clock)
    app.state.refusals = Refusals(store)
    app.state.health = Health(store, [one.directory for one in (webhooks, requests, events)], clock, app.state.refusals)
    app.state.watch = Watch(store)
    app.state.bodies = Bodies()
    app.add_middleware(CountRefusals, refusals=app.state.refusals)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Deliveries, log=webhooks, clock=clock, app_secret=app_secret, refusals=app.state.refusals)
    app.add_middleware(HoldBodies, bodies=app.state.bodies)
    app.include_router(handshake_routes(verify_token))
    app.include_router(api_routes(store, requests, events))
    app.include_router(link_routes(store, events, clock))
    app.include_router(health_routes(app.state.health))
    app.include_router(api_page_routes(app))
    app.include_router(look_routes())
    app.include_router(runbook_routes())
    app.include_router(signing_in_routes(store))
    app.include_router(campaign_routes(store))
    app.include_router(inbox_routes(store, app.state.watch, requests))
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_fault)
    return app


def serve(
    home: Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    now: datetime | None = None,
    *,
    app_secret: SecretStr | None,
    verify_token: SecretStr | None,
    proxies: Sequence[str] = (),
    ready: Callable[[str], None] | None = None,
) -> None:
    """Runs the gateway until SIGINT or SIGTERM. `now`: the clock starts there and ticks. Port 0 takes a free one.

    `proxies`: addresses or networks whose `X-Forwarded-For` and `-Proto` are believed. `ready` gets the address once
    connections are accepted. Raises EstafetteError where the address can't be had.
    """
    app = create_app(home, app_secret=app_secret, verify_token=verify_token, clock=ticking(now))
    take_files()
    with listen(host, port) as listening, contextlib.ExitStack() as there:
        if ready is not None:
            ready(address(listening))
        there.enter_context(at_work(home / "data", address(listening)))
        server = Server(config(app, proxies), app.state.watch, there.close)
        try:
            with unswept():
                server.run(sockets=[listening])
        except KeyboardInterrupt:  # uvicorn has ended in good order, and passes the signal on
            return


class Server(uvicorn.Server):
    """uvicorn's server; at its end it waits for no stream, and calls `over`: after a SIGTERM nothing else is done,
    because uvicorn passes the signal on."""

    def __init__(self, config: uvicorn.Config, watch: Watch, over: Callable[[], None] | None = None) -> None:
        super().__init__(config)
        self._watch, self._over = watch, over

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._watch.end()
        await super().shutdown(sockets)
        if self._over is not None:
            self._over()


def config(app: FastAPI, proxies: Sequence[str] = ()) -> uvicorn.Config:
    """How the server runs; uvloop is taken where it is installed. Nobody but `proxies` may say by a header whence a
    request came."""
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        limit_concurrency=most_connections(),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises EstafetteError that says what is in the way."""
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(where[:2], family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        mend = "Choose another with --port, or end what listens there."
        raise EstafetteError(f"the gateway can't listen on {host}:{port} ({why})", mend=mend) from None


def address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def ticking(start: datetime | None) -> Clock:
    """The present in UTC; from `start` on at the same speed, where one is given."""
    if start is None:
        return lambda: datetime.now(UTC)
    began = time.monotonic()
    return lambda: start.astimezone(UTC) + timedelta(seconds=time.monotonic() - began)


async def _on_http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    path = _shown(request.scope["path"])
    sentences = {
        404: f"There is nothing at {path}.",
        405: f"{request.method} is not possible at {path}.",
    }
    if status == 404 and "text/html" in request.headers.get("accept", ""):
        with contextlib.suppress(Refused):  # who is logged in keeps the way to the other pages
            await visitor(request)
        return error_page(request, 404, words_of(request)("not_found"))
    response = refuse(status, sentences.get(status, str(getattr(error, "detail", error))))
    response.headers.update(getattr(error, "headers", None) or {})
    return response


def _shown(path: str) -> str:
    """A path for a sentence: not all of it where it is long, and nothing that a terminal would obey."""
    shown = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in path[:LONGEST_PATH])
    return shown + "…" * (len(path) > LONGEST_PATH)


async def _on_invalid(request: Request, error: Exception) -> Response:
    """FastAPI would answer 422 with a structure; people get 400 with a sentence."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    parts = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in found]
    return refuse(400, "The request is not as it should be: " + "; ".join(parts) + ".")


async def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error.answer()


async def _on_fault(request: Request, error: Exception) -> Response:
    """Made outside of all middleware, so it brings its headers itself."""
    sentence = "Something went wrong here. The gateway's log says what."
    is_page = "text/html" in request.headers.get("accept", "")
    response = error_page(request, 500, words_of(request)("fault")) if is_page else refuse(500, sentence)
    secure(response.headers)
    return response
