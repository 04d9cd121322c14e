"""The application and the server that runs it.

`create_app(config)` is plain ASGI. `serve(config)` blocks until Ctrl-C; `server(config)` gives the uvicorn server for
those who run it themselves (`sandbox.testing`).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox import media
from sandbox.config import Config
from sandbox.control import Control
from sandbox.errors import graph_body
from sandbox.graph import Graph
from sandbox.sends import TRANSPORT, SendDoor
from sandbox.world import World


class Protocol(HttpToolsProtocol):
    """Uvicorn's, which also hands the connection to the app: a reset fault needs it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast(dict[str, Any], self.scope)[TRANSPORT] = self.transport


def create_app(config: Config) -> Starlette:
    """An ASGI app with a world of its own, at `app.state.world`."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await world.start()
        try:
            yield
        finally:
            await world.stop()

    world = World(config)
    sends = Route("/{version}/{phone_number_id}/messages", SendDoor(world), methods=["POST"])
    app = Starlette(
        routes=[sends, *media.routes(), *Control(world).routes(), *Graph(world).routes()], lifespan=lifespan
    )
    for status in (404, 405):
        app.add_exception_handler(status, _unknown)
    app.state.world = world
    return app


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    message = f"Unknown path components: {request.url.path} ({request.method})"
    return JSONResponse(graph_body(message, 2500), 400)


class Server(uvicorn.Server):
    """Shuts down at once: hanging answers and idle connections are let go."""

    def __init__(self, config: uvicorn.Config, world: World, ready: Callable[[], None] | None = None) -> None:
        super().__init__(config)
        self._world = world
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._ready and self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._world.closing.set()
        await super().shutdown(sockets)


def listen(config: Config) -> socket.socket:
    """The bound socket; with port 0 the kernel chooses."""
    bound = socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((config.host, config.port))
    except OSError:
        bound.close()
        raise
    return bound


def address(config: Config, bound: socket.socket) -> str:
    host = f"[{config.host}]" if ":" in config.host else config.host
    return f"{'https' if config.certfile else 'http'}://{host}:{bound.getsockname()[1]}"


def server(config: Config, ready: Callable[[], None] | None = None) -> Server:
    app = create_app(config)
    settings = uvicorn.Config(
        app, http=Protocol, ws="none", lifespan="on", log_level="error", access_log=False, timeout_keep_alive=75,
        timeout_graceful_shutdown=1, backlog=4096, ssl_certfile=config.certfile, ssl_keyfile=config.keyfile,
    )  # fmt: skip
    return Server(settings, app.state.world, ready)


def serve(config: Config, ready: Callable[[str], None] | None = None) -> None:
    """Runs until SIGINT or SIGTERM. `ready` is called with the address, once open. OSError: port in use."""
    bound = listen(config)
    url = address(config, bound)
    server(config, lambda: ready(url) if ready else None).run(sockets=[bound])
