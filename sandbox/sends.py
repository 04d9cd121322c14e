"""The door that matters: `POST /{version}/{phone_number_id}/messages`, a bare ASGI app, for it is the hot path."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import time
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from sandbox import people, rules
from sandbox.errors import Refusal, answer_body, graph_body, refusal
from sandbox.faults import AFTER_ACCEPT, Fault
from sandbox.state import Sent
from sandbox.world import World

VERSION = re.compile(r"v(\d+)\.\d+")
TRANSPORT = "sandbox.transport"  # the key under which the server puts the connection into the scope
HTML = b"<!DOCTYPE html>\n<html><head><title>Error</title></head><body><h1>Something went wrong.</h1></body></html>\n"
NONSENSE = b'{"messages":"ok","contacts":{},"error":[]}'
Answer = tuple[int, bytes]


def token_error(world: World, header: str) -> Answer | None:
    """The 401 for a missing or wrong token, None for a good one."""
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        message = "Invalid OAuth access token - Cannot parse access token"
    elif world.config.token is not None and token.strip() != world.config.token:
        message = "Error validating access token: the session is invalid."
    else:
        return None
    return 401, msgspec.json.encode(graph_body(message, 190))


def path_error(world: World, version: str, identifier: str | None = None, *, account: bool = False) -> Answer | None:
    """The answer to an address with a bad version or an unknown id, None for a good one."""
    if not VERSION.fullmatch(version):
        return 400, msgspec.json.encode(graph_body(f"Unknown path components: /{version}", 2500))
    known = set(world.config.senders.values()) if account else set(world.config.senders)
    if identifier is not None and known and identifier not in known:
        message = (
            f"Unsupported request. Object with ID '{identifier}' does not exist, cannot be loaded due to missing "
            "permissions, or does not support this operation."
        )
        return 400, msgspec.json.encode(graph_body(message, 100, "GraphMethodException", 33))
    return None


class SendDoor:
    """Takes a send through token, faults, rules and limits to an answer."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        world = self._world
        raw = await _body(receive)
        version, number = scope["path_params"]["version"], scope["path_params"]["phone_number_id"]
        header = next((value for name, value in scope["headers"] if name == b"authorization"), b"").decode("latin-1")
        early = path_error(world, version, number) or token_error(world, header)
        if early:
            await _answer(send, *early)
            return
        try:
            body: Any = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            body = None
        if not isinstance(body, dict):
            await self._refuse(send, self._record(number, {}, raw), Refusal(100, "The body is not a JSON object."))
            return
        fault = world.faults.pick(str(body.get("to", ""))) if world.faults else None
        if fault and fault.kind == "delay":
            await asyncio.sleep(fault.ms / 1000)
        elif fault and fault.kind not in AFTER_ACCEPT:
            await self._before(scope, receive, send, self._record(number, body, raw, fault), fault)
            return
        sent = self._record(number, body, raw, fault)
        major = int(version[1:].split(".")[0])
        if rules.is_read_mark(body):
            await self._mark_read(send, sent, body)
            return
        refused = world.check(body, number, major, sent.mono_ns)
        if refused:
            await self._refuse(send, sent, refused)
            return
        sent.to = world.recipient(body) or sent.to
        template = world.book.find(sent.template, sent.language) if sent.template else None
        sent.category = template.category if template else ""
        world.accept(sent)
        world.journal.add(sent)
        if not world.config.keep_bodies and not template_has_buttons(template):
            sent.raw = b""
        if world.outbox.faults.early:
            await world.early(sent)
        if world.latency_ms:
            await asyncio.sleep(world.latency_ms / 1000)
        if fault and fault.kind in AFTER_ACCEPT:
            await self._after(scope, receive, send, fault, self._accepted(sent, body))
            return
        await _answer(send, 200, self._accepted(sent, body))

    def _record(self, number: str, body: dict[str, Any], raw: bytes, fault: Fault | None = None) -> Sent:
        journal, template = self._world.journal, body.get("template")
        named = template if isinstance(template, dict) else {}
        language = named.get("language")
        return Sent(
            n=len(journal.records) + 1,
            phone_number_id=number,
            to=str(body.get("to", body.get("recipient", ""))),
            kind=str(body.get("type", "read" if rules.is_read_mark(body) else "")),
            template=str(named.get("name", "")),
            language=str(language.get("code", "")) if isinstance(language, dict) else "",
            callback=str(body.get("biz_opaque_callback_data", "")),
            fault=fault.kind if fault else "",
            raw=raw,
            received_at=self._world.clock.now(),
            epoch=time.time(),
            mono_ns=time.monotonic_ns(),
        )

    def _accepted(self, sent: Sent, body: dict[str, Any]) -> bytes:
        contact = {"input": sent.to, "wa_id": people.wa_id(sent.to)} if "to" in body else {"input": body["recipient"]}
        if self._world.config.user_ids:
            contact["user_id"] = people.user_id(sent.to)
        message = {"id": sent.wamid, **({"message_status": "accepted"} if sent.kind == "template" else {})}
        return msgspec.json.encode({"messaging_product": "whatsapp", "contacts": [contact], "messages": [message]})

    async def _refuse(self, send: Send, sent: Sent, refused: Refusal) -> None:
        sent.code = refused.code
        self._world.journal.add(sent)
        if self._world.latency_ms:
            await asyncio.sleep(self._world.latency_ms / 1000)
        await _answer(send, refused.http, msgspec.json.encode(answer_body(refused)))

    async def _mark_read(self, send: Send, sent: Sent, body: dict[str, Any]) -> None:
        refused = rules.check_read_mark(body)
        if not refused and not self._world.stage.has_received(body["message_id"]):
            refused = Refusal(131009, "The parameter message_id names no message that was received.")
        if refused:
            await self._refuse(send, sent, refused)
            return
        self._world.journal.marked_read += 1
        self._world.journal.add(sent)
        await _answer(send, 200, b'{"success":true}')

    async def _before(self, scope: Scope, receive: Receive, send: Send, sent: Sent, fault: Fault) -> None:
        """A fault that keeps the message out."""
        if fault.kind in ("error", "storm_130429"):
            await self._refuse(send, sent, refusal(fault.code if fault.kind == "error" else 130429))
            return
        self._world.journal.add(sent)
        if fault.kind == "reset_before":
            await _reset(scope, receive)
        else:
            await _broken(send, fault)

    async def _after(self, scope: Scope, receive: Receive, send: Send, fault: Fault, answer: bytes) -> None:
        """A fault that loses the answer to a message that was accepted, or hands it out drop by drop."""
        if fault.kind == "drip_after_accept":
            await _drip(send, answer, fault.ms / 1000)
            return
        if fault.kind == "cut_after_accept":
            await _answer(send, 200, answer[: len(answer) // 2])
            return
        if fault.kind == "timeout_after_accept":
            await self._hang(receive, (fault.ms or 60_000) / 1000)
        if fault.kind in ("timeout_after_accept", "reset_after"):
            await _reset(scope, receive)
        else:
            await _broken(send, fault)

    async def _hang(self, receive: Receive, seconds: float) -> None:
        """Until the client gives up, the time is over, or the sandbox closes."""
        waits = {asyncio.ensure_future(receive()), asyncio.ensure_future(self._world.closing.wait())}
        _, rest = await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()


def template_has_buttons(template: Any) -> bool:
    """Whether a tap may need the body again, for its payload."""
    return bool(template and template.buttons)


async def _body(receive: Receive) -> bytes:
    message = await receive()
    raw: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        raw += message.get("body", b"")
    return raw


async def _answer(send: Send, status: int, body: bytes, kind: bytes = b"application/json; charset=UTF-8") -> None:
    headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _drip(send: Send, body: bytes, seconds: float) -> None:
    """An answer byte by byte; whoever has waited long enough hangs up meanwhile."""
    headers = [(b"content-type", b"application/json; charset=UTF-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for place in range(len(body)):
        await asyncio.sleep(seconds / len(body))
        last = place + 1 == len(body)
        await send({"type": "http.response.body", "body": body[place : place + 1], "more_body": not last})


async def _broken(send: Send, fault: Fault) -> None:
    """A 5xx without a body, a proxy's page, or 200 with what is no answer."""
    if fault.kind.startswith("nonsense"):
        await _answer(send, 200, NONSENSE)
    elif fault.kind.startswith("html"):
        await _answer(send, fault.status, HTML, b"text/html; charset=utf-8")
    else:
        await _answer(send, fault.status, b"", b"text/plain")


async def _reset(scope: Scope, receive: Receive) -> None:
    """Closes the TCP connection with a reset and without an answer."""
    transport = scope.get(TRANSPORT)
    if transport is None:
        raise RuntimeError("this server does not hand over its connections: start it with sandbox.app")
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass
