"""Meta's reading doors: the template listing with its pages, a phone number, an account, an account's numbers."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.errors import graph_body
from sandbox.sends import path_error, token_error
from sandbox.templates import FIELDS, cursor, position, project
from sandbox.webhooks import tier_name
from sandbox.world import World

PAGE, LONGEST_PAGE = 25, 1000
MOST_TEMPLATES = 6_000  # of an account whose business is verified
PHONE_DEFAULTS = ("verified_name", "display_phone_number", "quality_rating", "id")
ACCOUNT_DEFAULTS = ("id", "name", "timezone_id", "message_template_namespace")


class Graph:
    """The GET endpoints. Every one checks version, token and id first."""

    def __init__(self, world: World) -> None:
        self._world = world

    def routes(self) -> list[Route]:
        return [
            Route("/{version}/{id}/message_templates", self.templates, methods=["GET"]),
            Route("/{version}/{id}/phone_numbers", self.numbers, methods=["GET"]),
            Route("/{version}/{id}", self.node, methods=["GET"]),
        ]

    async def templates(self, request: Request) -> Response:
        """Pages by `limit` and `after`; filters `name`, `language`, `status`, `category`; `fields` cuts each row,
        `summary` counts all."""
        if refused := self._refused(request, account=True):
            return refused
        query = dict(request.query_params)
        fields, wrong = _fields(query.get("fields"), FIELDS, "WhatsAppMessageTemplate")
        if wrong:
            return wrong
        limit = query.get("limit", str(PAGE))
        if not limit.isdigit() or not 1 <= int(limit) <= LONGEST_PAGE:
            return _error(400, f"Param limit must be a number between 1 and {LONGEST_PAGE}", 100)
        start = position(query["after"]) if "after" in query else 0
        if start is None:
            return _error(400, "Invalid cursors values. Using an invalid or expired cursor.", 100)
        wanted = {key: query[key] for key in ("name", "language", "status", "category") if key in query}
        rows = self._world.book.rows(**wanted)
        end = start + int(limit)
        page: dict[str, Any] = {"data": [project(row, fields) for row in rows[start:end]]}
        if query.get("summary"):
            counts = {
                "total_count": len(rows),
                "message_template_count": len(self._world.book.rows()),
                "message_template_limit": MOST_TEMPLATES,
                "are_translations_complete": True,
            }
            page["summary"] = {key: counts[key] for key in query["summary"].split(",") if key in counts}
        if page["data"]:
            # On the last page `after` is there all the same: what is missing is `next`.
            page["paging"] = {"cursors": {"before": cursor(start), "after": cursor(min(end, len(rows)))}}
            if end < len(rows):
                here = f"{request.url.scheme}://{request.url.netloc}{request.url.path}"
                page["paging"]["next"] = f"{here}?{urlencode({**query, 'limit': limit, 'after': cursor(end)})}"
        return _json(page)

    async def numbers(self, request: Request) -> Response:
        if refused := self._refused(request, account=True):
            return refused
        config, account = self._world.config, request.path_params["id"]
        named = [number for number, owner in config.senders.items() if owner == account]
        fields, wrong = _fields(request.query_params.get("fields"), frozenset(self._phone("")), "WhatsAppPhoneNumber")
        if wrong:
            return wrong
        rows = [self._phone(one) for one in named or [config.phone_number_id]]
        return _json({"data": [_pick(row, fields, PHONE_DEFAULTS) for row in rows]})

    async def node(self, request: Request) -> Response:
        """A template, an account or a phone number by its id; without `senders`, any other id is a phone number."""
        if refused := self._refused(request, any_id=True):
            return refused
        config, identifier = self._world.config, request.path_params["id"]
        asked = request.query_params.get("fields")
        template = self._world.book.by_id(identifier)
        if template is not None:
            fields, wrong = _fields(asked, FIELDS, "WhatsAppMessageTemplate")
            return wrong or _json(project(template, fields))
        if identifier == config.waba_id or identifier in config.senders.values():
            row, kind, defaults = self._account(identifier), "WhatsAppBusinessAccount", ACCOUNT_DEFAULTS
        else:
            if refused := self._refused(request):
                return refused
            row, kind, defaults = self._phone(identifier), "WhatsAppPhoneNumber", PHONE_DEFAULTS
        fields, wrong = _fields(asked, frozenset(row), kind)
        return wrong or _json(_pick(row, fields, defaults))

    def _phone(self, identifier: str) -> dict[str, Any]:
        world = self._world
        return {
            "verified_name": world.config.verified_name,
            "display_phone_number": "+" + world.config.display_phone_number,
            "quality_rating": world.quality,
            "code_verification_status": "VERIFIED",
            "name_status": "APPROVED",
            "status": "CONNECTED",
            "platform_type": "CLOUD_API",
            "account_mode": "LIVE",
            "throughput": {"level": "HIGH" if world.rate <= 0 or world.rate > 80 else "STANDARD"},
            "whatsapp_business_manager_messaging_limit": tier_name(world.tier),
            "messaging_limit_tier": tier_name(world.tier),
            "is_official_business_account": False,
            "webhook_configuration": {"application": world.outbox.callback or ""},
            "id": identifier,
        }

    def _account(self, identifier: str) -> dict[str, Any]:
        return {
            "id": identifier,
            "name": self._world.config.verified_name,
            "timezone_id": "44",
            "message_template_namespace": "58e6d318_b627_4112_b9c7_2961197553ea",
            "currency": "EUR",
            "country": "FR",
            "account_review_status": "APPROVED",
            "business_verification_status": "verified",
            "whatsapp_business_manager_messaging_limit": tier_name(self._world.tier),
        }

    def _refused(self, request: Request, *, account: bool = False, any_id: bool = False) -> Response | None:
        version, identifier = request.path_params["version"], request.path_params["id"]
        bad = path_error(self._world, version, None if any_id else identifier, account=account) or token_error(
            self._world, request.headers.get("authorization", "")
        )
        return Response(bad[1], bad[0], media_type="application/json") if bad else None


def _fields(asked: str | None, known: frozenset[str], kind: str) -> tuple[list[str] | None, Response | None]:
    """The names in `fields`, or the error for the first one that this kind of node doesn't have."""
    if not asked:
        return None, None
    names = [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in known:
            return None, _error(400, f"(#100) Tried accessing nonexisting field ({name}) on node type ({kind})", 100)
    return names, None


def _pick(row: dict[str, Any], fields: list[str] | None, defaults: tuple[str, ...]) -> dict[str, Any]:
    return {key: row[key] for key in dict.fromkeys((*(defaults if fields is None else fields), "id"))}


def _error(status: int, message: str, code: int) -> Response:
    return _json(graph_body(message, code), status)


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")
