"""Meta's webhooks: the handshake, and deliveries into the webhook log.

What belongs here: whether a delivery is Meta's, and that it is on disk before it is answered. It is not read here: an
answer of 200 says only that it is kept, and what the log holds is taken in by a pass.
"""

import hashlib
import hmac
import json
from datetime import datetime

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.answers import BODY_TIMEOUT, Refused, read_body, refuse
from gateway.headers import secure
from gateway.log import Clock, LandingLog, LogError
from gateway.refusals import Refusals

PATH = "/webhooks/whatsapp"
LARGEST_BODY = 3 * 1024 * 1024  # Meta's limit


def handshake_routes(verify_token: SecretStr | None) -> APIRouter:
    """`GET /webhooks/whatsapp`: Meta asks once, when the address is entered in its dashboard."""
    routes = APIRouter()
    token = verify_token.get_secret_value().strip().encode() if verify_token else b""

    @routes.get(PATH, response_model=None, include_in_schema=False)
    async def handshake(request: Request) -> Response:
        query = request.query_params
        offered = query.get("hub.verify_token", "").encode()
        if not token:
            return refuse(403, "WHATSAPP_VERIFY_TOKEN is not set, so no handshake can succeed.")
        if query.get("hub.mode") != "subscribe" or not hmac.compare_digest(offered, token):
            return refuse(403, "The verify token is not the one in WHATSAPP_VERIFY_TOKEN.")
        return PlainTextResponse(query.get("hub.challenge", ""), headers={"X-Content-Type-Options": "nosniff"})

    return routes


class Deliveries:
    """`POST /webhooks/whatsapp`. Without a secret it stays shut: nothing unverified comes in.

    A door before the application and not a route of it: thousands come in a second, and the way through the routes to a
    door that takes nothing but its request costs as much as all the rest of one.
    """

    def __init__(
        self, app: ASGIApp, log: LandingLog, clock: Clock, app_secret: SecretStr | None, refusals: Refusals
    ) -> None:
        self._app, self._log, self._clock, self._refusals = app, log, clock, refusals
        self._key = app_secret.get_secret_value().strip().encode() if app_secret else b""
        self._kept = Response(status_code=200)
        secure(self._kept.headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        try:
            answer = await self._deliver(Request(scope, receive))
        except Refused as refused:
            answer = refused.answer()
        if answer is not self._kept:
            self._refusals.answers[answer.status_code] += 1
            secure(answer.headers)
        await answer(scope, receive, send)

    def _refuse(
        self, kind: str, status: int, sentence: str, *, why: str | None = None, unread: bool = False
    ) -> Response:
        """`sentence` is for whoever delivers; `why`, where it differs, for whoever runs the gateway."""
        self._refusals.webhook(kind, why or sentence)
        return refuse(status, sentence, unread=unread)

    async def _deliver(self, request: Request) -> Response:
        if not self._key:
            sentence = "WHATSAPP_APP_SECRET is not set, so no delivery can be verified."
            return self._refuse("no_secret", 503, sentence, unread=True)
        signature = request.headers.get("x-hub-signature-256")
        if signature is None:
            return self._refuse("unsigned", 401, "The delivery is not signed.", unread=True)
        body = await read_body(request, LARGEST_BODY, BODY_TIMEOUT)
        if not is_signed(self._key, body, signature):
            return self._refuse("signature", 401, "The signature is not that of this body.")
        try:
            await self._log.append(log_line(self._clock(), body))
        except LogError as error:
            sentence = f"The delivery could not be kept ({error}). Send it again."
            return self._refuse("not_kept", 503, sentence, why=f"{error}.")
        return self._kept


def is_signed(key: bytes, body: bytes, signature: str) -> bool:
    """Whether `X-Hub-Signature-256` is the HMAC of the raw bytes. In constant time."""
    expected = "sha256=" + hmac.digest(key, body, hashlib.sha256).hex()
    return hmac.compare_digest(expected.encode(), signature.strip().lower().encode())


def log_line(received_at: datetime, body: bytes) -> bytes:
    """A line of the webhook log: when it came, and the text as it came, on one line whatever it holds."""
    stamp = received_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    try:
        return msgspec.json.encode({"received_at": stamp, "body": body.decode()})
    except UnicodeDecodeError:  # kept byte for byte all the same; whoever reads the log sets it aside
        return json.dumps({"received_at": stamp, "body": body.decode(errors="surrogateescape")}).encode()
