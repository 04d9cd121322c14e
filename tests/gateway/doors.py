"""The gateway of a stage, called without a network, with a token."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from gateway.app import create_app
from resources.access import add_token
from tests.stage import Stage

CAMPAIGN = """
name: survey
sender: main
entries:
  - api: {attributes: [offer, survey_id]}
steps:
  hello:
    message: {template: order, language: fr}
    on_read: {within: 2d, read: end, not_read: end}
"""
VALUES = {"offer": "x", "survey_id": 7}
PATH = "/api/journey/survey/start/external"


class Doors:
    """The gateway of a stage. `http` answers as the server would; requests bring `token` unless told otherwise."""

    def __init__(self, stage: Stage, app: FastAPI, runner: asyncio.Runner, token: str) -> None:
        self.stage, self.app, self.token, self._runner = stage, app, token, runner

    def ask(
        self, method: str, path: str, *, auth: str | None = "", address: str = "127.0.0.1", **more: Any
    ) -> httpx.Response:
        """One request. `auth`: the header Authorization; None: none. `address`: whence it comes."""
        headers = dict(more.pop("headers", {}))
        if auth is not None:
            headers["Authorization"] = auth or f"Api {self.token}"

        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False, client=(address, 40_000))
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
                return await http.request(method, path, headers=headers, **more)

        return self._runner.run(go())

    def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Something else on the gateway's loop."""

        async def go() -> Any:
            return await work()

        return self._runner.run(go())

    def get(self, path: str, **more: Any) -> httpx.Response:
        return self.ask("GET", path, **more)

    def post(self, path: str, json: Any = None, **more: Any) -> httpx.Response:
        return self.ask("POST", path, **({"json": json} if "content" not in more else {}), **more)

    def start(self, key: str | None = None, path: str = PATH, **payload: Any) -> httpx.Response:
        """POST a start; `attribute_values` are there unless told otherwise."""
        payload = {"attribute_values": VALUES, **payload}
        return self.post(path, {"payload": payload}, headers={"Idempotency-Key": key} if key else {})

    def lines(self, kind: str) -> list[dict[str, Any]]:
        """What lies in a folder of the landing zone."""
        files = sorted((self.stage.path / "landing" / kind).glob("[!.]*.ndjson"))
        return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


@contextmanager
def doors_of(stage: Stage) -> Iterator[Doors]:
    """The gateway of a stage, on the stage's clock."""
    with stage.home.ledger.write() as tx:
        token = add_token(tx, "shop", stage.us)
    app = create_app(Path(stage.path), app_secret=None, verify_token=None, clock=lambda: stage.now)
    with asyncio.Runner() as runner:
        life = app.router.lifespan_context(app)
        runner.run(life.__aenter__())
        try:
            yield Doors(stage, app, runner, token)
        finally:
            runner.run(life.__aexit__(None, None, None))
