"""Who is logged in to the pages, and how often a log-in may be tried.

What belongs here: the rows of sessions and of attempts. Passwords are `resources.users`; cookies are the gateway's.

A session's id is random, new with each log-in, and known to the browser alone: the ledger keeps its SHA-256.
"""

import hashlib
import secrets
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

import sqlalchemy as sa

from resources.tables import login_attempt as attempts
from resources.tables import session as sessions
from resources.tables import user as users
from resources.users import Role

MINUTE = 60_000_000  # microseconds
LIVES = 12 * 60 * MINUTE
"""How long a session lasts without a look at a page, give or take a quarter of it."""
LONGEST = 7 * 24 * 60 * MINUTE
WINDOW = 15 * MINUTE
MOST_BY_NAME, MOST_BY_ADDRESS = 10, 30
"""Failed log-ins within `WINDOW` after which nobody gets in by that name, or from that address."""
KEPT = 24 * 60 * MINUTE


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is logged in. `csrf` is what each of their forms must bring."""

    user: str
    role: Role
    csrf: str


def begin_session(tx: sa.Connection, name: str, now: int) -> str:
    """Log a user in; gives the id for their cookie. `now` in microseconds."""
    made = secrets.token_urlsafe(32)
    tx.execute(sessions.delete().where(sessions.c.expires_at <= now))
    tx.execute(
        sessions.insert().values(
            hash=_hash(made), user=name, csrf=secrets.token_urlsafe(32), created_at=now, expires_at=now + LIVES
        )
    )
    return made


def find_session(tx: sa.Connection, offered: str, now: int) -> tuple[Session, bool] | None:
    """Who has this id, and whether it is time to `extend_session`. None: it is unknown or over, or its user gone."""
    query = (
        sa.select(sessions, users.c.role)
        .join(users, users.c.name == sessions.c.user)
        .where(sessions.c.hash == _hash(offered), sessions.c.expires_at > now, users.c.disabled_at.is_(None))
    )
    row = tx.execute(query).one_or_none()
    if row is None:
        return None
    grows = min(now + LIVES, row.created_at + LONGEST) - row.expires_at > LIVES // 4
    return Session(row.user, Role[row.role], row.csrf), grows


def extend_session(tx: sa.Connection, offered: str, now: int) -> None:
    """Have a session last longer, because it is used."""
    end = sa.func.min(now + LIVES, sessions.c.created_at + LONGEST)
    tx.execute(sessions.update().where(sessions.c.hash == _hash(offered)).values(expires_at=end))


def end_session(tx: sa.Connection, offered: str) -> None:
    """Log out."""
    tx.execute(sessions.delete().where(sessions.c.hash == _hash(offered)))


def note_attempt(tx: sa.Connection, name: str, address: str, now: int) -> int:
    """Write an attempt down before the password is looked at, so that many at once don't get around the limit.

    Gives 0, or the microseconds to wait where there were too many: then the password is not looked at, and nothing is
    written.
    """
    name, address = _name(name), network_of(address)
    waits = [0]
    for column, value, most in (
        (attempts.c.name, name, MOST_BY_NAME),
        (attempts.c.address, address, MOST_BY_ADDRESS),
    ):
        last = sa.select(attempts.c.tried_at).where(column == value, attempts.c.tried_at > now - WINDOW)
        tried = tx.execute(last.order_by(attempts.c.tried_at.desc()).limit(most)).scalars().all()
        if len(tried) == most:
            waits.append(tried[-1] + WINDOW - now)
    if max(waits) > 0:
        return max(waits)
    tx.execute(attempts.delete().where(attempts.c.tried_at < now - KEPT))
    tx.execute(attempts.insert().values(name=name, address=address, tried_at=now))
    return 0


def forget_attempts(tx: sa.Connection, name: str, address: str) -> None:
    """Who got in has not failed; what others tried from the same address still counts there."""
    tx.execute(attempts.delete().where(attempts.c.name == _name(name), attempts.c.address == network_of(address)))


def _hash(offered: str) -> str:
    return hashlib.sha256(offered.encode("utf-8", "surrogateescape")).hexdigest()


def _name(name: str) -> str:
    return name.strip().lower()[:64]


def network_of(address: str) -> str:
    """An address as limits count it: of IPv6 the first half: the rest is for one household to choose."""
    try:
        found = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(IPv6Address(int(found) >> 64 << 64)) + "/64"
    return str(found)
