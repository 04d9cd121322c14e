"""For operators: `GET /healthz` and `GET /metrics`.

What belongs here: whether the gateway can do its work, and when numbers are counted: they are kept for some seconds,
longer where they are dear, so that whoever scrapes costs nothing. What the numbers are called is `metrics`.

A load balancer hears whether all is well and nothing else. Details are for whoever asks on this machine itself, or with
a token of the API: sizes and failures of campaigns are nobody else's business.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from gateway.access import is_near, offers_token
from gateway.answers import Refused
from gateway.log import Clock
from gateway.metrics import UP, Family, exposition, families, free_disk, refused, wrong
from gateway.refusals import Refusals
from gateway.store import Store
from journey.failures import Found
from journey.problems import EstafetteError

if TYPE_CHECKING:
    from resources.home import Home
    from resources.vitals import Vitals

KEPT = 5.0  # seconds that numbers are kept
SHARE = 20.0  # or so many times what it took to count them
TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Health:
    """What the two doors say. `directories` are where deliveries, requests and events are kept."""

    def __init__(self, store: Store, directories: Sequence[Path], clock: Clock, refusals: Refusals) -> None:
        self._store, self._directories, self._clock, self._refusals = store, directories, clock, refusals
        self._looking = asyncio.Lock()
        self._ledger: tuple[str | None, float | None] = (None, None)
        self._ledger_at = self._text_at = float("-inf")
        self._text, self._text_for = "", KEPT

    async def healthz(self, request: Request) -> Response:
        """Whether deliveries can be kept, the ledger can be read, and how long ago a pass worked. Strangers hear one
        word."""
        told = is_near(request)
        if not told and offers_token(request):
            await request.app.state.access.token(request)
            told = True
        try:
            for directory in self._directories:
                await asyncio.to_thread(_try_disk, directory)
            disk = None
        except OSError as error:
            disk = error.strerror or str(error)
        ledger, age = await self._ask_ledger()
        document: dict[str, Any] = {"status": "unwell" if disk or ledger else "ok"}
        if told:
            document |= {
                "disk": disk or "writable",
                "ledger": ledger or ("reachable" if self._there() else "not there yet"),
                "last_pass_seconds": None if age is None else round(age, 1),
            }
        return JSONResponse(document, 503 if disk or ledger else 200)

    async def metrics(self, request: Request) -> Response:
        """The numbers, as Prometheus reads them. Refused (401, 429): a stranger asks without a token."""
        if not is_near(request):
            await request.app.state.access.token(request)
        async with self._looking:
            if time.monotonic() - self._text_at > self._text_for:
                began = time.monotonic()
                try:
                    self._text = await self._count()
                except Refused as error:
                    self._text = exposition([("estafette_up", UP, [({}, 0)]), *await self._without_ledger()])
                    self._text += f"# {' '.join(error.sentence.split())}\n"
                self._text_at = time.monotonic()
                self._text_for = max(KEPT, SHARE * (self._text_at - began))
            return PlainTextResponse(self._text, media_type=TEXT)

    def _there(self) -> bool:
        return (self._store.path / "estafette.yaml").is_file()

    async def _count(self) -> str:
        if not self._there():
            raise Refused(503, "There is no project home.")

        def look(home: "Home") -> "tuple[Vitals, int, list[Found]]":
            from resources.disks import disk_free
            from resources.failures import failures
            from resources.vitals import vitals

            try:
                project = self._store.project(home)
            except Refused:  # that it can't be read is one of the failures
                project = None
            return vitals(home, self._clock()), disk_free(home), failures(home, project, self._clock())

        found = await self._store.read(look, 60.0)
        return exposition(families(*found, self._refusals.webhooks, self._refusals.answers))

    async def _without_ledger(self) -> list[Family]:
        """What can be said where the ledger can't be read: how the disks are, and what was refused."""
        told = refused(self._refusals.webhooks, self._refusals.answers)
        if not self._there():
            return told

        def look() -> list[Family]:
            from resources.disks import KINDS_OF_DISKS, disk_failures, disk_free
            from resources.home import Home

            home = Home(self._store.path)
            return [wrong([*disk_failures(home)], KINDS_OF_DISKS), free_disk(disk_free(home))]

        try:
            return [*await asyncio.to_thread(look), *told]
        except (EstafetteError, OSError):  # .env can't be read
            return told

    async def _ask_ledger(self) -> tuple[str | None, float | None]:
        """(what is wrong with the ledger, seconds since a pass worked)."""
        if not self._there():
            return None, None
        if time.monotonic() - self._ledger_at > 1.0:

            def look(home: "Home") -> float | None:
                from resources.vitals import pass_age

                return pass_age(home)

            try:
                self._ledger = (None, await self._store.glance(look, 5.0))
            except Refused as error:
                self._ledger = (error.sentence, None)
            self._ledger_at = time.monotonic()
        return self._ledger


def health_routes(health: Health) -> APIRouter:
    """The two doors for operators."""
    routes = APIRouter()
    methods = ["GET", "HEAD"]  # load balancers ask either way
    routes.add_api_route("/healthz", health.healthz, methods=methods, response_model=None, include_in_schema=False)
    routes.add_api_route("/metrics", health.metrics, response_model=None, include_in_schema=False)
    return routes


def _try_disk(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    # A leading dot: whoever reads the landing zone passes it over.
    with tempfile.NamedTemporaryFile(dir=directory, prefix=".healthz-") as file:
        file.write(b"ok\n")
        file.flush()
