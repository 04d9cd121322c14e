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

from gateway.answers import BODY_TIMEOUT, read_body, refuse
from gateway.log import Clock, LandingLog, LogError

PATH = "/webhooks/whatsapp"
LARGEST_BODY = 3 * 1024 * 1024  # Meta's limit


def webhook_routes(
    log: LandingLog, clock: Clock, app_secret: SecretStr | None, verify_token: SecretStr | None
) -> APIRouter:
    """The two doors of `/webhooks/whatsapp`. Without a secret they stay shut: nothing unverified comes in."""
    routes = APIRouter()
    key = app_secret.get_secret_value().strip().encode() if app_secret else b""
    token = verify_token.get_secret_value().strip().encode() if verify_token else b""

    @routes.get(PATH, response_model=None, include_in_schema=False)
    async def handshake(request: Request) -> Response:
        """Meta asks once, when the address is entered in its dashboard."""
        query = request.query_params
        offered = query.get("hub.verify_token", "").encode()
        if not token:
            return refuse(403, "WHATSAPP_VERIFY_TOKEN is not set, so no handshake can succeed.")
        if query.get("hub.mode") != "subscribe" or not hmac.compare_digest(offered, token):
            return refuse(403, "The verify token is not the one in WHATSAPP_VERIFY_TOKEN.")
        return PlainTextResponse(query.get("hub.challenge", ""), headers={"X-Content-Type-Options": "nosniff"})

    async def deliver(request: Request) -> Response:
        if not key:
            return refuse(503, "WHATSAPP_APP_SECRET is not set, so no delivery can be verified.", unread=True)
        signature = request.headers.get("x-hub-signature-256")
        if signature is None:
            return refuse(401, "The delivery is not signed.", unread=True)
        body = await read_body(request, LARGEST_BODY, BODY_TIMEOUT)
        if not is_signed(key, body, signature):
            return refuse(401, "The signature is not that of this body.")
        try:
            await log.append(log_line(clock(), body))
        except LogError as error:
            return refuse(503, f"The delivery could not be kept ({error}). Send it again.")
        return Response(status_code=200)

    # Starlette's route and not FastAPI's: thousands come in a second, and what FastAPI does around a door that takes
    # nothing but its request costs as much as all the rest of one.
    routes.add_route(PATH, deliver, methods=["POST"], include_in_schema=False)
    return routes


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
