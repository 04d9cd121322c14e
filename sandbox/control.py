"""The doors that Meta does not have: `/_sandbox/…`, for tests, the demo and whoever looks on. No token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from sandbox.acts import Act, ActError
from sandbox.clock import TimeError, parse_duration, parse_time
from sandbox.config import Mode
from sandbox.faults import Fault, WebhookFaults
from sandbox.population import mix_from
from sandbox.state import Sent
from sandbox.templates import TemplateError
from sandbox.world import World

T = TypeVar("T")
Door = Callable[[Request], Awaitable[Response]]
PAGE = 1000


class Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A body whose unknown keys are errors."""


class ClockBody(Strict):
    now: str | float | None = None
    advance: str | float | None = None
    ticking: bool = False


class DrainBody(Strict):
    timeout: float = 10.0


class PopulationBody(Strict):
    mode: Mode | None = None
    mix: dict[str, Any] | str | None = None  # the shares that change, or the name of a mix


class LimitsBody(Strict):
    rate: int | None = None
    pair_rate: bool | None = None
    tier: int | msgspec.UnsetType | None = msgspec.UNSET
    latency_ms: float | None = None
    quality: str | None = None


class WebhooksBody(Strict):
    callback: str | msgspec.UnsetType | None = msgspec.UNSET
    duplicates: float | None = None
    shuffle: bool | None = None
    delay_ms: float | None = None
    drop: float | None = None
    early: float | None = None
    hold: bool | None = None


class StatusBody(Strict):
    status: str


class HandshakeBody(Strict):
    verify_token: str


class ResetBody(Strict):
    what: str = "everything"


class Control:
    """Every control door. A mistake in a body is a 400 with a sentence."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        doors: list[tuple[str, str, Door]] = [
            ("GET", "/messages", self.messages),
            ("GET", "/summary", self.summary),
            ("GET", "/statuses", self.statuses),
            ("GET", "/webhooks", self.webhooks),
            ("POST", "/webhooks", self.set_webhooks),
            ("POST", "/handshake", self.handshake),
            ("GET", "/clock", self.clock),
            ("POST", "/clock", self.turn),
            ("POST", "/drain", self.drain),
            ("GET", "/population", self.population),
            ("POST", "/population", self.set_population),
            ("POST", "/act", self.act),
            ("GET", "/faults", self.faults),
            ("POST", "/faults", self.add_faults),
            ("DELETE", "/faults", self.clear_faults),
            ("GET", "/limits", self.limits),
            ("POST", "/limits", self.set_limits),
            ("GET", "/templates", self.templates),
            ("POST", "/templates", self.put_templates),
            ("POST", "/templates/{name}/{language}/status", self.template_status),
            ("POST", "/reset", self.reset),
        ]
        return [Route("/_sandbox" + path, _sentences(door), methods=[method]) for method, path, door in doors]

    async def messages(self, request: Request) -> Response:
        """Everything received, by `to`, `accepted`, `template`, `callback`, `wamid`; in pages, or `all=true`."""
        query = request.query_params
        bodies = query.get("bodies", "true") != "false"
        rows = self._world.journal.select(
            after=int(query.get("after", "0")),
            to=_phone(query.get("to")),
            accepted={"true": True, "false": False}.get(query.get("accepted", "")),
            template=query.get("template"),
            callback=query.get("callback"),
            wamid=query.get("wamid"),
        )
        if query.get("all") == "true":
            return StreamingResponse(_stream(list(rows), bodies), media_type="application/json")
        limit = int(query.get("limit", PAGE))
        page: list[dict[str, Any]] = []
        for sent in rows:
            if len(page) == limit:
                return _json({"data": page, "next_after": page[-1]["n"]})
            page.append(sent.row(bodies))
        return _json({"data": page, "next_after": None})

    async def summary(self, request: Request) -> Response:
        world = self._world
        counts = {**world.journal.summary(), "fault_hits": dict(world.faults.hits)}
        return _json({**counts, "webhooks": world.webhook_counts(), "clock": world.times()})

    async def statuses(self, request: Request) -> Response:
        """Every status emitted, in order of the messages."""
        rows = [
            {"wamid": sent.wamid, "to": sent.to, **status, "callback_data": sent.callback or None}
            for sent in self._world.journal.select(to=_phone(request.query_params.get("to")), accepted=True)
            for status in sent.row(bodies=False)["statuses"]
        ]
        return _json({"data": rows})

    async def webhooks(self, request: Request) -> Response:
        """Webhook bodies after number `after`, with `undelivered=true` only those given up."""
        query, outbox = request.query_params, self._world.outbox
        after, limit = int(query.get("after", "0")), int(query.get("limit", PAGE))
        source = outbox.undelivered if query.get("undelivered") == "true" else outbox.kept
        rows = [one for one in list(source) if one.n > after][:limit]
        data = [one.row(self._world.config.app_secret) for one in rows]
        counts = self._world.webhook_counts()
        return _json({"data": data, "next_after": rows[-1].n if rows else after, "counts": counts})

    async def set_webhooks(self, request: Request) -> Response:
        """Changes the callback, or what goes wrong on the way to it."""
        asked, outbox = await _read(request, WebhooksBody), self._world.outbox
        if asked.callback is not msgspec.UNSET:
            outbox.callback = asked.callback or None
        changes = {
            name: getattr(asked, name) for name in WebhookFaults.__struct_fields__ if getattr(asked, name) is not None
        }
        outbox.set_faults(msgspec.structs.replace(outbox.faults, **changes))
        return _json({"callback": outbox.callback, **msgspec.to_builtins(outbox.faults)})

    async def handshake(self, request: Request) -> Response:
        """Has Meta's GET made on the callback."""
        return _json(await self._world.outbox.handshake((await _read(request, HandshakeBody)).verify_token))

    async def clock(self, request: Request) -> Response:
        return _json(self._world.times())

    async def turn(self, request: Request) -> Response:
        asked, world = await _read(request, ClockBody), self._world
        if asked.now is not None and asked.advance is not None:
            raise ValueError("give one of now and advance")
        to = None if asked.now is None else parse_time(asked.now)
        fired = await world.turn(to, by=parse_duration(asked.advance or 0), ticking=asked.ticking)
        return _json({**world.times(), "fired": fired})

    async def drain(self, request: Request) -> Response:
        return _json(await self._world.drain((await _read(request, DrainBody)).timeout))

    async def population(self, request: Request) -> Response:
        return _json({"mode": self._world.mode, "mix": msgspec.to_builtins(self._world.mix, str_keys=True)})

    async def set_population(self, request: Request) -> Response:
        asked, world = await _read(request, PopulationBody), self._world
        world.mix = mix_from(asked.mix, world.mix)
        world.mode = asked.mode or world.mode
        return await self.population(request)

    async def act(self, request: Request) -> Response:
        """One act, or a list of them in order."""
        acts = await _read_list(request, Act)
        done = [self._world.act(act) for act in acts]
        return _json({"data": done})

    async def faults(self, request: Request) -> Response:
        world = self._world
        return _json({"data": msgspec.to_builtins(world.faults.rules()), "hits": dict(world.faults.hits)})

    async def add_faults(self, request: Request) -> Response:
        self._world.faults.add(await _read_list(request, Fault))
        return await self.faults(request)

    async def clear_faults(self, request: Request) -> Response:
        self._world.faults.clear()
        return await self.faults(request)

    async def limits(self, request: Request) -> Response:
        world = self._world
        shown = {"rate": world.rate, "pair_rate": world.pair_rate, "tier": world.tier, "latency_ms": world.latency_ms}
        return _json({**shown, "quality": world.quality})

    async def set_limits(self, request: Request) -> Response:
        asked, world = await _read(request, LimitsBody), self._world
        world.rate = world.rate if asked.rate is None else asked.rate
        world.pair_rate = world.pair_rate if asked.pair_rate is None else asked.pair_rate
        world.latency_ms = world.latency_ms if asked.latency_ms is None else asked.latency_ms
        was = (world.tier, world.quality)
        if not isinstance(asked.tier, msgspec.UnsetType):
            world.tier = asked.tier
        world.quality = asked.quality or world.quality
        world.set_number(world.tier, world.quality, was)
        return await self.limits(request)

    async def templates(self, request: Request) -> Response:
        return _json({"data": [template.definition for template in self._world.book.rows()]})

    async def put_templates(self, request: Request) -> Response:
        """Adds or replaces templates: a list of objects as Meta's listing returns them, or one."""
        put = [self._world.book.put(row) for row in await _read_list(request, dict[str, Any])]
        return _json({"data": [template.definition for template in put]})

    async def template_status(self, request: Request) -> Response:
        name, language = request.path_params["name"], request.path_params["language"]
        status = (await _read(request, StatusBody)).status
        try:
            template = self._world.set_template_status(name, language, status)
        except KeyError:
            return _json({"error": {"message": f"there is no template {name} in {language}"}}, 404)
        return _json(template.definition)

    async def reset(self, request: Request) -> Response:
        """Forgets what was sent and scheduled (`everything`), or only what is scheduled (`schedule`)."""
        what = (await _read(request, ResetBody)).what
        if what not in ("everything", "schedule"):
            raise ValueError("what is one of everything, schedule")
        self._world.forget("everything" if what == "everything" else "schedule")
        return _json(self._world.times())


def _sentences(door: Door) -> Door:
    async def open_door(request: Request) -> Response:
        try:
            return await door(request)
        except (ActError, TimeError, TemplateError, ValueError, msgspec.ValidationError) as error:
            return _json({"error": {"message": str(error)}}, 400)

    return open_door


async def _read(request: Request, kind: type[T]) -> T:
    return msgspec.json.decode(await request.body() or b"{}", type=kind)


async def _read_list(request: Request, kind: type[T]) -> list[T]:
    """A list, or one alone."""
    raw = (await request.body()).strip()
    return msgspec.json.decode(raw if raw.startswith(b"[") else b"[" + raw + b"]", type=list[kind])  # type: ignore[valid-type]


def _phone(to: str | None) -> str | None:
    """`?to=+33…` without escaping arrives with a space."""
    return "+" + to[1:] if to and to.startswith(" ") else to


async def _stream(rows: list[Sent], bodies: bool) -> AsyncIterator[bytes]:
    yield b'{"data":['
    for start in range(0, len(rows), 500):
        chunk = b",".join(msgspec.json.encode(sent.row(bodies)) for sent in rows[start : start + 500])
        yield (b"," if start else b"") + chunk
    yield b'],"next_after":null}'


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
