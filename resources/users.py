"""Who may log in to the pages: users, their passwords, and what each role may do.

What belongs here: making, changing and checking them. Who is logged in at the moment is `resources.sessions`.

A password is kept as a scrypt hash (RFC 7914) with a salt and its parameters beside it: 2^15 blocks of 1 KB take some
32 MB and a tenth of a second, which is little for one log-in and much for a million guesses.
"""

import base64
import hashlib
import hmac
import re
import secrets
import unicodedata
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import sqlalchemy as sa

from journey.problems import UsageError
from journey.spelling import suggest
from resources.tables import session as sessions
from resources.tables import user as users

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
SHORTEST, LONGEST = 10, 1_024  # characters of a password
COST, BLOCK, PARALLEL = 15, 8, 1


class Role(IntEnum):
    """What a user may do; each may do what the ones before it may."""

    viewer = 1  # reads
    agent = 2  # answers people
    operator = 3  # stops and resumes campaigns


@dataclass(frozen=True, slots=True)
class User:
    """A user as the ledger knows them; times in microseconds since 1970 UTC."""

    name: str
    role: Role
    created_at: int
    disabled_at: int | None = None


def add_user(tx: sa.Connection, name: str, role: str, password: str, now: int) -> None:
    """Make a user. `now` in microseconds. UsageError: the name can't be one or is in use, the role is unknown, the
    password is too short or too long. The name of one who was removed may be given again."""
    if not NAME.fullmatch(name):
        mend = "Use up to 64 letters, digits, _, -, @ and ., a letter or digit first"
        raise UsageError(f"“{name}” can't name a user", mend=mend)
    if role not in Role.__members__:
        raise UsageError(f"there is no role `{role}`", mend=f"Known: {', '.join(Role.__members__)}")
    row = tx.execute(sa.select(users.c.disabled_at).where(users.c.name == name)).one_or_none()
    if row is not None and row.disabled_at is None:
        mend = f"Choose another name, or give them a new password: estafette users password {name}"
        raise UsageError(f"there is a user `{name}` already", mend=mend)
    made = hash_password(checked_password(password, name))
    tx.execute(users.delete().where(users.c.name == name))
    tx.execute(users.insert().values(name=name, role=role, password=made, created_at=now))


def set_password(tx: sa.Connection, name: str, password: str) -> None:
    """Give a user another password, and end what they are logged in to. UsageError as in `add_user`."""
    _known(tx, name)
    made = hash_password(checked_password(password, name))
    tx.execute(users.update().where(users.c.name == name).values(password=made))
    tx.execute(sessions.delete().where(sessions.c.user == name))


def remove_user(tx: sa.Connection, name: str, now: int) -> None:
    """Let a user in no longer, from now on. What they did keeps their name. UsageError: there is none."""
    _known(tx, name)
    tx.execute(users.update().where(users.c.name == name).values(disabled_at=now, password="!"))  # noqa: S106
    tx.execute(sessions.delete().where(sessions.c.user == name))


def list_users(tx: sa.Connection) -> list[User]:
    """Every user, removed ones too, by name."""
    rows = tx.execute(sa.select(users).order_by(users.c.name)).all()
    return [User(row.name, Role[row.role], row.created_at, row.disabled_at) for row in rows]


def has_users(tx: sa.Connection) -> bool:
    """Whether anybody could log in."""
    return tx.execute(sa.select(users.c.name).where(users.c.disabled_at.is_(None)).limit(1)).first() is not None


def kept_password(tx: sa.Connection, name: str) -> str:
    """The hash to compare with: of nobody's password where there is no such user, so that it takes as long."""
    query = sa.select(users.c.password).where(users.c.name == name, users.c.disabled_at.is_(None))
    return tx.execute(query).scalar_one_or_none() or nobody()


def checked_password(password: str, name: str) -> str:
    """The password, where it may be one. UsageError."""
    if len(password) < SHORTEST:
        raise UsageError(f"the password has fewer than {SHORTEST} characters", mend="Take a few words")
    if len(password) > LONGEST:
        raise UsageError(f"the password has more than {LONGEST:,} characters", mend="Take a shorter one")
    if password.casefold() == name.casefold():
        raise UsageError("the password is the name", mend="Take a few words, or let a tool make one")
    return password


def hash_password(password: str) -> str:
    """What is kept of a password: `scrypt$log2(n)$r$p$salt$hash`. Takes a tenth of a second."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(password, salt, COST, BLOCK, PARALLEL)
    return f"scrypt${COST}${BLOCK}${PARALLEL}${_text(salt)}${_text(digest)}"


def is_password(kept: str, password: str) -> bool:
    """Whether this is the password that was kept so. Takes as long either way."""
    parts = kept.split("$")
    if len(parts) != 6 or parts[0] != "scrypt" or len(password) > LONGEST:
        return False
    cost, block, parallel = (int(part) for part in parts[1:4])
    digest = _scrypt(password, base64.b64decode(parts[4]), cost, block, parallel)
    return hmac.compare_digest(digest, base64.b64decode(parts[5]))


@lru_cache(1)
def nobody() -> str:
    """The hash of a password that nobody has."""
    return hash_password(secrets.token_urlsafe(32))


def _scrypt(password: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    text = unicodedata.normalize("NFKC", password)  # é may be typed in two ways
    memory = 128 * block * (2**cost + parallel + 2) + 1024 * 1024
    return hashlib.scrypt(
        text.encode("utf-8", "surrogatepass"), salt=salt, n=2**cost, r=block, p=parallel, maxmem=memory, dklen=32
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _known(tx: sa.Connection, name: str) -> None:
    names = [one.name for one in list_users(tx) if one.disabled_at is None]
    if name not in names:
        mend = suggest(name, names, none="Make one: estafette users add NAME --role ROLE")
        raise UsageError(f"there is no user `{name}`", mend=mend)
