"""`export` and `forget`: a person's data, out or erased.

What belongs here: finding the person, asking, and what is said. What is known of a person is `resources.person`, what
forgetting does `pipelines.forgetting`.
"""

import json
import os
import sys
from pathlib import Path

from rich.console import Console

from estafette.lease import passing
from estafette.session import Session, print_json
from estafette.why import find
from journey.phones import normalise, stranger_id
from journey.problems import EstafetteError, UsageError
from pipelines.forgetting import Forgotten, forget, unfinished
from resources.home import Home
from resources.person import know
from resources.person_export import document

BACKUPS = "Backups are not touched: whoever restores one must forget them again."


def export(session: Session, given: str, out: Path | None) -> None:
    """Write all that is known of a person (an id or a phone) as JSON, to `out` or stdout. EstafetteError: nobody has
    it, or the file can't be written."""
    with session.open() as home:
        contact_id = find(home, given)
        told = document(home, contact_id, know(home, contact_id))
    if out is None:
        print_json(told)
        return
    text = json.dumps(told, ensure_ascii=False, indent=2, default=str) + "\n"
    try:
        handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)  # nobody else's to read
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise EstafetteError(
            f"it can't be written: {error.strerror or error}", where=str(out), mend="Name another file with --out"
        ) from None
    counts = {name: len(rows) for name, rows in told.items() if isinstance(rows, list)}

    def draw(console: Console) -> None:
        whole = ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in counts.items() if number)
        console.print(f"{contact_id}: {whole}. Kept in {out}.", soft_wrap=True)

    session.show({"contact_id": contact_id, "kept_in": str(out), "counts": counts}, draw)


def forget_person(session: Session, given: str, *, yes: bool) -> None:
    """Erase a person (an id or a phone) everywhere. EstafetteError: nobody has it, or nobody said yes."""
    with session.open() as home:
        contact_id = _whom(home, given)
        if not yes:
            _ask(contact_id)
        with passing(home.ledger, "forget", session.note, ask=True) as lease:
            done = forget(home, lease, contact_id, session.note)
    session.show(
        {
            "forgotten": given,
            "stands_as": done.label,
            "cancelled": done.cancelled,
            "lines": done.lines,
            "files": list(done.files),
            "rewritten": done.rewritten,
            "still_named_in": list(done.left),
            "not_looked_into": list(done.packed),
            "ledger_rewritten": done.emptied,
            "backups": BACKUPS,
        },
        lambda console: _draw(console, given, done),
    )


def _whom(home: Home, given: str) -> str:
    """The contact; whoever was being forgotten when that was cut short; else the stranger of a phone that files may
    name though nobody has it. EstafetteError: it is none of these."""
    try:
        return find(home, given)
    except EstafetteError:
        phone = normalise(given, home.project.settings.region)
        begun = unfinished(home)
        if begun is not None and (given in begun.ids or phone in begun.phones):
            return begun.contact_id
        if phone is not None:
            return stranger_id(phone)
        raise


def _ask(contact_id: str) -> None:
    if not sys.stdin.isatty():
        raise UsageError("nobody can be asked here", mend="Say yes with --yes")
    sys.stderr.write(f"Erase everything of {contact_id}? It can't be undone. Write yes to go on: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().casefold() not in ("yes", "y"):
        raise EstafetteError("nothing was erased", mend="Write yes, or say it with --yes")


def _draw(out: Console, given: str, done: Forgotten) -> None:
    out.print(f"{given} is forgotten; in what is counted {done.label} stands for them.")
    out.print(
        f"{done.cancelled:,} messages cancelled, {done.lines:,} lines of {len(done.files):,} landing and other files"
        f" erased, {done.rewritten:,} files of the lake written anew.",
        soft_wrap=True,
    )
    if done.left:
        out.print(
            f"These files still name them, and are yours to change: {', '.join(done.left)}.",
            style="yellow",
            soft_wrap=True,
        )
    if done.packed:
        out.print(
            f"These files are compressed, and may name them: {', '.join(done.packed)}. Look into them, or delete them.",
            style="yellow",
            soft_wrap=True,
        )
    if not done.emptied:
        out.print(
            "The ledger's file may still hold bytes of theirs that nothing shows. It is written anew by the first pass"
            " that begins while nobody sends; `estafette doctor` says so until then.",
            style="yellow",
            soft_wrap=True,
        )
    out.print(f"{BACKUPS} What `export` and `plan --out` wrote outside this folder is not known here.", soft_wrap=True)
