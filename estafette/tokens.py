"""`tokens add`, `tokens list`, `tokens revoke`: who may use the API.

What belongs here: what the commands say. What a token is stands in `resources.access`.
"""

import sys
from datetime import datetime

from rich.console import Console

from estafette import show
from estafette.session import Session
from journey.clock import from_us, to_us
from resources.access import add_token, list_tokens, revoke_token


def add(session: Session, name: str) -> None:
    """Make a token and show it, this once. UsageError: the name is no name, or in use."""
    with session.open(settings=False) as home, home.ledger.write() as tx:
        made = add_token(tx, name, to_us(home.clock()))

    def draw(_: Console) -> None:
        sys.stdout.write(made + "\n")  # alone on its line, so that a script can take it
        session.note("Keep it: it is shown this once. Send it as `Authorization: Api TOKEN` (docs/api.md).")

    session.show({"name": name, "token": made}, draw)


def tokens(session: Session) -> None:
    """Every token: since when, last used, revoked. Never the token itself."""
    with session.open(settings=False) as home, home.ledger.read() as tx:
        found = list_tokens(tx)
    rows = [
        {
            "name": one.name,
            "created_at": _time(one.created_at),
            "last_used_at": _time(one.last_used_at),
            "revoked_at": _time(one.revoked_at),
        }
        for one in found
    ]

    def draw(out: Console) -> None:
        if not rows:
            out.print("There are no tokens. Make one with: estafette tokens add NAME")
            return
        out.print(show.table(["name", "created", "last used", "revoked"], [list(row.values()) for row in rows]))

    session.show({"tokens": rows}, draw)


def revoke(session: Session, name: str) -> None:
    """End a token: within seconds the gateway refuses it. UsageError: there is none of this name."""
    with session.open(settings=False) as home, home.ledger.write() as tx:
        ended = revoke_token(tx, name, to_us(home.clock()))

    def draw(out: Console) -> None:
        out.print(f"{name} {'is revoked' if ended else 'was revoked already'}.")

    session.show({"name": name, "revoked": True, "already": not ended}, draw)


def _time(us: int | None) -> datetime | None:
    return None if us is None else from_us(us)
