"""Meta's webhooks: the handshake, and deliveries into the webhook log.

What belongs here: whether a delivery is Meta's, and that it is on disk before it is answered. It is not read here: an
answer of 200 says only that it is kept, and what the log holds is taken in by a pass.
"""

import asyncio
import hashlib
import hmac
import json
from datetime import datetime

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import SecretStr
from starlette.requests import ClientDisconnect

from gateway.log import Clock, LandingLog, LogError

PATH = "/webhooks/whatsapp"
LARGEST_BODY = 3 * 1024 * 1024  # Meta's limit
BODY_TIMEOUT = 30.0  # seconds until a body is there


def webhook_routes(
    log: LandingLog, clock: Clock, app_secret: SecretStr | None, verify_token: SecretStr | None
) -> APIRouter:
    """The two doors of `/webhooks/whatsapp`. Without a secret they stay shut: nothing unverified comes in."""
    routes = APIRouter()
    key = app_secret.get_secret_value().strip().encode() if app_secret else b""
    token = verify_token.get_secret_value().strip().encode() if verify_token else b""

    @routes.get(PATH, response_model=None)
    async def handshake(request: Request) -> Response:
        """Meta asks once, when the address is entered in its dashboard."""
        query = request.query_params
        offered = query.get("hub.verify_token", "").encode()
        if not token:
            return refuse(403, "WHATSAPP_VERIFY_TOKEN is not set, so no handshake can succeed.")
        if query.get("hub.mode") != "subscribe" or not hmac.compare_digest(offered, token):
            return refuse(403, "The verify token is not the one in WHATSAPP_VERIFY_TOKEN.")
        return PlainTextResponse(query.get("hub.challenge", ""), headers={"X-Content-Type-Options": "nosniff"})

    @routes.post(PATH, response_model=None)
    async def deliver(request: Request) -> Response:
        if not key:
            return refuse(503, "WHATSAPP_APP_SECRET is not set, so no delivery can be verified.", unread=True)
        signature = request.headers.get("x-hub-signature-256")
        if signature is None:
            return refuse(401, "The delivery is not signed.", unread=True)
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                body = await _body(request)
        except TimeoutError:
            return refuse(408, "The body did not come in time.", unread=True)
        except ClientDisconnect:
            return refuse(400, "The connection ended before the body.")
        if body is None:
            return refuse(413, "A delivery has at most 3 MB.", unread=True)
        if not is_signed(key, body, signature):
            return refuse(401, "The signature is not that of this body.")
        try:
            await log.append(log_line(clock(), body))
        except LogError as error:
            return refuse(503, f"The delivery could not be kept ({error}). Send it again.")
        return Response(status_code=200)

    return routes


def refuse(status: int, sentence: str, *, unread: bool = False) -> Response:
    """An error of any door: JSON with one sentence. `unread`: ends the connection, so that the rest of a body stays out
    (uvicorn would read on to the end)."""
    return JSONResponse({"error": sentence}, status, {"Connection": "close"} if unread else None)


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


async def _body(request: Request) -> bytes | None:
    """The raw body; None as soon as it is too long, whatever its headers say."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length[:12]) > LARGEST_BODY:
        return None
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > LARGEST_BODY:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
