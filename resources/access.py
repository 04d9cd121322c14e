"""Who may use the API: tokens, several, each with a name.

What belongs here: making, finding and revoking them. A token is shown once, when it is made; what is kept is its
SHA-256, which is enough for 256 random bits: nobody guesses them, however fast the hash.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from journey.problems import UsageError
from resources.tables import token as tokens

PREFIX = "est_"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Token:
    """A token as the ledger knows it; times in microseconds since 1970 UTC."""

    name: str
    hash: str
    created_at: int
    revoked_at: int | None = None
    last_used_at: int | None = None


def add_token(tx: sa.Connection, name: str, now: int) -> str:
    """Make a token, and give it: this is the only time that anyone sees it. `now` in microseconds.

    UsageError: the name can't be one, or is in use. The name of one that was revoked may be given again.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f"“{name}” can't name a token", mend="Use up to 64 letters, digits, _, - and ., a letter or digit first"
        )
    row = tx.execute(sa.select(tokens.c.revoked_at).where(tokens.c.name == name)).one_or_none()
    if row is not None and row.revoked_at is None:
        raise UsageError(
            f"there is a token `{name}` already",
            mend=f"Choose another name, or revoke that one: estafette tokens revoke {name}",
        )
    made = PREFIX + secrets.token_urlsafe(32)
    tx.execute(tokens.delete().where(tokens.c.name == name))
    tx.execute(tokens.insert().values(name=name, hash=hashed(made), created_at=now))
    return made


def list_tokens(tx: sa.Connection) -> list[Token]:
    """Every token, revoked ones too, by name."""
    rows = tx.execute(sa.select(tokens).order_by(tokens.c.name)).all()
    return [Token(row.name, row.hash, row.created_at, row.revoked_at, row.last_used_at) for row in rows]


def revoke_token(tx: sa.Connection, name: str, now: int) -> bool:
    """End a token. False: it was revoked before. UsageError: there is none of this name."""
    row = tx.execute(sa.select(tokens.c.revoked_at).where(tokens.c.name == name)).one_or_none()
    if row is None:
        raise UsageError(f"there is no token `{name}`", mend="See `estafette tokens list`")
    if row.revoked_at is None:
        tx.execute(tokens.update().where(tokens.c.name == name).values(revoked_at=now))
    return row.revoked_at is None


def find_token(known: Iterable[Token], offered: str) -> Token | None:
    """Whose token this is; None for one that is unknown or was revoked. Each is compared in constant time, and all are
    compared, so that the time taken says nothing."""
    digest, found = hashed(offered), None
    for one in known:
        if hmac.compare_digest(one.hash, digest) and one.revoked_at is None:
            found = one
    return found


def note_use(tx: sa.Connection, name: str, now: int) -> None:
    """Write down when a token was last used."""
    tx.execute(tokens.update().where(tokens.c.name == name).values(last_used_at=now))


def hashed(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
