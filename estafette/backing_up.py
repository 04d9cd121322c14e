"""`backup` and `restore`: a home's data into a folder, and back.

What belongs here: what the commands say, and catching up after a restore. The copying is `resources.backup` and
`resources.restore`; what is held back then, `resources.hold`.
"""

from pathlib import Path
from typing import Any

from rich.console import Console

from estafette.lease import passing
from estafette.session import Session
from journey.problems import EstafetteError
from pipelines.turn import turn
from resources.backup import Backup, make_backup, open_backup
from resources.hold import doubtful, foreign
from resources.home import Home, open_home
from resources.restore import Done, put_back

MEBI = 1 << 20


def backup(session: Session, target: Path) -> None:
    """Make a backup and say what is in it. EstafetteError: it can't be made, and nothing is left of it."""
    with session.open(settings=False) as home:
        made = make_backup(home, target)
    document = _document(made)

    def draw(console: Console) -> None:
        console.print(f"{made.path}: {len(made.files):,} files, {made.bytes / MEBI:,.1f} MB, whole.")
        console.print("Secrets (.env) are not in it.")
        if made.lost:
            console.print(
                f"{len(made.lost):,} files of the lake are gone or damaged here, and so in the backup:"
                f" {', '.join(made.lost[:3])}. `estafette doctor` says more.",
                style="yellow",
            )

    session.show(document, draw)


def restore(session: Session, source: Path) -> None:
    """Put a backup back, with all sends held, and catch up with what the landing zone knows. EstafetteError: it can't
    be put back, and nothing has changed."""
    found = open_backup(source)
    with open_home(session.home, session.now) as home:
        done = put_back(home, found)
    failed = ""
    try:
        with session.open() as home:
            _catch_up(session, home)
    except EstafetteError as error:
        failed = str(error)
    with open_home(session.home, session.now) as home, home.ledger.read() as tx:
        in_doubt, unknown = doubtful(tx), foreign(tx)
    document = {
        **_document(found),
        "aside": str(done.aside) if done.aside is not None else None,
        "epoch": done.epoch,
        "landing_lost": done.landing_lost,
        "brought": done.brought,
        "in_doubt": in_doubt,
        "sent_and_not_known": unknown,
        "not_caught_up": failed or None,
    }
    session.show(document, lambda console: _draw(console, found, done, document))


def _catch_up(session: Session, home: Home) -> None:
    """One turn without sending: what the landing zone knows, and all that was due until now."""
    with passing(home.ledger, "restore", session.note) as lease:
        home.reload()
        turn(home, lease, final=True)


def _document(found: Backup) -> dict[str, Any]:
    return {
        "backup": str(found.path),
        "made_at": found.made_at,
        "version": found.version,
        "schema": found.schema,
        "files": len(found.files),
        "bytes": found.bytes,
        "lost": list(found.lost),
    }


def _draw(console: Console, found: Backup, done: Done, document: dict[str, Any]) -> None:
    console.print(f"Restored as of {found.made_at:%Y-%m-%d %H:%M} UTC; callback ids are now of epoch {done.epoch}.")
    if done.aside is not None:
        console.print(f"What was here lies in {done.aside}.")
    if done.brought:
        console.print(f"{done.brought:,} landing and project files that were gone came from the backup.")
    if done.landing_lost:
        console.print(
            "The landing zone had lost its newest webhooks: answers, opt-outs and statuses since the backup are not"
            " known. Whoever was inside a campaign is taken to have gone on meanwhile.",
            style="red",
        )
    if document["not_caught_up"]:
        console.print(f"Not caught up yet, the next pass does it: {document['not_caught_up']}", style="yellow")
    console.print("All sends are held.", style="bold")
    console.print(f"{document['in_doubt']:,} messages may have gone out after the backup, and nobody can say.")
    if document["sent_and_not_known"]:
        console.print(
            f"{document['sent_and_not_known']:,} messages went out, as their statuses say, that this ledger does not"
            " know: by a `run` after the backup, perhaps. A second `run` would send them again.",
            style="yellow",
        )
    console.print(
        "When sends may go on: estafette resume --all (takes those as sent; with --send-unconfirmed they go out)"
    )
