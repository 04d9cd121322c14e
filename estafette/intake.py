"""`import`: files into the landing zone, and from there at once into the stores.

What belongs here: the two steps in a row, and what became of each file. Each step is a room of `resources`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import sqlalchemy as sa
from rich.console import Console

from estafette import show
from estafette.lease import passing
from estafette.session import Session
from estafette.terminal import one_line
from journey.problems import UsageError
from journey.spelling import suggest
from pipelines.take_in import take_in_files
from resources.contact_intake import TakenFile
from resources.home import Home
from resources.landing_import import Importable, import_files
from resources.ledger import Lease
from resources.tables import quarantine

SHOWN = 3  # reasons a file


def import_(session: Session, files: Sequence[Path], kind: str | None) -> None:
    """Copy the files into landing/ and take in what is pending there. UsageError: a file that can't be told apart."""
    with session.open() as home:
        put = import_files(home.paths.landing, files, _kind(kind))
        with passing(home.ledger, "import", session.note) as lease:
            taken = take_in(home, lease)
        ours = {(str(as_), path.name): source for (path, as_), source in zip(put, files, strict=True)}
        rows = [_row(home, one, ours.get((one.kind, one.name))) for one in taken]
        found = {(row["kind"], row["name"]) for row in rows}
        rows += [_known(home, as_, path, ours) for path, as_ in put if (as_, path.name) not in found]
        contacts = home.contacts.count()
    session.show({"files": rows, "contacts": contacts}, lambda console: _draw(console, rows, contacts))


def take_in(home: Home, lease: Lease) -> list[TakenFile]:
    """Take in every pending file of contacts, then of events, of coupon codes, and of requests."""
    return take_in_files(home, lease, home.clock(), final=True).files


def _kind(given: str | None) -> Importable | None:
    kinds = get_args(Importable)
    for known in kinds:
        if given == known:
            found: Importable = known
            return found
    if given is None:
        return None
    raise UsageError(f"there is no kind of file `{given}`", where="--as", mend=suggest(given, kinds, none=""))


def _row(home: Home, taken: TakenFile, source: Path | None) -> dict[str, Any]:
    return {
        "file": str(source) if source is not None else None,
        "kind": taken.kind,
        "name": taken.name,
        "rows": taken.rows,
        "new": taken.new,
        "changed": taken.changed,
        "unchanged": taken.unchanged,
        "quarantined": taken.quarantined,
        "again": taken.again,
        "reasons": _reasons(home, f"{taken.kind}/{taken.name}") if taken.quarantined else [],
    }


def _known(home: Home, kind: str, path: Path, ours: dict[tuple[str, str], Path]) -> dict[str, Any]:
    """A file that lay there already, read to its end."""
    nothing = TakenFile(kind, path.name, again=True)
    return _row(home, nothing, ours.get((kind, path.name)))


def _reasons(home: Home, file: str) -> list[dict[str, Any]]:
    with home.ledger.read() as tx:
        rows = tx.execute(
            sa.select(quarantine.c.line, quarantine.c.reason, quarantine.c.raw)
            .where(quarantine.c.file.in_([file, file.partition("/")[2]]))
            .order_by(quarantine.c.line)
            .limit(SHOWN)
        ).all()
    return [{"line": row.line, "reason": row.reason, "raw": row.raw[:200]} for row in rows]


def _draw(console: Console, rows: Sequence[dict[str, Any]], contacts: int) -> None:
    columns = ["file", "as", "rows", "new", "changed", "quarantined", ""]
    listed = [
        [r["name"], r["kind"], r["rows"], r["new"], r["changed"], r["quarantined"], "read before" if r["again"] else ""]
        for r in rows
    ]
    console.print(show.table(columns, listed))
    for row in rows:
        name = one_line(f"{row['kind']}/{row['name']}")
        if row["kind"] in ("coupons", "requests") and row["unchanged"]:
            dropped = f"{row['unchanged']:,} duplicate{'s' * (row['unchanged'] != 1)} dropped"
            console.print(f"  {name}: {dropped}", style="dim", soft_wrap=True)
        for one in row["reasons"]:
            console.print(f"  {name}:{one['line']}: {one_line(one['reason'])}", style="yellow", soft_wrap=True)
        if row["quarantined"] > len(row["reasons"]):
            console.print(
                f"  and {row['quarantined'] - len(row['reasons']):,} more; see the table quarantine", style="dim"
            )
    console.print(f"{contacts:,} contact{'s' * (contacts != 1)} now.")
