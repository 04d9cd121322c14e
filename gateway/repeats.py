"""A request that comes twice: the header `Idempotency-Key`, and what is remembered of it.

What belongs here: whether a request was accepted before. A key's request has a uuid that follows from the token's name,
the campaign and the key, and the ledger takes a uuid once, so a repeat may be written down again and changes nothing.
What is remembered besides is what a key was used for, so that another request under it is refused and not passed over
without a word: for seven days here, and from then on by the request itself, which the ledger keeps.
"""

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request

from gateway.answers import Refused

if TYPE_CHECKING:
    from resources.home import Home

LONGEST = 255  # characters of a key
KEPT = 7 * 24 * 3600 * 1_000_000  # microseconds
SWEPT = 100  # old keys that go with each new one
REQUESTS = uuid.UUID("6b1f6f0e-3a0e-5a6a-9d5e-3c2f6c1b7a10")
"""The namespace of request uuids that follow from a key. It never changes."""

_SWEEP = """DELETE FROM idempotency WHERE request_uuid IN (
    SELECT i.request_uuid FROM idempotency i JOIN request r ON r.uuid = i.request_uuid
    WHERE i.met_at < ? ORDER BY i.met_at LIMIT ?)"""
"""None goes whose request no pass has taken in: nothing else says then what the key was used for."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that may be written down: its uuid, its line, its kind, people and attributes as the ledger will have
    them, and the digest to remember where its key is new."""

    uuid: str
    line: bytes
    said: tuple[str, str, str]
    digest: str | None = None


def key_of(request: Request) -> str | None:
    """The key that a request brings. Refused (400): it can't be one."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 0 < len(key.strip()) <= LONGEST or not key.isprintable():
        raise Refused(400, f"The Idempotency-Key is no text of 1 to {LONGEST} characters.", unread=True)
    return key.strip()


def uuid_of(token: str, campaign: str, key: str) -> str:
    """The uuid of a key's request; `token` is the token's name."""
    return str(uuid.uuid5(REQUESTS, "\x1f".join((token, campaign, key))))


def is_repeat(home: "Home", accepted: Accepted, digest: str) -> bool:
    """Whether this very request was accepted before; in a thread. Refused (409): another one was, under its key."""
    from resources.tables import idempotency
    from resources.tables import request as requests

    with home.ledger.read() as tx:
        key = tx.execute(idempotency.select().where(idempotency.c.request_uuid == accepted.uuid)).one_or_none()
        known = None
        if key is None:
            known = tx.execute(requests.select().where(requests.c.uuid == accepted.uuid)).one_or_none()
    if key is not None:
        same = key.digest == digest
    elif known is not None:
        same = _in_order(known.kind, known.people, known.attributes) == _in_order(*accepted.said)
    else:
        return False
    if not same:
        raise Refused(409, "This Idempotency-Key was used for another request; take a new key for a new request.")
    return True


def remember(home: "Home", accepted: Accepted, now: int) -> None:
    """Keep what a key was used for (`now` in microseconds), before the request is; in a thread. A crash between the two
    is mended by the repeat. Refused (409): another request came in between."""
    from sqlalchemy.dialects.sqlite import insert

    from resources.tables import idempotency

    assert accepted.digest is not None
    row = {"request_uuid": accepted.uuid, "digest": accepted.digest, "met_at": now}
    with home.ledger.write() as tx:
        made = tx.execute(insert(idempotency).on_conflict_do_nothing(), row).rowcount
        tx.exec_driver_sql(_SWEEP, (now - KEPT, SWEPT))
    if not made:
        is_repeat(home, accepted, accepted.digest)


def _in_order(kind: str, people: str, attributes: str) -> bytes:
    """What was asked for, in whatever order its attributes were written."""
    import msgspec

    return msgspec.json.encode([kind, people, msgspec.json.decode(attributes)], order="deterministic")
