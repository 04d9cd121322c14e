"""`users add`, `users list`, `users password`, `users remove`: who may log in to the pages.

What belongs here: what the commands say, and asking for a password. What a user is stands in `resources.users`.
"""

import getpass
import sys

from rich.console import Console

from estafette import show
from estafette.session import Session
from journey.clock import from_us, to_us
from journey.problems import UsageError
from resources.users import LONGEST, add_user, checked_password, list_users, remove_user, set_password

MAY = {"viewer": "may read", "agent": "may read and answer people", "operator": "may also stop and resume campaigns"}


def add(session: Session, name: str, role: str, *, from_stdin: bool) -> None:
    """Make a user. UsageError: the name, the role or the password can't be one."""
    with session.open(settings=False) as home:
        password = _password(name, from_stdin=from_stdin)
        with home.ledger.write() as tx:
            add_user(tx, name, role, password, to_us(home.clock()))

    def draw(out: Console) -> None:
        out.print(f"{name} {MAY[role]}. The pages are where `estafette serve` listens.")

    session.show({"name": name, "role": role}, draw)


def users(session: Session) -> None:
    """Every user: role, since when, removed when. Never a password."""
    with session.open(settings=False) as home, home.ledger.read() as tx:
        found = list_users(tx)
    rows = [
        {
            "name": one.name,
            "role": one.role.name,
            "created_at": from_us(one.created_at),
            "removed_at": None if one.disabled_at is None else from_us(one.disabled_at),
        }
        for one in found
    ]

    def draw(out: Console) -> None:
        if not rows:
            out.print("There are no users. Make one with: estafette users add NAME --role operator")
            return
        out.print(show.table(["name", "role", "created", "removed"], [list(row.values()) for row in rows]))

    session.show({"users": rows}, draw)


def password(session: Session, name: str, *, from_stdin: bool) -> None:
    """Give a user another password, and log them out. UsageError: there is none of this name."""
    with session.open(settings=False) as home:
        made = _password(name, from_stdin=from_stdin)
        with home.ledger.write() as tx:
            set_password(tx, name, made)
    session.show({"name": name}, lambda out: out.print(f"{name} has a new password, and is logged out everywhere."))


def remove(session: Session, name: str) -> None:
    """Let a user in no longer. UsageError: there is none of this name."""
    with session.open(settings=False) as home, home.ledger.write() as tx:
        remove_user(tx, name, to_us(home.clock()))
    session.show({"name": name, "removed": True}, lambda out: out.print(f"{name} gets in no longer."))


def _password(name: str, *, from_stdin: bool) -> str:
    """The password, asked for twice on a terminal, or the first line of what is piped in."""
    if from_stdin:
        return checked_password(sys.stdin.readline(LONGEST + 2).rstrip("\r\n"), name)
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for a password", mend="Pipe it in, with --password-stdin")
    found = checked_password(getpass.getpass(f"Password of {name}: "), name)
    if getpass.getpass("Once more: ") != found:
        raise UsageError("the two are not the same", mend="Try again")
    return found
